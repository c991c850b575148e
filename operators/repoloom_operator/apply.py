"""Doing what a reconciler wants: one API call an action, in order; after a call that fails, none."""

import json
import logging
from collections.abc import Iterable
from datetime import datetime

from kubernetes.client.exceptions import ApiException

from repoloom_operator.actions import (
    Action,
    AddFinalizer,
    Create,
    Delete,
    DropFinalizer,
    Emit,
    Patch,
    Requeue,
    SetStatus,
)
from repoloom_operator.api import APIS, Cluster
from repoloom_operator.children import KIND_LABEL, NAME_LABEL
from repoloom_operator.conditions import Condition, carried
from repoloom_operator.resources import FINALIZER, GROUP, VERSION, Manifest, Resource, S, timestamp

_log = logging.getLogger(__name__)


_UNKNOWN, _CONFLICT = 404, 409
_NO_REFUSALS = (401, 408, _CONFLICT, 429)
"""Of the answers that blame the caller those that are of the moment, not of what was asked for."""


def apply(
    actions: Iterable[Action], resource: Resource[S], cluster: Cluster, now: datetime, look_seconds: float
) -> float | None:
    """Does the actions; returns after how many seconds to look again, if they say so.

    Raises ApiException; where the server does not take a write, the resource has been told so. That an object cannot be
    made yet, since its name is taken or others write to its quota, is no error: nothing more is done until it can.
    """
    after: list[float] = []
    for action in actions:
        if isinstance(action, Requeue):
            after.append(look_seconds if action.seconds is None else action.seconds)
            continue
        _log.debug("%s/%s: %s", resource.namespace, resource.name, action)
        try:
            _do(action, resource, cluster, now)
        except ApiException as error:
            if refused := _refusal(action, error, cluster):
                for tells in carried(resource, refused).write(resource, now):
                    _do(tells, resource, cluster, now)
            if isinstance(action, Create) and error.status == _CONFLICT:
                return look_seconds
            raise
    return min(after, default=None)


def _refusal(action: Action, error: ApiException, cluster: Cluster) -> Condition | None:
    """What stands on the resource when the server does not take a write: a quota, a webhook, no such kind."""
    if isinstance(action, Create) and _told(error, "reason") == "AlreadyExists":
        return _taken(action.manifest, cluster)
    if not 400 <= error.status < 500 or error.status in _NO_REFUSALS:
        return None
    match action:
        case Create({"kind": kind, "metadata": {"name": name}}):
            reason = "CreateRefused"
        case Patch(kind, name):
            reason = "PatchRefused"
        case _:
            return None
    return Condition("Ready", False, reason, f"{kind} {name}: {_message(kind, error)}", alarming=True)


def _taken(manifest: Manifest, cluster: Cluster) -> Condition | None:
    """That another object has the name of one that is to be made; the resource's own one may be about to end."""
    kind, metadata = manifest["kind"], manifest["metadata"]
    there = cluster.named(kind, metadata["namespace"], metadata["name"])
    if there is None or _whose(there) == _whose(manifest):
        return None
    said = f"there is a {kind} {metadata['name']} that is not labelled as this resource's; delete it"
    return Condition("Ready", False, "NameTaken", said, alarming=True)


def _whose(manifest: Manifest) -> tuple[str | None, str | None]:
    labels = manifest["metadata"].get("labels", {})
    return labels.get(KIND_LABEL), labels.get(NAME_LABEL)


def _told(error: ApiException, field: str) -> str | None:
    """A field of the Status that the API server answered with; a path that it does not know has none, as of a proxy."""
    try:
        return str(json.loads(error.body)[field])
    except (TypeError, ValueError, LookupError):
        return None


def _message(kind: str, error: ApiException) -> str:
    """The API server's words, or a proxy's, and what the cluster may lack."""
    if (said := _told(error, "message")) is not None:
        return said
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body
    text = (body or error.reason or "").strip()
    if error.status == _UNKNOWN and not (api := APIS[kind]).strategic:
        text += f"; {api.plural}.{api.group} are Kubeflow's, and have to be there (docs/kubernetes.md, Prerequisites)"
    return text


def _do(action: Action, resource: Resource[S], cluster: Cluster, now: datetime) -> None:
    match action:
        case AddFinalizer():
            _write_finalizers(resource, [*resource.finalizers, FINALIZER], cluster)
        case DropFinalizer():
            _write_finalizers(resource, [name for name in resource.finalizers if name != FINALIZER], cluster)
        case Create(manifest):
            cluster.create(manifest)
        case Delete(kind, name, uid):
            cluster.delete(kind, resource.namespace, name, uid)
        case Patch(kind, name, body):
            try:
                cluster.patch(kind, resource.namespace, name, body)
            except ApiException as error:
                if error.status != _UNKNOWN:
                    raise
                _log.warning("%s %s is gone; that it went is news of its own", kind, name)
        case SetStatus(status):
            named = {"name": resource.name, "namespace": resource.namespace, "resourceVersion": resource.version}
            head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": resource.kind, "metadata": named}
            cluster.replace_status({**head, "status": status})
        case Emit():
            cluster.create(_event(action, resource, now))


def _write_finalizers(resource: Resource[S], finalizers: list[str], cluster: Cluster) -> None:
    body = {"metadata": {"resourceVersion": resource.version, "finalizers": finalizers}}
    cluster.patch(resource.kind, resource.namespace, resource.name, body)


def _event(event: Emit, resource: Resource[S], now: datetime) -> dict[str, object]:
    involved = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": resource.kind,
        "name": resource.name,
        "namespace": resource.namespace,
        "uid": resource.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{resource.name}.", "namespace": resource.namespace},
        "involvedObject": involved,
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
        "source": {"component": "repoloom-operator"},
    }
