"""Level-triggered: whatever happens to a resource or its children only says which resource to look at anew."""

import asyncio
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import kopf
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from repoloom_operator import corpus_build, model_release, training_run
from repoloom_operator.actions import Action
from repoloom_operator.api import APIS, Cluster
from repoloom_operator.apply import apply
from repoloom_operator.children import KIND_LABEL, NAME_LABEL
from repoloom_operator.conditions import DEFECT, RECONCILED, Condition, noted, reason
from repoloom_operator.observe import now, observe_corpus_build, observe_model_release, observe_training_run
from repoloom_operator.resources import SPECS, Kind, Resource
from repoloom_operator.settings import Settings
from repoloom_operator.work import Key, WorkQueue

_log = logging.getLogger(__name__)


class Reconciler(NamedTuple):
    """How a kind is looked at, and what is done then."""

    observe: Callable[[Any, Cluster, Settings], Any]
    reconcile: Callable[[Any], Iterator[Action]]


RECONCILERS: dict[Kind, Reconciler] = {
    "CorpusBuild": Reconciler(observe_corpus_build, corpus_build.reconcile),
    "TrainingRun": Reconciler(observe_training_run, training_run.reconcile),
    "ModelRelease": Reconciler(observe_model_release, model_release.reconcile),
}


AT_REST = 600.0
"""Seconds between two looks at what nothing is to be done for: an event may have been lost."""

_REFERENCES: Mapping[Kind, tuple[Kind, str]] = {
    "TrainingRun": ("CorpusBuild", "corpusRef"),
    "ModelRelease": ("TrainingRun", "trainingRef"),
}


def referrers(key: Key, cluster: Cluster) -> Iterator[Key]:
    """What refers to a resource of its namespace, and what refers to that. Raises ApiException."""
    kind, namespace, name = key
    for by, (to, field) in _REFERENCES.items():
        for found in cluster.labelled(by, namespace, {}) if to == kind else ():
            if found["spec"][field]["name"] == name:
                referrer = by, namespace, found["metadata"]["name"]
                yield referrer
                yield from referrers(referrer, cluster)


def look(key: Key, cluster: Cluster, settings: Settings) -> float | None:
    """Looks at a resource and does the next steps; returns when to look again, None where it is gone.

    Raises ApiException; HTTPError where the server is not reached; and what a defect raises, which the resource tells.
    """
    kind, namespace, name = key
    manifest = cluster.get(kind, namespace, name)
    if manifest is None:
        return None
    resource = Resource.parse(kind, manifest, SPECS[kind])
    reconciler = RECONCILERS[kind]
    try:
        seen = reconciler.observe(resource, cluster, settings)
        after = apply(reconciler.reconcile(seen), resource, cluster, now(), settings.look_seconds)
        if reason(resource.status, RECONCILED) == DEFECT:
            _note(Condition(RECONCILED, True, RECONCILED), resource, cluster)
    except ApiException as error:
        if error.status != 409:
            raise
        _log.info("%s %s/%s was written meanwhile", *key)
        return 0.0
    except HTTPError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}; the operator's log tells where"
        _note(Condition(RECONCILED, False, DEFECT, said), resource, cluster)
        raise
    return AT_REST if after is None else after


def _note(condition: Condition, resource: Resource[Any], cluster: Cluster) -> None:
    apply(noted(condition, resource, now()), resource, cluster, now(), AT_REST)


def register(cluster: Cluster, settings: Settings) -> None:
    """Has kopf watch the resources, for what refers to them too, and their children."""

    async def in_thread(key: Key) -> float | None:
        return await asyncio.to_thread(look, key, cluster, settings)

    queue = WorkQueue(in_thread)

    def watch(kind: str, key: Callable[[kopf.Body], Key | None], **labels: Any) -> None:  # noqa: ANN401
        async def happened(body: kopf.Body, **_: Any) -> None:  # noqa: ANN401
            changed = key(body)
            if changed is None:
                return
            queue.add(changed)
            if kind in RECONCILERS:
                for referrer in await asyncio.to_thread(list, referrers(changed, cluster)):
                    queue.add(referrer)

        api = APIS[kind]
        kopf.on.event(api.group, api.version, api.plural, id=kind, **labels)(happened)

    for kind in RECONCILERS:
        watch(kind, functools.partial(_itself, kind))
    for child in ("Job", settings.training.job):
        watch(child, _owner, labels={KIND_LABEL: kopf.PRESENT, NAME_LABEL: kopf.PRESENT})


def _itself(kind: Kind, body: kopf.Body) -> Key:
    return kind, body["metadata"]["namespace"], body["metadata"]["name"]


def _owner(body: kopf.Body) -> Key | None:
    """None where the labels name a kind that is not ours: anybody may write them."""
    labels = body["metadata"]["labels"]
    kind = labels[KIND_LABEL]
    return (kind, body["metadata"]["namespace"], labels[NAME_LABEL]) if kind in RECONCILERS else None
