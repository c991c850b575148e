"""What the tests do with a cluster: kubectl, and runs of the data path as Jobs."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from corpus import FOLDER

ROOT = Path(__file__).parents[2]
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


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

    def image(self) -> str:
        """What the release runs."""
        deployment = self.get("deployment", "repoloom-filter")
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    def start_run(self, name: str) -> None:
        """Starts the data path of the recipe as a Job, as anything else in the cluster may."""
        command = ["repoloom", "run", f"{FOLDER}/recipe.yaml", "--out", "/tmp/run", "--store", self.store(name)]
        self.apply(self._job(name, [*command, "--engine", "celery", "--until", "pack", "--json"]))

    def store(self, name: str) -> str:
        return f"s3://repoloom/data/{name}"

    def digest(self, name: str, seconds: float) -> str:
        """Of what a run has made, once it is done."""
        wait_for(f"the run {name}", seconds, lambda: bool(self.get("job", name)["status"].get("succeeded")))
        return str(json.loads(self.said(name))["digest"])

    def said(self, job: str) -> str:
        """What the pod of a Job printed that ended well."""
        pods = self.get("pods", "--selector", f"job-name={job}", "--field-selector", "status.phase=Succeeded")["items"]
        log = self.kubectl("logs", pods[0]["metadata"]["name"])
        return log[log.rindex("\n{\n") :] if "\n{\n" in log else log.splitlines()[-1]

    def start_script(self, name: str, script: Path, *arguments: str) -> None:
        """Starts a Python program as a Job that calls the services."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name},
                "data": {"script.py": script.read_text()},
            },
            self._job(name, ["python", "/script/script.py", *arguments]),
        )

    def _job(self, name: str, command: Sequence[str]) -> dict[str, Any]:
        secrets = {"tls": "repoloom-tls", "caller": "repoloom-callers"}
        maps = {"corpus": "corpus", "script": name}
        mounts = [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "corpus", "mountPath": str(FOLDER), "subPath": "..data"},  # see values.yaml
            {"name": "script", "mountPath": "/script"},
            *({"name": volume, "mountPath": f"/etc/repoloom/{volume}"} for volume in secrets),
        ]
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {
                "backoffLimit": 50,
                "template": {
                    "metadata": {
                        "labels": {
                            "app.kubernetes.io/component": "run",
                            "repoloom.dev/data": "true",
                            "repoloom.dev/calls": "true",
                        }
                    },
                    "spec": {
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": False,
                        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                        "containers": [
                            {
                                "name": "run",
                                "image": self.image(),
                                "command": list(command),
                                "securityContext": {**RESTRICTED, "runAsUser": 1000},
                                "envFrom": [
                                    {"configMapRef": {"name": "repoloom-environment"}},
                                    {"secretRef": {"name": "repoloom-store"}},
                                    {"secretRef": {"name": "repoloom-redis"}},
                                ],
                                "env": [
                                    {"name": "REPOLOOM_CLIENT_CA_FILE", "value": "/etc/repoloom/tls/ca.crt"},
                                    {"name": "REPOLOOM_CLIENT_TOKEN_FILE", "value": "/etc/repoloom/caller/token"},
                                ],
                                "volumeMounts": mounts,
                            }
                        ],
                        "volumes": [
                            {"name": "tmp", "emptyDir": {}},
                            *(
                                {"name": v, "configMap": {"name": n, "optional": v == "script"}}
                                for v, n in maps.items()
                            ),
                            *({"name": v, "secret": {"secretName": n}} for v, n in secrets.items()),
                        ],
                    },
                },
            },
        }
