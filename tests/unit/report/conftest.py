"""What the tests of the report share."""

from pathlib import Path

import pytest
from report.written import Writer


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    return Writer(tmp_path)
