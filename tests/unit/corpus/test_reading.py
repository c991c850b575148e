import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_READS = """
import os, sys
import pyarrow.parquet
from repoloom.corpus.reading import open_parquet

before = len(os.listdir("/proc/self/task"))
with open(sys.argv[1], "rb") as file, open_parquet(file) as parquet:
    assert parquet.read_row_group(0, use_threads=False).num_rows == 3
    assert parquet.read(use_threads=False).num_rows == 3
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_no_thread_of_arrows_is_left_that_could_hold_what_was_read_when_python_ends(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), tmp_path / "table.parquet")
    done = subprocess.run(
        [sys.executable, "-c", _READS, str(tmp_path / "table.parquet")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
