"""Doing what a reconciler wants: one API call an action, in order; after a call that fails, none."""

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
from repoloom_operator.api import Cluster
from repoloom_operator.resources import FINALIZER, GROUP, VERSION, Resource, S, timestamp

_log = logging.getLogger(__name__)


def apply(actions: Iterable[Action], resource: Resource[S], cluster: Cluster, now: datetime) -> float | None:
    """Does the actions; returns after how many seconds to look again, if they say so. Raises ApiException."""
    after = None
    for action in actions:
        if isinstance(action, Requeue):
            after = action.seconds
        else:
            _log.debug("%s/%s: %s", resource.namespace, resource.name, action)
            _do(action, resource, cluster, now)
    return after


def _do(action: Action, resource: Resource[S], cluster: Cluster, now: datetime) -> None:
    match action:
        case AddFinalizer():
            _write_finalizers(resource, [*resource.finalizers, FINALIZER], cluster)
        case DropFinalizer():
            _write_finalizers(resource, [name for name in resource.finalizers if name != FINALIZER], cluster)
        case Create(manifest):
            try:
                cluster.create(manifest)
            except ApiException as error:
                if error.status != 409:
                    raise
                _log.warning("%s %s is there already", manifest["kind"], manifest["metadata"]["name"])
        case Delete(kind, name, uid):
            cluster.delete(kind, resource.namespace, name, uid)
        case Patch(kind, name, body):
            try:
                cluster.patch(kind, resource.namespace, name, body)
            except ApiException as error:
                if error.status != 404:
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
