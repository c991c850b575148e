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
from repoloom_operator.conditions import Condition, carried
from repoloom_operator.resources import FINALIZER, GROUP, VERSION, Resource, S, timestamp

_log = logging.getLogger(__name__)


_UNKNOWN, _TAKEN = 404, 409
_NO_REFUSALS = (401, 408, _TAKEN, 429)
"""Of the answers that blame the caller those that are of the moment, not of what was asked for."""


def apply(
    actions: Iterable[Action], resource: Resource[S], cluster: Cluster, now: datetime, look_seconds: float
) -> float | None:
    """Does the actions; returns after how many seconds to look again, if they say so.

    Raises ApiException; where the server does not take a write, the resource has been told so. A name that is taken is
    no error: nothing more is done until it is free.
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
            if refused := _refusal(action, error):
                for tells in carried(resource, refused).write(resource, now):
                    _do(tells, resource, cluster, now)
                if error.status == _TAKEN:
                    return look_seconds
            raise
    return min(after, default=None)


def _refusal(action: Action, error: ApiException) -> Condition | None:
    """What stands on the resource when the server does not take a write: a quota, a webhook, no such kind."""
    if isinstance(action, Create) and error.status == _TAKEN:
        kind, name = action.manifest["kind"], action.manifest["metadata"]["name"]
        said = f"there is a {kind} {name} that is not labelled as this resource's; delete it"
        return Condition("Ready", False, "NameTaken", said, alarming=True)
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


def _message(kind: str, error: ApiException) -> str:
    """The words of the API server's Status; a path that it does not know is answered without one, as by a proxy."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, LookupError):
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
