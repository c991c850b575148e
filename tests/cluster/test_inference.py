"""The inference chart and releases of models: restricted pods, TLS on both sides, trained models out of the store.

The first model is the end of what one `kubectl apply` began: a corpus, a training on it, its release.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import Namespace, condition, output, wait_for
from repoloom_operator.recipes import check

NAME = "code"
CLIENT = Path(__file__).with_name("completions.py")
LIMIT = 300.0  # seconds of anything, on two cores that do everything else too
COPY = """
import sys
from repoloom.store import open_store, write
store = open_store(sys.argv[1])
write(store, sys.argv[3], store.read(sys.argv[2]))
"""


@dataclass(frozen=True)
class Served:
    """A release of the chart, with a canary, that serves the model of the ModelRelease `calm`."""

    namespace: Namespace
    store: str  # where the training `calm` is, and `second` in a folder of its own

    @property
    def host(self) -> str:
        return f"{NAME}.{self.namespace.name}.svc"

    def weights(self, training: str) -> str:
        return str(self.namespace.status("TrainingRun", training)["weights"])

    def models(self) -> list[tuple[str, str]]:
        """Address and digest of what the pods are to serve, and of what those of the canary are."""
        return [self._model(name) for name in (NAME, f"{NAME}-canary")]

    def _model(self, deployment: str) -> tuple[str, str]:
        [container] = self.namespace.get("deployment", deployment)["spec"]["template"]["spec"]["containers"]
        environment = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        return environment["REPOLOOM_MODEL"], environment["REPOLOOM_MODEL_SHA256"]

    def pods(self, *tracks: str) -> list[dict[str, Any]]:
        selector = f"app.kubernetes.io/name=inference,app.kubernetes.io/instance={NAME}"
        items = self.namespace.get("pods", "--selector", selector)["items"]
        return [pod for pod in items if not tracks or pod["metadata"]["labels"]["repoloom.dev/track"] in tracks]

    def names(self) -> set[str]:
        """Of the pods that are not about to end."""
        return {pod["metadata"]["name"] for pod in self.pods() if "deletionTimestamp" not in pod["metadata"]}

    def upgrade(self, **values: Any) -> None:
        options = ("--reset-then-reuse-values", "--values=-", "--wait", "--timeout=5m")
        where = ("--namespace", self.namespace.name)
        output("helm", "upgrade", NAME, "charts/inference", *where, *options, given=yaml.safe_dump(values))

    def release(self, name: str, **gates: float) -> None:
        """Releases the model of the training `second`."""
        spec = {"trainingRef": {"name": "second"}, "deployment": NAME, "canary": {"seconds": 5}, "gates": gates}
        self.namespace.make("ModelRelease", name, **spec)

    def start_client(self, name: str, *arguments: str) -> None:
        """A pod that asks the model; returns when it has begun."""
        command = ("python", f"/files/{CLIENT.name}", *arguments)
        self.namespace.start(name, self.namespace.image(), *command, files={CLIENT.name: CLIENT.read_text()}, of=NAME)
        wait_for(f"{name} asks", 60, lambda: self._began(name))

    def _began(self, job: str) -> bool:
        status = self.namespace.get("job", job)["status"]
        return any(status.get(count) for count in ("ready", "succeeded", "failed"))

    def said(self, client: str) -> dict[str, Any]:
        return dict(json.loads(self.namespace.said(client, LIMIT)))


@pytest.fixture(scope="module")
def served(
    namespace: Namespace, corpus: str, recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    longer = {**recipe, "train": {**recipe["train"], "steps": 15}}
    namespace.make("TrainingRun", "second", corpusRef={"name": "calm"}, recipe=longer, out=f"{corpus}/second")
    _make_secrets(namespace, f"{NAME}.{namespace.name}.svc", tmp_path_factory.mktemp("tls"))
    released = namespace.reaches("ModelRelease", "calm", "Released", LIMIT)
    namespace.reaches("TrainingRun", "second", "Succeeded", LIMIT)
    model = {"uri": released["model"], "sha256": released["lineage"]["model"]}
    values = yaml.safe_dump({**_values(namespace), "model": model, "canary": {"enabled": True, "model": model}})
    where = ("--namespace", namespace.name)
    output("helm", "install", NAME, "charts/inference", *where, "--values=-", "--wait", "--timeout=5m", given=values)
    yield Served(namespace, corpus)
    output("helm", "uninstall", NAME, *where)


def _values(namespace: Namespace) -> dict[str, Any]:
    values = json.loads(output("helm", "get", "values", "repoloom", "--namespace", namespace.name, "--output=json"))
    folder, _, image = values["images"]["inference"].rpartition("/")
    name, _, tag = image.partition(":")
    environment = namespace.get("configmap", "repoloom-environment")["data"]
    return {
        "image": {"repository": f"{folder}/{name}", "tag": tag},
        "store": {"secretName": "repoloom-store"},
        "env": [{"name": name, "value": environment[name]} for name in ("AWS_ENDPOINT_URL", "AWS_REGION")],
        "podLabels": {"repoloom.dev/data": "true"},
        "tls": {"secretName": f"{NAME}-tls", "clientCertificates": True},
        "callers": {"secretName": f"{NAME}-callers"},
        "test": {"clientTlsSecretName": f"{NAME}-tls"},
        "serving": {"slots": 1, "requestSeconds": 150, "drainSeconds": 150},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    }


def _make_secrets(namespace: Namespace, host: str, folder: Path) -> None:
    """A certificate that signed itself, for the server and its clients; a token, and who may come with which."""
    names = f"subjectAltName=DNS:{host}"
    made = ("-keyout", str(folder / "key"), "-out", str(folder / "certificate"), "-days", "2", "-addext", names)
    output("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", *made)
    certificate, key = (folder / "certificate").read_text(), (folder / "key").read_text()
    callers = [
        {"name": "script", "token": f"sha256:{hashlib.sha256(b'secret').hexdigest()}", "scopes": ["inference:online"]},
        {"name": "test", "certificate": host, "scopes": ["inference:online"]},
    ]
    namespace.apply(
        _secret("tls", {"tls.crt": certificate, "ca.crt": certificate, "tls.key": key}),
        _secret("callers", {"token": "secret", "callers.yaml": yaml.safe_dump(callers)}),
    )


def _secret(what: str, content: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{NAME}-{what}"}, "stringData": dict(content)}


def fingerprint(weights: str) -> str:
    """How an answer names them."""
    return f"fp_{weights[:12]}"


def test_a_model_out_of_the_store_answers_over_every_face_and_helm_test_asks_it(served: Served) -> None:
    served.start_client("answers", "answers", served.host)
    answer = served.said("answers")
    [pod] = served.pods("stable")
    lines = served.namespace.kubectl("logs", pod["metadata"]["name"]).splitlines()
    [answered] = [line for line in map(json.loads, lines) if line["message"] == "the model answers"]
    assert answered["time"][:19] <= condition(pod["status"], "Ready")["lastTransitionTime"][:19]
    assert answer["usage"]["completion_tokens"] >= 1
    assert answer["system_fingerprint"] == fingerprint(served.weights("calm"))
    said = output("helm", "test", NAME, "--namespace", served.namespace.name, "--logs", "--timeout=3m")
    [asked] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert asked["choices"] == answer["choices"]


def test_a_model_that_misses_a_gate_is_rejected_and_nothing_else_happens(served: Served) -> None:
    before = served.models()
    served.release("strict", maxBitsPerByte=0.1)
    status = served.namespace.reaches("ModelRelease", "strict", "Rejected", LIMIT)
    assert [job["metadata"]["name"] for job in served.namespace.children("jobs", "strict")] == ["strict-evaluate"]
    bits = status["scores"]["bitsPerByte"]
    assert condition(status, "GatesPassed")["message"] == f"bits per byte is {bits:.4g}, at most 0.1 is wanted"
    assert served.models() == before


def test_weights_that_are_not_the_trained_ones_are_refused_by_the_canary_and_rolled_back(served: Served) -> None:
    before, weights = served.models(), served.namespace.status("TrainingRun", "second")["model"]
    _copy(served, weights, "model.safetensors", "kept")
    _copy(served, weights, "config.json", "model.safetensors")
    _deadline(served, 30)
    served.release("broken")
    wait_for("the canary refuses them", LIMIT, lambda: any("was meant" in said for said in _last_words(served)))
    assert not all(pod["status"]["containerStatuses"][0]["ready"] for pod in served.pods("canary"))
    served.namespace.reaches("ModelRelease", "broken", "RolledBack", LIMIT)
    assert "was meant" in served.namespace.events("broken")["RolledBack"]
    wait_for("the canary is back", 60, lambda: served.models() == before)
    _copy(served, weights, "kept", "model.safetensors")
    _deadline(served, 600)


def _copy(served: Served, store: str, source: str, target: str) -> None:
    """Has the operator's pod copy an object of the store."""
    served.namespace.kubectl("exec", "deployment/repoloom-operator", "--", "python", "-c", COPY, store, source, target)


def _deadline(served: Served, seconds: int) -> None:
    change = {"spec": {"progressDeadlineSeconds": seconds}}
    served.namespace.kubectl("patch", "deployment", f"{NAME}-canary", "--patch", json.dumps(change))


def _last_words(served: Served) -> Iterator[str]:
    """What the canary's pods said before they ended."""
    for pod in served.pods("canary"):
        for status in pod["status"].get("containerStatuses", ()):
            ended = status["state"].get("terminated") or status["lastState"].get("terminated") or {}
            yield ended.get("message", "")


def test_a_release_and_an_upgrade_cost_no_request_and_the_model_is_known_to_its_corpus(served: Served) -> None:
    namespace, first, second = served.namespace, served.weights("calm"), served.weights("second")
    served.start_client("load", "load", served.host)
    served.release("good", maxBitsPerByte=20)
    status = namespace.reaches("ModelRelease", "good", "Released", LIMIT)
    assert status["lineage"]["model"] == second
    assert status["lineage"]["training"] == namespace.status("TrainingRun", "second")["identity"]
    assert status["lineage"]["corpus"] == namespace.status("CorpusBuild", "calm")["digest"]
    recipe = namespace.get("trainingrun", "second")["spec"]["recipe"]
    assert status["lineage"]["recipe"] == check(recipe).identity
    for operator in namespace.pods("operator"):  # its successor looks at all releases, the one that was rolled back too
        namespace.kill(operator)
    assert status["model"] == f"{served.store}/second/models/{second}"
    model = {"uri": status["model"], "sha256": second}
    pods = served.names()
    served.upgrade(model=model, canary={"model": model})
    assert served.names() == pods  # it is there already
    served.upgrade(serving={"queue": 400, "preStopSeconds": 3})  # of the new pods: the next test stops one of them
    assert not served.names() & pods
    wait_for("former pods have ended", 120, lambda: len(served.pods()) == 2)
    namespace.kubectl("exec", "job/load", "--", "sh", "-c", "kill -TERM 1")
    said = served.said("load")
    assert min(said["answers"]) > 10
    assert (said["models"][0], said["models"][-1]) == (fingerprint(first), fingerprint(second))
    assert len(said["models"]) > 2  # both at a time, while the canary alone had the second
    assert served.models() == [(model["uri"], second)] * 2


def test_a_pod_that_is_stopped_finishes_the_streams_that_it_has_begun(served: Served) -> None:
    [pod] = served.pods("stable")
    served.start_client("drain", "drain", served.host, pod["status"]["podIP"])
    wait_for("streams", 60, lambda: "streaming" in served.namespace.kubectl("logs", "job/drain"))
    served.namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    said = served.said("drain")
    assert said["open"] >= 1
    assert said["ended"] == [16] * 8
