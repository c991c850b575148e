"""Runs probe.make and one more step into a folder and prints the digest: a whole small run, to be killed and run again."""

import json
import sys

from repoloom.engine.execute import load_step, params_model
from repoloom.engine.pool import Limits, LocalPool
from repoloom.engine.reconcile import Policy, Table, reconcile

out, step, params, workers, limits = sys.argv[1], sys.argv[2], *(json.loads(a) for a in sys.argv[3:6])
policy = Policy(task_bytes=1, attempts=2)
with LocalPool(workers, Limits(**limits)) as pool:
    files = None
    tables = {}
    for name, values in (("probe.make", {"repositories": 8}), (step, params)):
        step_class = load_step(name)
        watch = lambda status: None  # noqa: E731
        dataset = reconcile(step_class(params_model(step_class)(**values)), tables, f"{out}/{name}", pool, policy, watch)
        tables["files"] = Table(dataset, "files")
print(json.dumps({"digest": dataset.digest, "quarantined": [f.model_dump() for f in dataset.manifest.quarantined]}))
