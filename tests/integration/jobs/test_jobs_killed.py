"""Whatever dies, a job goes on, and ends as if nothing had happened."""

import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import psutil
import pytest
import s3_servers
from fleet import EXTRA_STAGES, eventually
from google.rpc import code_pb2
from probing import committed
from replica import Replica, last_digest, metadata

from repoloom.jobs.book import JobBook
from repoloom.protos.jobs.v1 import jobs_pb2

Start = Callable[..., Replica]


def _stuck(job: jobs_pb2.JobMetadata) -> bool:
    return job.step == "probe.copy" and job.tasks_done == 7


def _alone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_a_service_killed_and_started_again_ends_the_job_and_does_nothing_twice(
    replica: Start, undisturbed: Callable[..., str], hang: dict[str, object], cure: Callable[[], None], root: Path
) -> None:
    first = replica()
    name = first.start(**hang).name
    first.until(name, _stuck)
    everybody = psutil.Process(first.process.pid).children(recursive=True)
    assert len(everybody) == 3  # a runner and two workers
    first.kill()
    eventually(lambda: _alone(everybody))
    kept = committed(root / "out")
    cure()
    second = replica()
    ended = second.wait(name)
    assert last_digest(ended) == undisturbed(**hang)
    assert kept.items() <= committed(root / "out").items()


def test_a_runner_killed_is_replaced(
    replica: Start, undisturbed: Callable[..., str], hang: dict[str, object], cure: Callable[[], None]
) -> None:
    service = replica()
    name = service.start(**hang).name
    service.until(name, _stuck)
    cure()
    [runner] = service.runners
    runner.kill()
    assert last_digest(service.wait(name)) == undisturbed(**hang)


def test_of_two_replicas_either_answers_and_the_one_that_is_left_takes_up_the_job(
    replica: Start, undisturbed: Callable[..., str], hang: dict[str, object], cure: Callable[[], None]
) -> None:
    first = replica()
    name = first.start(request_id="one", **hang).name
    first.until(name, _stuck)
    second = replica()
    assert metadata(second.get(name)).state == jobs_pb2.STATE_RUNNING
    assert second.start(request_id="one", **hang).name == name
    cancelled = first.start("other", **hang).name
    first.until(cancelled, lambda job: job.state == jobs_pb2.STATE_RUNNING)
    second.cancel(cancelled)
    assert second.wait(cancelled).error.code == code_pb2.CANCELLED
    first.kill()
    cure()
    assert last_digest(second.wait(name)) == undisturbed(**hang)


def test_a_replica_that_is_stopped_gives_its_jobs_back(
    replica: Start, undisturbed: Callable[..., str], hang: dict[str, object], cure: Callable[[], None]
) -> None:
    first = replica(silence_seconds=1000)
    second = replica(silence_seconds=1000)  # it does not wait for the silence of one that gave its job back
    name = first.start(**hang).name
    first.until(name, _stuck)
    owner, other = (first, second) if first.runners else (second, first)
    cure()
    owner.stop()
    assert last_digest(other.wait(name)) == undisturbed(**hang)


def test_of_two_runners_of_one_job_one_makes_way(
    replica: Start, undisturbed: Callable[..., str], hang: dict[str, object], cure: Callable[[], None]
) -> None:
    first = replica()
    name = first.start(**hang).name
    first.until(name, _stuck)
    second = replica(silence_seconds=1)  # not before the runner beats: it may take longer to start
    [frozen] = first.runners
    frozen.suspend()
    eventually(lambda: bool(second.runners))
    frozen.resume()
    eventually(lambda: len(first.runners) + len(second.runners) == 1)
    cure()
    [left] = first.runners + second.runners
    left.kill()
    assert last_digest(second.wait(name)) == undisturbed(**hang)


def _in_runners(folder: Path, code: str) -> dict[str, str]:
    """An environment in which each runner does something as it starts."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "import repoloom.stages\n"
        f"repoloom.stages.__path__.append({str(EXTRA_STAGES / 'stages')!r})\n"
        f"if 'repoloom.jobs.runner' in sys.orig_argv:\n{textwrap.indent(code, '    ')}\n"
    )
    return {"PYTHONPATH": str(folder)}


def test_a_job_whose_runners_die_again_and_again_is_given_up(replica: Start, tmp_path: Path) -> None:
    service = replica(environment=_in_runners(tmp_path / "dying", "import os; os.kill(os.getpid(), 9)"))
    ended = service.wait(service.start().name)
    assert ended.error.code == code_pb2.INTERNAL
    assert "killed by signal 9" in ended.error.message
    assert metadata(ended).state == jobs_pb2.STATE_FAILED


def test_what_does_not_hear_that_it_is_cancelled_writes_nothing_once_the_job_has_ended(
    replica: Start, hang: dict[str, object], root: Path, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    deaf = f"""
from pathlib import Path
from repoloom.jobs.heart import Heart
watch = Heart.watch
def write_on(heart, status):
    watch(heart, status)
    while status.step == "probe.copy" and status.done == 7:
        try:
            Path({str(written)!r}).write_text("still")
        except BaseException:
            pass
Heart.watch = write_on
"""
    service = replica(environment=_in_runners(tmp_path / "deaf", deaf))
    name = service.start(**hang).name
    service.until(name, _stuck)
    [runner] = service.runners
    workers = runner.children()
    assert len(workers) == 2
    service.cancel(name)
    ended = service.wait(name)
    assert ended.error.code == code_pb2.CANCELLED
    assert metadata(ended).tasks_done == 7
    assert _alone(workers)
    [end] = (root / ".jobs/probe/ends").iterdir()
    assert written.stat().st_mtime_ns < end.stat().st_mtime_ns


def test_records_that_cannot_be_read_end_the_job_and_hide_no_other(replica: Start, root: Path) -> None:
    service = replica(runners=1)
    good = service.start("good", bad={"probe/001": "hang"}).name
    service.until(good, lambda job: job.state == jobs_pb2.STATE_RUNNING)
    bad = service.start("bad").name
    (root / ".jobs/probe/requests" / f"{bad.rpartition('/')[2]}.json").write_text("{")
    assert service.get(bad).error.code == code_pb2.DATA_LOSS
    codes = {operation.name: operation.error.code for operation in service.list().operations}
    assert codes == {good: 0, bad: code_pb2.DATA_LOSS}
    service.cancel(good)
    assert service.wait(good).error.code == code_pb2.CANCELLED
    eventually(lambda: not JobBook(str(root), "probe").open_entries())
    service.delete(bad)
    with pytest.raises(grpc.RpcError, match="there is no operation"):
        service.get(bad)


def test_a_part_that_is_corrupt_fails_the_job(shared: Replica) -> None:
    shared.wait(shared.start("corrupt").name)
    for part in Path(shared.root, "corrupt/probe.make/tasks").rglob("*.parquet"):
        part.write_bytes(bytes(part.stat().st_size))
    ended = shared.wait(shared.start("corrupt", bad={"probe/000": "nothing"}).name)
    assert ended.error.code == code_pb2.FAILED_PRECONDITION
    assert "corrupt" in ended.error.message
    assert metadata(ended).state == jobs_pb2.STATE_FAILED


def test_tasks_that_are_given_up_are_counted(shared: Replica) -> None:
    ended = shared.wait(shared.start("given-up", bad={"probe/002": "raise"}).name)
    assert metadata(ended).tasks_quarantined == 1
    assert metadata(ended).tasks_done == 7


@pytest.fixture(params=s3_servers.kinds())
def s3_root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A root in a bucket of each kind of S3 server."""
    with s3_servers.serve(request.param, tmp_path / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield "s3://tests/root"


def test_in_a_bucket_all_of_it_holds_too(
    replica: Start,
    s3_root: str,
    undisturbed: Callable[..., str],
    hang: dict[str, object],
    cure: Callable[[], None],
) -> None:
    first = replica(root=s3_root)
    cancelled = first.start("cancelled", **hang).name
    with pytest.raises(grpc.RpcError, match=cancelled):
        first.start("cancelled/below", **hang)
    first.until(cancelled, lambda job: job.step == "probe.copy")
    first.cancel(cancelled)
    assert first.wait(cancelled).error.code == code_pb2.CANCELLED
    name = first.start(request_id="one", **hang).name
    first.until(name, _stuck)
    first.kill()
    cure()
    second = replica(root=s3_root)
    assert second.start(request_id="one", **hang).name == name
    assert last_digest(second.wait(name)) == undisturbed(**hang)
    assert [operation.name for operation in second.list(page_size=1).operations] == [name]
    second.delete(name)
    assert [operation.name for operation in second.list().operations] == [cancelled]


def test_secrets_of_the_environment_are_in_no_record(
    replica: Start, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hunter2-hunter2"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    service = replica()
    name = service.start(bad={"probe/001": "hang"}).name
    service.until(name, lambda job: job.step == "probe.copy")
    [runner] = service.runners
    assert secret not in " ".join(runner.cmdline())
    assert runner.environ()["AWS_SECRET_ACCESS_KEY"] == secret
    records = [path for path in (root / ".jobs").rglob("*") if path.is_file()]
    assert records
    assert not any(secret.encode() in path.read_bytes() for path in records)


def test_nobody_is_left_behind(replica: Start, hang: dict[str, object]) -> None:
    service = replica()
    service.until(service.start(**hang).name, _stuck)
    everybody = psutil.Process(service.process.pid).children(recursive=True)
    service.stop()
    eventually(lambda: _alone(everybody))
    assert os.getpid() not in {process.pid for process in everybody}
