"""What the tests do with a cluster: kubectl, custom resources, and programs as Jobs."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from corpus import FOLDER

ROOT = Path(__file__).parents[2]
KINDS = "modelreleases,trainingruns,corpusbuilds"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def custom(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """A custom resource."""
    return {"apiVersion": "repoloom.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def chain(name: str, recipe: Mapping[str, Any], store: str) -> tuple[dict[str, Any], ...]:
    """A corpus, a training on it, and the release of its model, which waits for nothing but its gates."""
    return (
        custom("CorpusBuild", name, recipe=recipe, store=store),
        custom("TrainingRun", name, corpusRef={"name": name}, out=store),
        custom("ModelRelease", name, trainingRef={"name": name}, gates={"maxBitsPerByte": 20}),
    )


def output(*command: str, given: str | None = None) -> str:
    """What a program says. Raises AssertionError, with its last words, where it fails."""
    done = subprocess.run(command, input=given, text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def wait_for(what: str, seconds: float, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"after {seconds:.0f} s not yet: {what}"
        time.sleep(1)


@dataclass(frozen=True)
class Namespace:
    """A namespace with the chart's release `repoloom` in it."""

    name: str

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return output("kubectl", "--namespace", self.name, *arguments, given=given)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl("get", *arguments, "--output", "json")))

    def pods(self, component: str) -> list[str]:
        """The names of those of a component that are not about to end."""
        items = self.get("pods", "--selector", f"app.kubernetes.io/component={component}")["items"]
        return [pod["metadata"]["name"] for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def image(self, of: str = "repoloom") -> str:
        """What the release runs."""
        settings = yaml.safe_load(self.get("configmap", "repoloom-operator")["data"]["settings.yaml"])
        return str(settings["images"][of])

    def store(self, name: str) -> str:
        return f"s3://repoloom/data/{name}"

    def make(self, kind: str, name: str, **spec: Any) -> None:
        """Makes a custom resource, or changes its spec."""
        self.apply(custom(kind, name, **spec))

    def status(self, kind: str, name: str) -> dict[str, Any]:
        return dict(self.get(kind.lower(), name).get("status", {}))

    def reaches(self, kind: str, name: str, phase: str, seconds: float) -> dict[str, Any]:
        """The status of a custom resource, once it is in a phase."""
        wait_for(f"{kind} {name} is {phase}", seconds, lambda: self.status(kind, name).get("phase") == phase)
        return self.status(kind, name)

    def children(self, kind: str, owner: str) -> list[dict[str, Any]]:
        """What the operator made for a custom resource."""
        return list(self.get(kind, "--selector", f"repoloom.dev/name={owner}")["items"])

    def running(self, owner: str) -> list[str]:
        """The pods of a custom resource that have not ended."""
        pods = self.children("pods", owner)
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] in ("Pending", "Running")]

    def events(self, name: str) -> dict[str, str]:
        """The messages of a custom resource's events, by reason."""
        items = self.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
        return {event["reason"]: event["message"] for event in items}

    def kill(self, pod: str) -> bool:
        """As a node that is lost does; returns whether it was there still."""
        options = ("--grace-period=0", "--force", "--ignore-not-found", "--output=name")
        return bool(self.kubectl("delete", "pod", pod, *options))

    def said(self, job: str, seconds: float) -> str:
        """What the pod of a Job prints last, a line or an indented object of JSON, once it has ended well."""

        def ended() -> bool:
            status = self.get("job", job)["status"]
            assert not status.get("failed"), self.kubectl("logs", f"job/{job}", "--tail=50")
            return bool(status.get("succeeded"))

        wait_for(f"the script {job}", seconds, ended)
        log = self.kubectl("logs", f"job/{job}")
        return log[log.rindex("\n{\n") :] if "\n{\n" in log else log.splitlines()[-1]

    def start(
        self, name: str, image: str, *command: str, files: Mapping[str, str], account: str = "", of: str = "repoloom"
    ) -> None:
        """Starts a program as a Job that may use the store, Redis and what the release `of` serves; it is tried once.

        `files` lie in /files. With an account it may use Kubernetes, too.
        """
        volumes: dict[str, tuple[str, dict[str, Any]]] = {
            "tmp": ("/tmp", {"emptyDir": {}}),
            "corpus": (str(FOLDER), {"configMap": {"name": "corpus"}}),
            "files": ("/files", {"configMap": {"name": name}}),
            "tls": ("/etc/repoloom/tls", {"secret": {"secretName": f"{of}-tls"}}),
            "caller": ("/etc/repoloom/caller", {"secret": {"secretName": f"{of}-callers"}}),
        }
        container = {
            "name": "program",
            "image": image,
            "command": list(command),
            "securityContext": {**RESTRICTED, "runAsUser": 1000},
            "envFrom": [
                {"configMapRef": {"name": "repoloom-environment"}},
                {"configMapRef": {"name": "repoloom-queue"}},
                {"secretRef": {"name": "repoloom-store"}},
                {"secretRef": {"name": "repoloom-redis"}},
            ],
            "env": [
                {"name": "REPOLOOM_CLIENT_CA_FILE", "value": "/etc/repoloom/tls/ca.crt"},
                {"name": "REPOLOOM_CLIENT_TOKEN_FILE", "value": "/etc/repoloom/caller/token"},
            ],
            "volumeMounts": [
                # Of the corpus as values.yaml has it.
                {"name": volume, "mountPath": path, **({"subPath": "..data"} if volume == "corpus" else {})}
                for volume, (path, _) in volumes.items()
            ],
        }
        pod = {
            "restartPolicy": "Never",
            "serviceAccountName": account or "default",
            "automountServiceAccountToken": bool(account),
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": volume, **source} for volume, (_, source) in volumes.items()],
        }
        labels = {f"repoloom.dev/{name}": "true" for name in ("data", "queue", "crawls", "calls")}
        job = {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}}
        head = {"name": name}
        self.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": head, "data": dict(files)},
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": head, "spec": job},
        )


def condition(status: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in status["conditions"] if entry["type"] == name)
