"""What the tests and the processes that they start share lies beside them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
