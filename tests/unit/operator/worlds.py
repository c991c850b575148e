"""A cluster in memory, with what of Kubernetes the operator leans on, and a store of real records in a folder.

Names are unique; what is deleted in the foreground stays until its pods have ended; a write that names an old version
is refused; a status is written apart from the rest. Each write can be the operator's last.
"""

import copy
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from kubernetes.client.exceptions import ApiException

from repoloom import store as stores
from repoloom.corpus.ledger import Count, Ledger
from repoloom.corpus.manifest import Cut, Listing, Manifest, Quarantined
from repoloom.corpus.parts import columns_of, write_listing
from repoloom.corpus.writing import TaskWriter
from repoloom.recipe.model import Recipe
from repoloom.recipe.progress import PROGRESS, Progress, recipe_identity
from repoloom.recipe.run import Made, RunRecord
from repoloom.stages.decontaminate.tables import HITS
from repoloom.store import open_store
from repoloom_operator import handlers, observe
from repoloom_operator.api import Cluster
from repoloom_operator.children import JOB_KINDS, NAME_LABEL
from repoloom_operator.resources import Kind
from repoloom_operator.settings import Settings

CRDS = Path(__file__).parents[3] / "charts/repoloom/templates/crds"
NAMESPACE = "here"
IMAGES = {"repoloom": "repoloom:1", "training": "training:1"}
RECIPE = {"name": "tiny", "crawl": {"sources": [{"kind": "git", "url": "https://example.org/a"}]}}


class Killed(BaseException):
    """The operator died."""


def answer(status: int, reason: str = "", message: str = "") -> ApiException:
    """What the API server says with a Status."""
    error = ApiException(status=status)
    error.body = json.dumps({"kind": "Status", "reason": reason, "message": message}).encode()
    return error


class World(Cluster):
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.namespaces = [NAMESPACE]
        self.settings = Settings.model_validate({"images": IMAGES, **settings})
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []  # verb and kind
        self.events: list[tuple[str, str]] = []  # reason and message
        self._listings: dict[tuple[tuple[str, int], ...], Listing] = {}
        self.crawled = ""  # what the sources hold
        self.left = 7  # of nine files that come to a step
        self.hits = {"HumanEval": 2}  # how many texts of each benchmark
        self.lives = 10**9  # writes until the operator dies
        self.refuses: dict[str, ApiException] = {}  # writes of that kind of object
        self.between: Callable[[], object] | None = None  # happens between its looking and its first write
        self._number = 0

    # What the operator calls.

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        assert namespace == NAMESPACE
        self.calls.append(("get", kind))
        return copy.deepcopy(self.objects.get((kind, name)))

    def labelled(self, kind: str, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        assert namespace == NAMESPACE
        self.calls.append(("list", kind))
        return [
            copy.deepcopy(found)
            for (each, _), found in self.objects.items()
            if each == kind and labels.items() <= found["metadata"].get("labels", {}).items()
        ]

    def named(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        assert namespace == NAMESPACE
        self.calls.append(("list", kind))
        return copy.deepcopy(self.objects.get((kind, name)))

    def create(self, manifest: Mapping[str, Any]) -> None:
        kind = manifest["kind"]
        self._write("create", kind)
        if kind == "Event":
            self.events.append((manifest["reason"], manifest["message"]))
            return
        if (kind, manifest["metadata"]["name"]) in self.objects:
            raise answer(409, "AlreadyExists")
        self.put(manifest)

    def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        assert namespace == NAMESPACE
        self._write("delete", kind)
        found = self.objects.get((kind, name))
        if found and found["metadata"]["uid"] == uid:
            self.remove(kind, name)

    def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        assert namespace == NAMESPACE
        self._write("patch", kind)
        found = self._current(kind, name, body)
        before = copy.deepcopy(found["spec"])
        body = copy.deepcopy(dict(body))
        if "finalizers" in body.get("metadata", {}):
            found["metadata"]["finalizers"] = body["metadata"]["finalizers"]
        for name, value in body.get("metadata", {}).get("annotations", {}).items():
            annotations = found["metadata"].setdefault("annotations", {})
            annotations.pop(name, None) if value is None else annotations.update({name: value})
        if kind == "Deployment" and "spec" in body:
            container, new = found["spec"]["template"]["spec"]["containers"][0], body["spec"]["template"]["spec"]
            environment = {entry["name"]: entry for entry in container["env"]}
            environment |= {entry["name"]: entry for entry in new["containers"][0]["env"]}
            container["env"] = list(environment.values())
        else:
            _merge(found["spec"], body.get("spec", {}))
        self._written(found, before)
        if "deletionTimestamp" in found["metadata"] and not found["metadata"].get("finalizers"):
            del self.objects[kind, name]

    def replace_status(self, manifest: Mapping[str, Any]) -> None:
        self._write("update status", manifest["kind"])
        found = self._current(manifest["kind"], manifest["metadata"]["name"], manifest)
        found["status"] = json.loads(json.dumps(manifest["status"]))
        _check_defined(found["status"], defined(manifest["kind"])["status"])
        self._written(found, found["spec"])

    # What others do.

    def put(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self._number += 1
        made: dict[str, Any] = copy.deepcopy(dict(manifest))
        version = {"uid": f"uid-{self._number}", "generation": 1, "resourceVersion": str(self._number)}
        created = {"namespace": NAMESPACE, "creationTimestamp": f"{self.time:%FT%TZ}"}
        made["metadata"] = {**created, **made["metadata"], **version}
        self.objects[made["kind"], made["metadata"]["name"]] = made
        return made

    def write_below(self, *roots: Path) -> None:
        """The operator is told below which folders resources may have data written."""
        self.settings = self.settings.model_copy(update={"store_roots": tuple(map(str, roots))})

    def edit(self, kind: str, name: str, **spec: Any) -> None:
        if found := self.objects.get((kind, name)):
            before = copy.deepcopy(found["spec"])
            found["spec"] |= spec
            self._written(found, before)

    def remove(self, kind: str, name: str) -> None:
        found = self.objects[kind, name]
        stays = found["metadata"].get("finalizers") or found.get("pods")
        if not stays:
            del self.objects[kind, name]
        else:
            found["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
            self._written(found, found.get("spec"))

    def jobs(self) -> list[dict[str, Any]]:
        return [found for (kind, _), found in self.objects.items() if kind in JOB_KINDS]

    def pods_start(self, missing: int = 0) -> None:
        """A job that is not suspended gets its pods, but for some that find no node; one that is loses them."""
        for job in self.jobs():
            if "deletionTimestamp" in job["metadata"] or _ended(job):
                continue
            spec = job["spec"]
            job["pods"] = not spec.get("runPolicy", spec).get("suspend")
            running: dict[str, dict[str, Any]] = {
                "Job": {"ready": 1, "startTime": f"{self.time:%FT%TZ}"},
                "PyTorchJob": {
                    "conditions": [_condition("Running", self.time)],
                    "startTime": f"{self.time:%FT%TZ}",
                    "replicaStatuses": {"Worker": {"active": _workers(job) - missing}},
                },
                "TrainJob": {"jobsStatus": [{"name": "node", "ready": int(not missing), "active": 1}]},
            }
            job["status"] = running[job["kind"]] if job["pods"] else {}

    def pods_end(self, condition: str) -> None:
        """The pods of each job end: so does it, or it goes if it was deleted."""
        for job in self.jobs():
            if "deletionTimestamp" in job["metadata"]:
                del self.objects[job["kind"], job["metadata"]["name"]]
            elif job.get("pods"):
                job["pods"] = False
                ended = "Complete" if (job["kind"], condition) == ("TrainJob", "Succeeded") else condition
                job["status"] = {"conditions": [_condition(ended, self.time)]}

    def _current(self, kind: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        found = self.objects.get((kind, name))
        if found is None:
            raise ApiException(status=404)
        if body.get("metadata", {}).get("resourceVersion") not in (None, found["metadata"]["resourceVersion"]):
            raise answer(409, "Conflict")
        return found

    def _written(self, found: dict[str, Any], before: Any) -> None:
        self._number += 1
        found["metadata"]["resourceVersion"] = str(self._number)
        found["metadata"]["generation"] += found.get("spec") != before

    def _write(self, verb: str, kind: str) -> None:
        if between := self.between:
            self.between = None
            between()
        if not self.lives:
            raise Killed
        self.lives -= 1
        self.calls.append((verb, kind))
        if verb in ("create", "patch") and kind in self.refuses:
            raise self.refuses[kind]

    @property
    def writes(self) -> int:
        return sum(verb not in ("get", "list") for verb, _ in self.calls)

    def look(self, kind: Kind, name: str) -> float | None:
        """One look of the operator; what it raises when it dies or meets another's write is for the next look."""
        observe.now, handlers.now = (lambda: self.time), (lambda: self.time)  # type: ignore[assignment]
        with suppress(Killed):
            return handlers.look((kind, NAMESPACE, name), self, self.settings)
        return None

    def settle(self, kind: Kind, name: str) -> None:
        """Looks until nothing is left to do."""
        for _ in range(20):
            before = self.writes
            self.look(kind, name)
            if self.writes == before:
                return
        raise AssertionError("it does not come to rest")

    def status(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.objects[kind, name].get("status", {})
        return found

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        conditions = self.status(kind, name)["conditions"]
        return next(entry for entry in conditions if entry["type"] == condition)

    # What pods leave in the store.

    def built(self, recipe: Mapping[str, Any], quarantined: int = 0, unloaded: Sequence[Quarantined] = ()) -> str:
        """What a run of a recipe leaves, `unloaded` if the benchmarks were given up; returns the corpus' digest."""
        checked = Recipe(recipe).model_dump()
        store = open_store(str(self.folder))
        made = []
        content = {"of": recipe_identity(checked), "crawled": self.crawled, "hits": self.hits}
        benchmarks = [{"name": name, "path": "/b"} for name in self.hits]
        for step, params in (
            ("filter", content),
            ("decontaminate.benchmarks", {"benchmarks": benchmarks}),
            ("decontaminate", content),
            ("split.heldout", content),
            ("pack", content),
        ):
            tables = {"hits": self._hits(f"{self.folder}/{step}")} if step == "decontaminate" else {}
            entering, kept, lost = (Count(items=items, size=10 * items) for items in (9, self.left, 9 - self.left))
            ledger = Ledger(entering=entering, kept={"files": {"Python": kept}}, dropped={"long": {"Python": lost}})
            manifest = Manifest(
                step=step,
                version=1,
                params=params,
                inputs={},
                tables=tables,
                ledger=ledger,
                cut=Cut(task_bytes=1, tasks=1),
                quarantined=tuple(unloaded) if step == "decontaminate.benchmarks" else (),
            )
            _put(store, f"{step}/manifest.json", manifest.model_dump_json().encode())
            made.append(Made(step=step, digest=manifest.digest()))
        RunRecord(recipe=checked, made=tuple(made)).write(str(self.folder))
        total = len(made)
        progress = Progress(
            recipe=recipe_identity(checked),
            state="done",
            steps_total=total,
            steps_done=total,
            quarantined=quarantined,
        )
        stores.write(store, PROGRESS, progress.model_dump_json().encode())
        return made[-1].digest

    def _hits(self, uri: str) -> Listing:
        """The table of hits of a dataset, written once."""
        hits = tuple(self.hits.items())
        if hits not in self._listings:
            store = open_store(uri)
            empty = dict.fromkeys(HITS.names, "")
            rows = [{**empty, "benchmark": name} for name, count in hits for _ in range(count)]
            with TaskWriter(store, "tasks/0", {"hits": HITS}) as writer:
                writer.write("hits", pa.RecordBatch.from_pylist(rows, HITS))
                self._listings[hits] = write_listing(store, "hits", columns_of(writer.finish()["hits"]))
        return self._listings[hits]

    def runs_again(self) -> None:
        """The run of a recipe is at its second step."""
        store = open_store(str(self.folder))
        progress = Progress.read(store)
        assert progress
        again = progress.model_copy(update={"state": "running", "steps_done": 1})
        stores.write(store, PROGRESS, again.model_dump_json().encode())

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def owned(self, kind: str, name: str) -> list[dict[str, Any]]:
        return [
            found
            for (each, _), found in self.objects.items()
            if each == kind and found["metadata"].get("labels", {}).get(NAME_LABEL) == name
        ]


def _put(store: stores.Store, key: str, content: bytes) -> None:
    """Writes an object that is not as it should be: to write is slow."""
    if not store.exists(key) or store.read(key) != content:
        stores.write(store, key, content)


def _workers(job: Mapping[str, Any]) -> int:
    replicas: int = job["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"] if job["kind"] == "PyTorchJob" else 0
    return replicas


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """A merge patch of an object."""
    for name, value in changes.items():
        _merge(into[name], value) if isinstance(value, dict) else into.update({name: value})


def resource(kind: Kind, name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


@functools.cache
def defined(kind: str) -> Mapping[str, Any]:
    """What the chart's definition of a kind has."""
    text = Path(CRDS, f"{kind.lower()}s.yaml").read_text()
    plain = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("{{"))
    properties: Mapping[str, Any] = yaml.safe_load(plain)["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
        "properties"
    ]
    return properties


def _check_defined(value: Any, schema: Mapping[str, Any]) -> None:
    """Kubernetes drops what is not defined, and refuses a phase that is not."""
    assert value in schema.get("enum", [value])
    for name, each in value.items() if isinstance(value, dict) else ():
        inside = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
        assert inside, f"{name} is not defined"
        _check_defined(each, inside)
    for each in value if isinstance(value, list) else ():
        _check_defined(each, schema["items"])


def _condition(name: str, at: datetime) -> dict[str, Any]:
    return {"type": name, "status": "True", "lastTransitionTime": f"{at:%FT%TZ}", "message": f"it is {name}"}


def _ended(job: Mapping[str, Any]) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(entry["type"] in ("Complete", "Succeeded", "Failed") for entry in conditions)
