"""A tiny training by one process, or by one rank of those that torchrun starts: `run_ranks.py DATA OUT PARALLEL`.

It writes its process id to OUT/pid-<rank>; the main rank writes a line for each step to OUT/steps, the weights it ends
with to OUT/weights, and the packages that it imported to OUT/imported. Of the environment it takes PAUSE_AT, a step at
which the main rank waits for OUT/go before it saves; PATIENCE, in seconds; and OTHER_DATA, a rank that is given other
data. A process that is forked instead takes them as arguments, and says what it has to say in OUT/said-<rank>.
"""

import os
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from run_tiny import PARAMS
from safetensors.torch import save_file
from torch import distributed
from torch.distributed.distributed_c10d import _set_pg_timeout

from repoloom.cli.output import show_error
from repoloom.errors import CorruptDataError, RepoloomError
from repoloom.heartbeat import Heartbeat
from repoloom.store import open_store
from repoloom.training.checkpoint import Checkpoints
from repoloom.training.data import PackedDataset
from repoloom.training.forms import Parallel
from repoloom.training.loop import StepReport, train
from repoloom.training.model import Llama
from repoloom.training.parallel import open_plan

SEVERAL_LAYERS = PARAMS.architecture(300).model_copy(update={"num_hidden_layers": 8})
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


def run(data: Path, out: Path, parallel: str) -> int:
    """The same, and says on stderr what went wrong."""
    try:
        return main(data, out, parallel)
    except RepoloomError as error:
        show_error(str(error))
        return 1


def fork(environment: dict[str, str], data: Path, out: Path, parallel: str) -> None:
    """The same, in a process that was forked."""
    _begin(environment, out)
    sys.exit(run(data, out, parallel))


def ask_main(environment: dict[str, str], out: Path) -> None:
    """Has the main rank work for longer than ranks wait, and fail; writes what came of it to OUT/asked-<rank>."""
    _begin(environment, out)
    with open_plan(Parallel.ZERO1, 120) as plan, (out / f"asked-{plan.rank}").open("w") as asked:

        def work(heartbeat: Heartbeat) -> int:
            for _ in range(5):
                time.sleep(0.8)
                heartbeat()
            return os.getpid()

        def fail(error: Exception, heartbeat: Heartbeat) -> None:
            heartbeat()
            raise error

        distributed.barrier()
        _set_pg_timeout(timedelta(seconds=3))
        asked.write(f"{plan.on_main(work)}\n")
        for error in (CorruptDataError("it is not whole; `repoloom retry` it"), KeyError("x")):
            try:
                plan.on_main(partial(fail, error))
            except Exception as raised:
                asked.write(f"{type(raised).__name__}: {raised}\n")


def place(environment: dict[str, str], out: Path, parallel: str) -> None:
    """Has ranks begin with a new model; writes the most bytes of it that this one held to OUT/held-<rank>.

    The main rank writes what all of them hold together to OUT/weights.
    """
    _begin(environment, out)
    model, held, send = Llama.without_weights(SEVERAL_LAYERS), [0], distributed.broadcast

    def broadcast(*given: Any, **options: Any) -> Any:
        having = [parameter for parameter in model.parameters() if not parameter.is_meta]
        shares = [parameter.ds_tensor for parameter in having if hasattr(parameter, "ds_tensor")]
        held.append(sum(tensor.nbytes for tensor in (*having, *shares) if tensor is not None))
        return send(*given, **options)

    distributed.broadcast = broadcast
    with open_plan(Parallel(parallel), 120) as plan:
        plan.place(model, model.first_weights(TINY.seed), TINY, None)
        whole = plan.state().weights
        if plan.is_main:
            save_file(whole, out / "weights")
        (out / f"held-{plan.rank}").write_text(str(max(held)))


def _begin(environment: dict[str, str], out: Path) -> None:
    os.environ.update(environment)
    said = os.open(out / f"said-{os.environ.get('RANK', '0')}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 2)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
