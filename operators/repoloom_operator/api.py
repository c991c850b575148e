"""Kubernetes' API, as much of it as the operator calls: each call is one of a kind of object and a verb."""

import functools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from repoloom_operator.resources import GROUP, PLURALS, VERSION, Manifest

_log = logging.getLogger(__name__)

MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Api:
    """Where the objects of a kind are."""

    group: str
    version: str
    plural: str

    @property
    def strategic(self) -> bool:
        """Whether the kind is Kubernetes' own, whose lists have keys."""
        return "." not in self.group

    def path(self, namespace: str, name: str = "", sub: str = "") -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return "/".join(filter(None, (root, "namespaces", namespace, self.plural, name, sub)))


APIS: Mapping[str, Api] = {
    **{kind: Api(GROUP, VERSION, plural) for kind, plural in PLURALS.items()},
    "ConfigMap": Api("", "v1", "configmaps"),
    "Pod": Api("", "v1", "pods"),
    "Event": Api("", "v1", "events"),
    "Deployment": Api("apps", "v1", "deployments"),
    "Job": Api("batch", "v1", "jobs"),
    "PyTorchJob": Api("kubeflow.org", "v1", "pytorchjobs"),
    "TrainJob": Api("trainer.kubeflow.org", "v1alpha1", "trainjobs"),
    "TrainingRuntime": Api("trainer.kubeflow.org", "v1alpha1", "trainingruntimes"),
}


class Cluster:
    """The API server."""

    def __init__(self, client: ApiClient, namespaces: Sequence[str]) -> None:
        """`namespaces`: those that the operator watches."""
        self._client = client
        self.namespaces = namespaces

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object; None where there is none."""
        try:
            return self._call("GET", APIS[kind].path(namespace, name))
        except ApiException as error:
            if error.status != 404:
                raise
            return None

    def labelled(self, kind: str, namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
        """The objects with these labels; none where the cluster does not know the kind."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        try:
            found = self._call("GET", APIS[kind].path(namespace), query={"labelSelector": selector})
        except ApiException as error:
            if error.status != 404:
                raise
            return []
        items: list[Manifest] = found["items"]
        return items

    def named(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object of a kind that the operator may list, and not get; None where there is none."""
        found = self._call("GET", APIS[kind].path(namespace), query={"fieldSelector": f"metadata.name={name}"})
        return next(iter(found["items"]), None)

    def create(self, manifest: Manifest) -> None:
        """Makes an object. Raises ApiException with status 409 where one of its name is there, or a quota is in use."""
        self._call("POST", APIS[manifest["kind"]].path(manifest["metadata"]["namespace"]), body=manifest)

    def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Deletes this very object, which stays until what it owns has ended; one that is gone is no error."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        try:
            self._call("DELETE", APIS[kind].path(namespace, name), body=body)
        except ApiException as error:
            if error.status not in (404, 409):  # gone, or another by now
                raise

    def patch(self, kind: str, namespace: str, name: str, body: Manifest) -> None:
        """Changes fields of an object."""
        api = APIS[kind]
        form = STRATEGIC if api.strategic else MERGE
        self._call("PATCH", api.path(namespace, name), body=body, content_type=form)

    def replace_status(self, manifest: Manifest) -> None:
        """Writes the status of a resource. Raises ApiException with status 409 where it was written meanwhile.

        A definition of an older release drops what it does not know, which is logged, once for all that it drops.
        """
        metadata = manifest["metadata"]
        path = APIS[manifest["kind"]].path(metadata["namespace"], metadata["name"], "status")
        kept = self._call("PUT", path, body=manifest)
        if dropped := manifest["status"].keys() - kept.get("status", {}).keys():
            _tell_of_an_old_definition(APIS[manifest["kind"]].plural, ", ".join(sorted(dropped)))

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        response = self._client.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=(5, 30),
        )
        content: dict[str, Any] = json.loads(response.data)
        return content


@functools.cache
def _tell_of_an_old_definition(plural: str, fields: str) -> None:
    _log.warning(
        "the CustomResourceDefinition %s.%s is of an older release and drops %s of the status; apply this release's "
        "(docs/kubernetes.md, Upgrade)",
        plural,
        GROUP,
        fields,
    )
