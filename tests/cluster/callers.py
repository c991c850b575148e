"""Calls a filter without a pause, while a job of its runs, until SIGTERM: `python callers.py TARGET INPUT OUTPUT`.

Prints how many calls were answered and the digest of what the job made; a call that fails ends it.
"""

import json
import signal
import sys
from threading import Event

from repoloom import client
from repoloom.protos.corpus.v1.corpus_pb2 import File

target, source, output = sys.argv[1:]
file = File(repo="a", path="main.py", content=b"def main():\n    return 1\n")
calls, over = 0, Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
with client.Filter(target) as service:
    job = service.start(inputs=[source], output=output, request_id="upgrade", task_bytes=2000)
    while not over.wait(0.02):
        assert [type(row) for row in service.files([file])] == [File]
        calls += 1
    print(json.dumps({"calls": calls, "digest": job.wait().datasets[-1].digest}))
