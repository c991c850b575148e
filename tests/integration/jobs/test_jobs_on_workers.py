"""With a Redis the tasks of a job run on workers anywhere, and make the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fleet import BUILD, a_fleet
from google.rpc import code_pb2
from replica import Replica, last_digest, request

from repoloom.engine.queue.build import NAME


def test_a_job_runs_on_workers_and_stops_there(
    replica: Callable[..., Replica], undisturbed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(repositories=6)
    monkeypatch.setenv(NAME, BUILD)
    with a_fleet(tmp_path) as fleet:
        fleet.start(workers=1, concurrency=2)
        service = replica(root=str(fleet.folder), environment=fleet.redis.environment)

        def start(output: str, **parameters: object) -> str:
            message = request(str(fleet.folder), output, **parameters)
            message.limits.seconds = 20
            return service.send(message).name

        assert last_digest(service.wait(start("whole", repositories=6))) == expected
        assert len(fleet.begun) == 6
        hanging = start("hanging", repositories=6, bad={"probe/003": "hang"})
        service.until(hanging, lambda job: job.step == "probe.copy" and job.tasks_done == 5)
        service.cancel(hanging)
        assert service.wait(hanging).error.code == code_pb2.CANCELLED
