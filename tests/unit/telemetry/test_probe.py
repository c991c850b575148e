"""The health command of the images."""

import subprocess
import sys
from collections.abc import Mapping

import pytest

from repoloom.telemetry import endpoint
from repoloom.telemetry.probe import is_well


@pytest.mark.parametrize("healthy", [True, False])
def test_it_says_what_the_server_says(healthy: bool) -> None:
    with endpoint.serving("127.0.0.1", 0, lambda: healthy) as port:
        assert is_well(f"http://127.0.0.1:{port}/healthz") is healthy
        asked: Mapping[str, str] = {"REPOLOOM_WORKER_METRICS_ADDRESS": f"0.0.0.0:{port}"}
        assert _code(asked) == (0 if healthy else 1)


def test_who_does_not_answer_is_not_well() -> None:
    with endpoint.serving("127.0.0.1", 0) as port:
        pass
    assert not is_well(f"http://127.0.0.1:{port}/healthz")


def test_what_serves_nothing_is_not_asked() -> None:
    assert _code({}) == 0


def _code(environment: Mapping[str, str]) -> int:
    return subprocess.run([sys.executable, "-m", "repoloom.telemetry.probe"], env=dict(environment)).returncode
