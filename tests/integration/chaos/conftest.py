"""Puts the storm's modules at the tests' hand."""

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[2]
_FOLDERS = ("chaos", "faults", "extra_stages", "integration/jobs")
sys.path += [str(_TESTS / folder) for folder in _FOLDERS]
