"""A tiny training by one process, or by one rank of those that torchrun starts: `run_ranks.py DATA OUT PARALLEL`.

It writes its process id to OUT/pid-<rank>; the main rank writes a line for each step to OUT/steps, the weights it ends
with to OUT/weights, and the packages that it imported to OUT/imported. Of the environment it takes PAUSE_AT, a step at
which the main rank waits for OUT/go before it saves; PATIENCE, in seconds; and OTHER_DATA, a rank that is given other
data.
"""

import os
import sys
import time
from pathlib import Path

from run_tiny import PARAMS
from safetensors.torch import save_file

from repoloom.cli.output import show_error
from repoloom.errors import RepoloomError
from repoloom.store import open_store
from repoloom.training.checkpoint import Checkpoints
from repoloom.training.data import PackedDataset
from repoloom.training.forms import Parallel
from repoloom.training.loop import StepReport, train
from repoloom.training.parallel import open_plan

TINY = PARAMS.model_copy(update={"steps": 6, "threads": 1, "batch_size": 8})


def main(data: Path, out: Path, parallel: str) -> int:
    """Trains to the end, or until it is asked to stop."""
    rank = os.environ.get("RANK", "0")
    (out / f"pid-{rank}").write_text(str(os.getpid()))
    packed = PackedDataset([data / "0.bin"], [data / "0.idx"], TINY.sequence_length)

    def say(step: StepReport) -> None:
        with (out / "steps").open("a") as file:
            file.write(f"{step.step} {step.loss!r} {step.gradient_norm!r}\n")
        while step.step == int(os.environ.get("PAUSE_AT", "0")) and not (out / "go").exists():
            time.sleep(0.01)

    with open_plan(Parallel(parallel), float(os.environ.get("PATIENCE", "120"))) as plan:
        outcome = train(
            TINY,
            packed,
            data_digest=f"sha256:{int(os.environ.get('OTHER_DATA') == rank)}",
            vocabulary=300,
            checkpoints=Checkpoints(open_store(str(out)), "train", TINY.keep),
            plan=plan,
            report=say,
        )
        if outcome.finished and plan.is_main:
            save_file(outcome.weights, out / "weights")
            (out / "imported").write_text(" ".join(name for name in sys.modules if name.count(".") == 1))
    return 0 if outcome.finished else 130


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
    except RepoloomError as error:
        show_error(str(error))
        sys.exit(1)
