"""Calls a filter without a pause, while a job of its runs: `python callers.py TARGET INPUT OUTPUT SECONDS`.

Prints how many calls were answered and the digest of what the job made; a call that fails ends it.
"""

import json
import sys
import time

from repoloom import client
from repoloom.protos.corpus.v1.corpus_pb2 import File

target, source, output, seconds = sys.argv[1:]
file = File(repo="a", path="main.py", content=b"def main():\n    return 1\n")
calls = 0
with client.Filter(target) as service:
    job = service.start(inputs=[source], output=output, request_id="upgrade", task_bytes=2000)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        assert [type(row) for row in service.files([file])] == [File]
        calls += 1
        time.sleep(0.02)
    print(json.dumps({"calls": calls, "digest": job.wait().datasets[-1].digest}))
