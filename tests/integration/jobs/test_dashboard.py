"""Every panel of the dashboard shows something: a service, a worker and an inference server expose what it asks for."""

import json
import re
import urllib.request
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest
from fleet import BUILD, EXTRA_STAGES, a_fleet, eventually, free_port
from inference_server import exported, served
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from rpc.process import ServiceProcess

from repoloom import client
from repoloom.engine.pool import Limits, LocalPool
from repoloom.engine.queue.build import NAME
from repoloom.engine.reconcile import Policy
from repoloom.recipe.run import run_stage

_DASHBOARD = json.loads(files("repoloom.telemetry").joinpath("dashboard.json").read_text())
_QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in _DASHBOARD["panels"]
    for target in panel["targets"]
]
_QUEUE = f"repoloom.cpu.{BUILD}"


def _scrape(address: str) -> list[Sample]:
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return [sample for family in families for sample in family.samples]


def _value(samples: list[Sample], name: str, **labels: str) -> float | None:
    return next((sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)), None)


def _service(folder: Path, address: str, environment: Mapping[str, str]) -> ServiceProcess:
    wanted = {NAME: BUILD, "REPOLOOM_SERVER_METRICS_ADDRESS": address, "REPOLOOM_JOBS_BEAT_SECONDS": "0.2"}
    return ServiceProcess("filter", folder / "out", folder / "service", **wanted, **environment)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Sample]]:
    """What they expose after a completion, a job that ended well and one whose only task was given up twice."""
    folder = tmp_path_factory.mktemp("dashboard")
    at = {who: f"127.0.0.1:{free_port()}" for who in ("service", "worker")}
    with pytest.MonkeyPatch.context() as patch, LocalPool(1, Limits()) as pool:
        patch.setenv("PYTHONPATH", str(EXTRA_STAGES))
        # So many files that a task takes seconds, of which a worker looks at its limits each twentieth.
        wanted = {"repositories": 1000, "size": 8000}
        made = next(run_stage("probe", wanted, {}, str(folder / "out/probe"), pool, Policy()))
    with a_fleet(folder) as fleet:
        fleet.start(REPOLOOM_WORKER_METRICS_ADDRESS=at["worker"])
        with (
            _service(folder, at["service"], fleet.redis.environment) as service,
            client.Filter(service.address) as caller,
        ):
            caller.start(inputs=[made.uri], output=f"{folder}/out/well", seconds=20).wait()
            lost = caller.start(inputs=[made.uri], output=f"{folder}/out/lost", seconds=1e-6, attempts=2).wait()
            assert [dataset.quarantined for dataset in lost.datasets] == [1]
            counted = {"step": "filter"}
            eventually(lambda: _value(_scrape(at["service"]), "repoloom_task_quarantines_total", **counted) == 1)
            with served(exported(folder / "model")) as server:
                assert server.post(prompt="def add", max_tokens=4).status_code == 200
                return {who: _scrape(address) for who, address in {**at, "inference": server.http}.items()}


@pytest.mark.parametrize("query", _QUERIES)
def test_what_a_panel_asks_for_is_exposed(scraped: dict[str, list[Sample]], query: str) -> None:
    [name] = set(re.findall(r"\b(?:repoloom|process)_[a-z_]+", query))
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(", ")}
    found = [sample for samples in scraped.values() for sample in samples if sample.name == name]
    assert any(grouped <= set(sample.labels) for sample in found)


def test_a_service_counts_what_its_runners_tried_again_and_gave_up(scraped: dict[str, list[Sample]]) -> None:
    assert _value(scraped["service"], "repoloom_task_retries_total", step="filter") == 1
    assert _value(scraped["service"], "repoloom_task_quarantines_total", step="filter") == 1
    assert _value(scraped["worker"], "repoloom_tasks_total", step="filter", outcome="committed") == 1
    assert _value(scraped["worker"], "repoloom_tasks_total", step="filter", outcome="timeout") == 2


def test_a_service_and_a_worker_tell_how_many_tasks_wait(scraped: dict[str, list[Sample]]) -> None:
    assert _value(scraped["service"], "repoloom_queue_tasks", queue=_QUEUE) == 0
    assert _value(scraped["worker"], "repoloom_queue_tasks", queue=_QUEUE) == 0


def test_a_page_comes_without_depths_where_redis_does_not_answer(tmp_path: Path) -> None:
    at = f"127.0.0.1:{free_port()}"
    with _service(tmp_path, at, {"REPOLOOM_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}):
        samples = _scrape(at)
    assert _value(samples, "process_resident_memory_bytes")
    assert not [sample for sample in samples if sample.name == "repoloom_queue_tasks"]
