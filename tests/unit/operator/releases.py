"""A world with a release of a model in it, and what may happen there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainings import TRAINED
from worlds import World, resource

from repoloom import store as stores
from repoloom.evaluation.result import Compared, Evaluation, Scores
from repoloom.recipe.results import EVALUATION, Evaluated, evaluation_identity
from repoloom.store import open_store
from repoloom_operator.recipes import check as recipe

FORMER = {"REPOLOOM_MODEL": "s3://models/old", "REPOLOOM_MODEL_SHA256": "old"}


def a_world(folder: Path) -> World:
    """A world with a corpus, a training that has succeeded, and a model that is served."""
    world = World(folder / "corpus")
    world.put(resource("CorpusBuild", "c", recipe=TRAINED, store=str(world.folder)))
    world.put(resource("TrainingRun", "t", corpusRef={"name": "c"}, out=str(folder / "out")))
    world.objects["TrainingRun", "t"]["status"] = {
        "phase": "Succeeded",
        "observedGeneration": 1,
        "weights": "new",
        "model": "s3://models/new",
        "identity": "i",
        "corpus": world.built(TRAINED),
        "recipe": recipe(TRAINED).identity,
        "heldout": "h",
        "contamination": [{"benchmark": "HumanEval", "hits": 2}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    for name, track in (("web", "stable"), ("web-canary", "canary")):
        environment = [{"name": key, "value": value} for key, value in FORMER.items()]
        container = {"name": "server", "env": environment}
        template = {"spec": {"containers": [container]}}
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
        labels = {"app.kubernetes.io/instance": "web", "repoloom.dev/track": track}
        world.put({"kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": spec})
    world.put(resource("ModelRelease", "r", trainingRef={"name": "t"}, deployment="web", canary={"seconds": 60}))
    gates(world, maxBitsPerByte=3, minExactMatch=0.1, minEditSimilarity=0.2, decontaminatedFrom=["HumanEval"])
    return world


def gates(world: World, **wanted: Any) -> None:
    world.edit("ModelRelease", "r", gates=wanted)


def look(world: World) -> float | None:
    return world.look("ModelRelease", "r")


def settle(world: World) -> None:
    world.settle("ModelRelease", "r")


def evaluated(
    world: World,
    bits: float | None = 2.0,
    training: str = "t",
    by: Mapping[str, Any] = TRAINED,
    heldout: str = "h",
) -> None:
    scores = Scores(bits_per_byte=bits, exact_match=0.25, edit_similarity=0.5)
    overall = Compared(name="", bytes=1, holes=1, trained=scores, untrained=scores)
    evaluation = Evaluation(overall=overall, languages=(), samples=())
    run, made = world.objects["TrainingRun", training], recipe(by).recipe
    assert made.train
    weights = run["status"]["weights"]
    identity = evaluation_identity(made.evaluate, made.train.seed, weights, heldout)
    record = Evaluated(identity=identity, weights=weights, heldout=heldout, evaluation=evaluation)
    out = open_store(run["spec"]["out"])
    stores.write(out, EVALUATION, record.model_dump_json().encode())


def serve(world: World, *, broken: tuple[str, ...] = ()) -> None:
    """Kubernetes brings the Deployments to what they are to be."""
    for name in ("web", "web-canary"):
        deployment = world.objects["Deployment", name]
        replicas = deployment["spec"]["replicas"]
        status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": replicas}
        stuck = name in broken and served(world, name) == "new"
        if stuck:
            reason = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
            deployment["status"] = {**status, "updatedReplicas": replicas, "conditions": [reason]}
        else:
            deployment["status"] = {**status, "updatedReplicas": replicas, "availableReplicas": replicas}


def canary_is_away(world: World) -> None:
    """Its pod has gone, with its node, say, and the next one does not serve yet."""
    world.objects["Deployment", "web-canary"].get("status", {}).pop("availableReplicas", None)


def canary_pod(world: World, **container: Any) -> dict[str, Any]:
    """A pod of the canary, whose container is in such a state."""
    spec = world.objects["Deployment", "web-canary"]["spec"]["template"]["spec"]
    status = {"containerStatuses": [{"name": "server", **container}]}
    metadata = {"name": "p", "labels": {"app": "web-canary"}}
    return world.put({"kind": "Pod", "metadata": metadata, "spec": spec, "status": status})


def served(world: World, name: str) -> str:
    [container] = world.objects["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return str({entry["name"]: entry["value"] for entry in container["env"]}["REPOLOOM_MODEL_SHA256"])


def everywhere(world: World) -> tuple[str, str]:
    return served(world, "web"), served(world, "web-canary")


def phase(world: World, release: str = "r") -> str:
    return str(world.status("ModelRelease", release)["phase"])


def measured(world: World, bits: float | None = 2.0) -> None:
    settle(world)
    world.pods_start()
    evaluated(world, bits)
    world.pods_end("Complete")
    settle(world)


def finish(world: World) -> None:
    measured(world)
    for _ in range(5):
        serve(world)
        settle(world)
        world.advance(60)
        settle(world)


def rolling_out(world: World) -> None:
    """The canary held, and all replicas are told to serve the model."""
    measured(world)
    serve(world)
    settle(world)
    world.advance(60)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RollingOut", "new", "new")


def training_begins_anew(world: World) -> None:
    world.edit("TrainingRun", "t", hangSeconds=9)


def training_is_looked_at(world: World) -> None:
    training = world.objects["TrainingRun", "t"]
    training["status"]["observedGeneration"] = training["metadata"]["generation"]
