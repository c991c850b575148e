"""What an operator sets for the jobs of a service, by variables REPOLOOM_JOBS_*."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from rpc.process import ServiceProcess

from repoloom import client
from repoloom.errors import InputError
from repoloom.jobs.settings import JobSettings
from repoloom.rpc.settings import from_environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUNNERS", "0"),
        ("WORKERS", "many"),
        ("OPEN_JOBS", "-1"),
        ("TASK_SECONDS", "inf"),
        ("TASK_MEMORY_BYTES", "1.5"),
        ("RETENTION_DAYS", "nan"),
        ("RETENTION_DAYS", "1e9"),
        ("BEAT_SECONDS", "0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(InputError, match=rf"JobSettings: {name.lower()}: .*variables REPOLOOM_JOBS_"):
        from_environment(JobSettings, "REPOLOOM_JOBS", {f"REPOLOOM_JOBS_{name}": value}, root="/srv")


def test_a_runner_is_not_taken_for_dead_between_two_beats() -> None:
    with pytest.raises(ValidationError, match="three times beat_seconds"):
        JobSettings(root="/srv", beat_seconds=10)


def test_a_service_obeys_what_its_environment_says_but_for_its_root(tmp_path: Path) -> None:
    store = tmp_path / "store"
    said = {"REPOLOOM_JOBS_TASK_SECONDS": "7", "REPOLOOM_JOBS_ROOT": "/elsewhere"}
    with (
        ServiceProcess("crawler", store, tmp_path / "log", **said) as service,
        client.Crawler(service.address) as caller,
    ):
        with pytest.raises(InputError, match="at most 7 seconds"):
            caller.start(inputs=[], output=f"{store}/out", parameters={"sources": []}, seconds=8)
        with pytest.raises(InputError, match=f"is not below {store}"):
            caller.start(inputs=[], output="/elsewhere/out", seconds=8)


def test_a_service_that_is_told_nonsense_says_so_in_a_line_and_does_not_start(tmp_path: Path) -> None:
    service = ServiceProcess("filter", tmp_path / "store", tmp_path / "log", REPOLOOM_JOBS_RUNNERS="many")
    said = r": error: JobSettings: runners: .* \(variables REPOLOOM_JOBS_…\)\n$"
    with pytest.raises(RuntimeError, match=said), service:
        pass
