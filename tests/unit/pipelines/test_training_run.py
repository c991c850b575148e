"""A training by the operator: the resources that are made for it, and what becomes of a store whose corpus moved."""

import copy
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from report.written import TOKENIZER, Writer, row

from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest
from repoloom.errors import ConflictError, UnavailableError
from repoloom.recipe.model import Recipe
from repoloom.recipe.progress import Progress
from repoloom.recipe.results import Trained
from repoloom.recipe.run import Made, RunRecord
from repoloom_pipelines import patience, training_run
from repoloom_pipelines.claim import claim
from repoloom_pipelines.settings import Workers
from repoloom_pipelines.training_run import train_by_operator

RECIPE = Recipe({"name": "a", "crawl": {"sources": [{"kind": "folder", "path": "/a"}]}})
VERSIONS = {
    Manifest(
        step="pack", version=version, params={}, inputs={}, tables={}, ledger=Ledger(), cut=Cut(task_bytes=1, tasks=1)
    ).digest(): version
    for version in (1, 2)
}
FIRST, SECOND = VERSIONS  # corpora, by their digests

Trouble: TypeAlias = Literal["hangs", "closes"] | int
HEARD = 504  # what was asked for is done, and the answer lost
SHORT = (0.5, 0.5)  # seconds

CRDS = Path(__file__).parents[3] / "charts/repoloom/templates/crds"


class Kubernetes(ThreadingHTTPServer):
    """The custom resources of a namespace, whose definitions hold, and an operator that does something at each look."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.found: dict[tuple[str, str], dict[str, Any]] = {}
        self.happens: Callable[[], None] = lambda: None
        self.trouble: list[Trouble] = []  # of the next calls, one each

    def create(self, plural: str, body: Mapping[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        if (plural, name) in self.found:
            raise ApiException(status=409)
        made = {**copy.deepcopy(body), "metadata": {"name": name, "generation": 1}}
        self.found[plural, name] = made
        return made

    def patch(self, plural: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        found = self.found[plural, name]
        spec = merged(found["spec"], body["spec"])
        check_unchanged(definition(plural)["properties"]["spec"], found["spec"], spec)
        found["metadata"]["generation"] += spec != found["spec"]
        found["spec"] = spec
        return found

    def get(self, plural: str, name: str) -> dict[str, Any]:
        self.happens()
        return self.found[plural, name]

    def trains(self) -> None:
        """Does what each resource asks for that was not done."""
        for (plural, _), found in self.found.items():
            generation = found["metadata"]["generation"]
            if found.get("status", {}).get("observedGeneration") != generation:
                found["status"] = {"observedGeneration": generation, "phase": "Succeeded"}
                if plural == "trainingruns":
                    found["status"]["weights"] = trains_on(found["spec"]["out"], found["spec"]["corpusRef"]["digest"])

    def names(self, plural: str) -> list[str]:
        return [name for each, name in self.found if each == plural]


class _Call(BaseHTTPRequestHandler):
    """What the API server makes of a request."""

    server: Kubernetes

    def do_GET(self) -> None:
        self._answer(self.server.get)

    def do_POST(self) -> None:
        self._answer(self.server.create)

    def do_PATCH(self) -> None:
        self._answer(self.server.patch)

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, does: Callable[..., dict[str, Any]]) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        trouble = self.server.trouble.pop(0) if self.server.trouble else None
        if trouble == "hangs":
            time.sleep(2 * sum(SHORT))
        if trouble in ("hangs", "closes"):
            return
        status, content = trouble or 200, {}
        if status in (200, HEARD):
            try:
                content = does(*self.path.split("/")[6:], *([json.loads(sent)] if sent else []))
            except ApiException as error:
                status = error.status
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


def definition(plural: str) -> dict[str, Any]:
    """The schema of a kind."""
    lines = (CRDS / f"{plural}.yaml").read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if "{{" not in line)
    schema: dict[str, Any] = yaml.safe_load(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def merged(former: Any, patch: Any) -> Any:
    """What a JSON merge patch makes of a value (RFC 7396)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    kept = dict(former) if isinstance(former, dict) else {}
    kept |= {name: merged(kept.get(name), value) for name, value in patch.items()}
    return {name: value for name, value in kept.items() if value is not None}


def check_unchanged(schema: Mapping[str, Any], former: Any, value: Any) -> None:
    """Refuses as the API server does another value where a definition says `self == oldSelf`."""
    for validation in schema.get("x-kubernetes-validations", ()):
        if validation["rule"] == "self == oldSelf" and value != former:
            raise ApiException(status=422, reason=validation["message"])
    for name, field in schema.get("properties", {}).items():
        if isinstance(former, dict) and name in former and name in value:
            check_unchanged(field, former[name], value[name])


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kubernetes]:
    kubernetes = Kubernetes()
    (tmp_path / "namespace").write_text("here")
    reached = client.Configuration(host=f"http://127.0.0.1:{kubernetes.server_port}")
    reached.proxy = None
    monkeypatch.setattr(config, "load_incluster_config", lambda: client.Configuration.set_default(reached))
    monkeypatch.setattr(training_run, "_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr(training_run, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(training_run, "TIMEOUT", SHORT)
    monkeypatch.setattr(patience, "_FIRST_WAIT", 0.01)
    with kubernetes:
        serving = threading.Thread(target=kubernetes.serve_forever, args=(0.01,))
        serving.start()
        yield kubernetes
        kubernetes.shutdown()
        serving.join()
    client.Configuration.set_default(None)


def packed(store: Path, digest: str, by: Recipe = RECIPE) -> None:
    """Has the store hold that corpus."""
    write = Writer(store)
    datasets = [
        write("split.heldout", {}),
        write("tokenize.vocabulary", {"tokenizer": (TOKENIZER, [row(TOKENIZER)])}),
        write("tokenize", {}, params={"fim_order": "psm"}),
        write("pack", {}, version=VERSIONS[digest]),
    ]
    assert datasets[-1].digest == digest
    made = tuple(Made(step=dataset.manifest.step, digest=dataset.digest) for dataset in datasets)
    RunRecord(recipe=by.model_dump(), made=made).write(str(store))


def trains_on(store: str, corpus: str) -> str:
    """Has the store hold the record of a training; returns the weights."""
    weights = hashlib.sha256(corpus.encode()).hexdigest()
    trained = Trained(
        identity="i", packed=corpus, weights=weights, parameters=1, unigram_loss=2, final_loss=1, steps=3, seconds=4
    )
    Path(store, "training.json").write_text(trained.model_dump_json())
    return weights


def train(store: Path, corpus: str, workers: int = 2) -> Trained:
    name = claim(RECIPE, str(store))
    return train_by_operator(json.dumps(RECIPE.model_dump()), str(store), name, corpus, Workers(workers=workers))


def test_each_corpus_of_a_claim_has_a_training_of_its_own_that_takes_no_other(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.happens = kubernetes.trains
    for corpus in (FIRST, SECOND, SECOND):
        packed(tmp_path, corpus)
        train(tmp_path, corpus)
    [build] = kubernetes.names("corpusbuilds")
    assert kubernetes.found["corpusbuilds", build]["spec"]["digest"] == SECOND
    runs = kubernetes.names("trainingruns")
    assert len(runs) == 2
    wanted = [kubernetes.found["trainingruns", name]["spec"]["corpusRef"] for name in runs]
    assert wanted == [{"name": build, "digest": FIRST}, {"name": build, "digest": SECOND}]


def test_a_corpus_that_comes_back_is_trained_on_again_where_the_store_holds_the_model_of_another(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.happens = kubernetes.trains
    for corpus in (FIRST, SECOND, FIRST, FIRST, SECOND, FIRST):
        packed(tmp_path, corpus)
        trained = train(tmp_path, corpus)
        assert trained.packed == corpus
        assert json.loads((tmp_path / "training.json").read_text())["weights"] == trained.weights
    runs = kubernetes.names("trainingruns")
    trained_on = [kubernetes.found["trainingruns", name]["spec"]["corpusRef"]["digest"] for name in runs]
    assert trained_on == [FIRST, SECOND, FIRST, SECOND, FIRST]
    assert all(len(name) <= 40 for name in runs)


def test_a_model_that_another_overwrites_at_once_is_a_conflict(kubernetes: Kubernetes, tmp_path: Path) -> None:
    def trains_twice() -> None:
        kubernetes.trains()
        trains_on(str(tmp_path), SECOND)

    packed(tmp_path, FIRST)
    kubernetes.happens = trains_twice
    with pytest.raises(ConflictError, match="does not hold the model that TrainingRun pipeline-"):
        train(tmp_path, FIRST)
    assert len(kubernetes.names("trainingruns")) == 1


def test_a_corpus_is_named_by_its_digest_and_the_recipe_that_made_it_so_that_none_is_built(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.happens = kubernetes.trains
    other = Recipe({**RECIPE.model_dump(), "name": "other"})
    packed(tmp_path, FIRST, by=other)
    train(tmp_path, FIRST)
    [build] = kubernetes.names("corpusbuilds")
    [run] = kubernetes.names("trainingruns")
    made_by = RunRecord.read(str(tmp_path)).recipe
    assert kubernetes.found["corpusbuilds", build]["spec"] == {
        "recipe": made_by,
        "store": str(tmp_path),
        "digest": FIRST,
    }
    assert made_by["name"] == "other"
    assert kubernetes.found["trainingruns", run]["spec"]["recipe"]["name"] == "a"


@pytest.mark.parametrize(("state", "left"), [("running", False), ("failed", False), ("done", True)])
def test_what_a_run_says_that_came_to_no_end_is_not_said_of_the_corpus(
    kubernetes: Kubernetes, tmp_path: Path, state: Literal["running", "failed", "done"], left: bool
) -> None:
    kubernetes.happens = kubernetes.trains
    packed(tmp_path, FIRST)
    progress = Progress(recipe="r", state=state, steps_total=9)
    (tmp_path / "progress.json").write_text(progress.model_dump_json())
    train(tmp_path, FIRST)
    assert (tmp_path / "progress.json").exists() is left


def test_another_attempt_waits_for_the_training_that_is_there(
    kubernetes: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kills_the_step(_: float) -> None:
        raise KeyboardInterrupt

    packed(tmp_path, FIRST)
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", kills_the_step)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, FIRST)
    begun = copy.deepcopy(kubernetes.found)
    kubernetes.happens = kubernetes.trains
    train(tmp_path, FIRST)
    for each, found in kubernetes.found.items():
        assert (found["spec"], found["metadata"]) == (begun[each]["spec"], begun[each]["metadata"])
    assert kubernetes.found.keys() == begun.keys()
    train(tmp_path, FIRST, workers=3)
    [run] = kubernetes.names("trainingruns")
    assert kubernetes.found["trainingruns", run]["spec"]["workers"] == 3


def test_the_same_recipe_in_another_store_has_resources_of_its_own(kubernetes: Kubernetes, tmp_path: Path) -> None:
    kubernetes.happens = kubernetes.trains
    for store in (tmp_path / "one", tmp_path / "other"):
        packed(store, FIRST)
        train(store, FIRST)
    for plural, field in (("corpusbuilds", "store"), ("trainingruns", "out")):
        stores = [kubernetes.found[plural, name]["spec"][field] for name in kubernetes.names(plural)]
        assert stores == [str(tmp_path / "one"), str(tmp_path / "other")]


def test_a_store_that_moved_on_while_it_waited_is_a_conflict(kubernetes: Kubernetes, tmp_path: Path) -> None:
    packed(tmp_path, FIRST)
    kubernetes.happens = lambda: packed(tmp_path, SECOND)
    with pytest.raises(ConflictError, match=f"holds the corpus {SECOND}, the task was given {FIRST}"):
        train(tmp_path, FIRST)


def test_a_store_that_another_recipe_claimed_while_it_waited_is_a_conflict(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    packed(tmp_path, FIRST)
    other = Recipe({**RECIPE.model_dump(), "name": "other"})

    def claims() -> None:
        claim(other, str(tmp_path))

    kubernetes.happens = claims
    with pytest.raises(ConflictError, match="used by a run of another recipe"):
        train(tmp_path, FIRST)


@pytest.mark.parametrize("trouble", [429, 500, 503, HEARD, "closes", "hangs"])
def test_a_server_in_trouble_is_asked_again(kubernetes: Kubernetes, tmp_path: Path, trouble: Trouble) -> None:
    packed(tmp_path, FIRST)
    kubernetes.happens = kubernetes.trains
    kubernetes.trouble = [trouble] * 2
    train(tmp_path, FIRST)
    assert len(kubernetes.names("trainingruns")) == 1
    kubernetes.trouble = [trouble] * 2
    train(tmp_path, FIRST, workers=3)
    assert not kubernetes.trouble


def test_a_server_that_is_gone_is_waited_for_so_long_and_no_longer(
    kubernetes: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path, FIRST)
    monkeypatch.setattr(patience, "_PATIENCE", 0.3)

    def goes() -> None:
        kubernetes.trouble = [503] * 1000

    kubernetes.happens = goes
    with pytest.raises(UnavailableError, match=r"nothing but trouble for \d+ minutes: 503"):
        train(tmp_path, FIRST)


def test_what_the_caller_is_to_blame_for_is_asked_once(kubernetes: Kubernetes, tmp_path: Path) -> None:
    packed(tmp_path, FIRST)
    kubernetes.trouble = [403]
    with pytest.raises(UnavailableError, match="answers 403 Forbidden to create corpusbuilds"):
        train(tmp_path, FIRST)
    assert not kubernetes.found
