"""A world with a training in it, and what may happen there."""

from pathlib import Path
from typing import Any

from worlds import RECIPE, World, resource

from repoloom import store as stores
from repoloom.recipe.results import TRAINING, Trained
from repoloom.store import open_store
from repoloom.training.progress import PROGRESS, RunState, TrainingProgress
from repoloom_operator.children import WORK_LABEL

TRAINED: dict[str, Any] = {
    **RECIPE,
    "train": {"size": "1.3B", "batch_size": 32, "micro_batch_size": 8, "steps": 3000, "learning_rate": 0.001},
}


def a_world(folder: Path, **training: Any) -> World:
    """A world in which the corpus is ready."""
    world = World(folder / "corpus", training=training)
    world.put(resource("CorpusBuild", "c", recipe=TRAINED, store=str(world.folder)))
    digest = world.built(TRAINED)
    ready = {"type": "Ready", "status": "True"}
    world.objects["CorpusBuild", "c"]["status"] = {
        "phase": "Ready",
        "digest": digest,
        "observedGeneration": 1,
        "conditions": [ready],
    }
    world.put(resource("TrainingRun", "t", corpusRef={"name": "c"}, out=str(folder / "out"), workers=2, maxRestarts=2))
    return world


def look(world: World) -> float | None:
    return world.look("TrainingRun", "t")


def settle(world: World) -> None:
    world.settle("TrainingRun", "t")


def out(world: World) -> stores.Store:
    return open_store(str(world.objects["TrainingRun", "t"]["spec"]["out"]))


def stepped(world: World, step: int, stage: str = "", prepared: int = 0, loss: float = 2.5, rate: float = 7) -> None:
    """The job that is there, if any, writes where it is."""
    progress = TrainingProgress(
        state=RunState.RUNNING,
        stage=stage,
        work=world.jobs()[0]["metadata"]["labels"][WORK_LABEL] if world.jobs() else "",
        step=step,
        steps=9,
        prepared=prepared,
        tokens=step,
        loss=loss,
        learning_rate=0.1,
        tokens_per_second=rate,
        seconds_left=1,
    )
    stores.write(out(world), PROGRESS, progress.model_dump_json().encode())


def trained(world: World) -> None:
    packed = world.objects["CorpusBuild", "c"]["status"]["digest"]
    record = Trained(
        identity="i",
        packed=packed,
        weights="w",
        parameters=1,
        unigram_loss=3,
        final_loss=2.5,
        steps=9,
        seconds=1,
        kept="models/w",
    )
    stores.write(out(world), TRAINING, record.model_dump_json().encode())


def finish(world: World) -> None:
    for _ in range(4):
        world.advance(1800)
        settle(world)
        world.pods_start()
        trained(world)
        world.pods_end("Succeeded")
    settle(world)


def phase(world: World) -> str:
    return str(world.status("TrainingRun", "t")["phase"])


def suspended(job: dict[str, Any]) -> bool:
    return bool(job["spec"].get("runPolicy", job["spec"])["suspend"])


def admit(job: dict[str, Any], suspend: bool = False) -> None:
    job["spec"].get("runPolicy", job["spec"])["suspend"] = suspend


def unseen(world: World) -> None:
    """The CorpusBuild is edited, and the operator has not looked at it yet."""
    world.edit("CorpusBuild", "c", suspend=not world.objects["CorpusBuild", "c"]["spec"].get("suspend"))


def seen(world: World) -> None:
    build = world.objects["CorpusBuild", "c"]
    build["status"]["observedGeneration"] = build["metadata"]["generation"]


def happen(world: World, what: str) -> None:
    match what:
        case "look":
            look(world)
        case "pods start":
            world.pods_start()
        case "some pods start":
            world.pods_start(missing=1)
        case "pods succeed":
            trained(world)
            world.pods_end("Succeeded")
        case "pods fail":
            world.pods_end("Failed")
        case "step":
            stepped(world, world.writes)
        case "delete job":
            for job in world.jobs():
                world.remove(job["kind"], job["metadata"]["name"])
        case "delete files":
            for kind in ("ConfigMap", "TrainingRuntime"):
                for file in world.owned(kind, "t"):
                    world.remove(kind, file["metadata"]["name"])
        case "edit job":
            for job in world.jobs():
                admit(job, suspend=not suspended(job))
        case "lose status":
            world.objects["TrainingRun", "t"].pop("status", None)
        case "suspend" | "resume":
            world.edit("TrainingRun", "t", suspend=what == "suspend")
        case "time":
            world.advance(1000)
        case "corpus unseen":
            unseen(world)
        case "corpus seen":
            seen(world)
        case "resize":
            world.edit("TrainingRun", "t", workers=3 - world.objects["TrainingRun", "t"]["spec"]["workers"])
