"""`repoloom-inference`: serves an exported model over HTTP and gRPC, until it is told to stop."""

import os
from typing import Annotated

import typer

from repoloom.cli.entry import enter

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    model: Annotated[
        str,
        typer.Option(envvar="REPOLOOM_MODEL", help="An exported model: a folder, or s3://bucket/…/model."),
    ],
    sha256: Annotated[
        str | None,
        typer.Option(
            envvar="REPOLOOM_MODEL_SHA256",
            help="Of the model's model.safetensors; another one is refused. None: whatever is there.",
        ),
    ] = None,
) -> None:
    """Serve a model: OpenAI's completions over HTTP, repoloom.inference.v1 over gRPC.

    Everything else is set by the environment: REPOLOOM_INFERENCE_* (addresses, slots, queue; see docs/serving.md),
    REPOLOOM_SERVER_* (TLS, callers, limits, of both faces; the address is gRPC's), AWS_* (the object store).
    """
    from repoloom.rpc.settings import ServerSettings, from_environment
    from repoloom.telemetry.logging import configure
    from repoloom_inference.server import Setup
    from repoloom_inference.server import serve as serve_until_told
    from repoloom_inference.settings import InferenceSettings

    configure()
    inference = from_environment(InferenceSettings, "REPOLOOM_INFERENCE", os.environ)
    grpc_address = os.environ.get("REPOLOOM_SERVER_ADDRESS") or "127.0.0.1:8001"
    http, grpc = (
        from_environment(ServerSettings, "REPOLOOM_SERVER", os.environ, address=address)
        for address in (inference.http_address, grpc_address)
    )
    serve_until_told(Setup(model, sha256 or None, inference, http, grpc))


def main() -> None:
    """The entry point."""
    enter(app)
