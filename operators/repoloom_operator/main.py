"""`repoloom-operator`: watches some namespaces until it is told to stop."""

import asyncio
import logging
from typing import Annotated

import kopf
import typer
from kubernetes import client, config

from repoloom.cli.entry import enter
from repoloom.errors import InputError
from repoloom.telemetry.logging import configure
from repoloom_operator.api import Cluster
from repoloom_operator.handlers import register
from repoloom_operator.settings import Settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    namespace: Annotated[list[str], typer.Option(help="A namespace to watch; may be given more than once.")],
    liveness: Annotated[str | None, typer.Option(help="Where it says that it lives: http://HOST:PORT/healthz")] = None,
) -> None:
    """Run the operator of CorpusBuild, TrainingRun and ModelRelease.

    REPOLOOM_OPERATOR_SETTINGS names the file that says how its pods look, AWS_* the object store that it reads.
    """
    configure()
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # the kubelet's probes
    settings = Settings.load()
    register(Cluster(_client(), namespace), settings)
    asyncio.run(kopf.operator(settings=_kopf(), namespaces=namespace, standalone=True, liveness_endpoint=liveness))


def _client() -> client.ApiClient:
    """The API server of this pod's cluster, or of the kubeconfig. Raises InputError."""
    try:
        config.load_incluster_config()
    except config.ConfigException:
        try:
            config.load_kube_config()
        except config.ConfigException as error:
            raise InputError(f"there is no cluster to be had: {error}; set KUBECONFIG") from None
    return client.ApiClient()


def _kopf() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # it would need rights on all of the cluster
    settings.posting.enabled = False  # the operator tells its own events
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330  # a watch that the network swallowed is begun anew
    return settings


def main() -> None:
    """The entry point."""
    enter(app)
