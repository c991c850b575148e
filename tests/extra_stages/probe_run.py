"""A whole small run: makes repositories, takes them through one probe step, and says how it ended, as JSON.

It is given one JSON object: out, make, step, params, workers, limits, policy. Without a step it only makes.
"""

import json
import sys

from repoloom.engine.execute import load_step, params_model
from repoloom.engine.plan import Table
from repoloom.engine.pool import Limits, LocalPool
from repoloom.engine.reconcile import Policy, reconcile
from repoloom.errors import RepoloomError


def main() -> None:
    """Runs what the first argument says."""
    wanted = json.loads(sys.argv[1])
    steps = {"probe.make": wanted["make"]}
    if wanted["step"] is not None:
        steps[wanted["step"]] = wanted["params"]
    tables: dict[str, Table] = {}
    with LocalPool(wanted["workers"], Limits(**wanted["limits"])) as pool:
        for name, params in steps.items():
            step = load_step(name)
            root = f"{wanted['out']}/{name}"
            dataset = reconcile(step(params_model(step)(**params)), tables, root, pool, Policy(**wanted["policy"]))
            tables["files"] = Table(dataset, "files")
    quarantined = [failure.model_dump() for failure in dataset.manifest.quarantined]
    json.dump({"digest": dataset.digest, "quarantined": quarantined}, sys.stdout)


if __name__ == "__main__":
    try:
        main()
    except RepoloomError as error:
        sys.exit(f"{type(error).__name__}: {error}")
