"""What an extra brings: which one a missing module belongs to, and the command that installs it where repoloom is."""

import sys
from importlib.util import find_spec

EXTRAS = {
    "distributed": ("deepspeed",),
    "inference": ("starlette", "uvicorn"),
    "pipelines": ("kfp",),
    "services": (
        "celery",
        "certifi",
        "google",
        "grpc",
        "grpc_health",
        "grpc_reflection",
        "grpc_status",
        "kombu",
        "minio",
        "opentelemetry",
        "prometheus_client",
        "redis",
        "urllib3",
    ),
    "train": ("safetensors", "torch", "transformers"),
}
"""The modules of each: what is not installed has no metadata that would tell its modules' names."""


def way_out(missing: ImportError) -> str | None:
    """The command that brings a missing module; None where no extra has it."""
    module = (missing.name or "").partition(".")[0]
    found = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    return found and f"{sys.executable} -m pip install 'repoloom[{found}]'"


def lacks(missing: ImportError) -> str | None:
    """The error of a missing module, with the way out; None where no extra has it."""
    command = way_out(missing)
    return command and f"this needs {missing.name}, which is not installed: {command}"


def require(module: str) -> None:
    """Raises ModuleNotFoundError where a module that is wanted later is not installed."""
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
