import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from repoloom.errors import InputError
from repoloom.telemetry import endpoint, metrics
from repoloom.telemetry.metrics import Direction, TaskOutcome


@pytest.fixture(autouse=True)
def _queues() -> Iterator[None]:
    with metrics.queues_watched(lambda: {"probe": 7}):
        yield


def _touch_all() -> None:
    metrics.task_ended("probe", TaskOutcome.COMMITTED, 1.0, read_bytes=10, written_bytes=5)
    metrics.tasks_retried("probe", 2)
    metrics.tasks_quarantined("probe", 3)
    metrics.call_started("probe", "Echo")
    metrics.message_passed("probe", "Echo", Direction.RECEIVED, 3)
    metrics.call_ended("probe", "Echo", "OK", 0.1)
    metrics.http_answered("/probe", 200, 0.1)
    metrics.completions_waiting(4)
    metrics.completions_running(2)
    metrics.engine_stepped(3)
    metrics.first_token(0.1)
    metrics.completion_ended("stop", 11, 5)


def _samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def test_what_is_counted_is_exposed() -> None:
    before = _samples()
    _touch_all()
    after = _samples()

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0)

    assert grown("repoloom_tasks_total", step="probe", outcome="committed") == 1
    assert grown("repoloom_task_read_bytes_total", step="probe") == 10
    assert grown("repoloom_task_retries_total", step="probe") == 2
    assert grown("repoloom_task_quarantines_total", step="probe") == 3
    assert grown("repoloom_rpc_calls_total", service="probe", method="Echo", code="OK") == 1
    assert grown("repoloom_rpc_message_bytes_total", service="probe", method="Echo", direction="received") == 3
    assert grown("repoloom_rpc_running_calls", service="probe", method="Echo") == 0
    assert grown("repoloom_http_requests_total", route="/probe", status="200") == 1
    assert grown("repoloom_engine_steps_total") == 1
    assert grown("repoloom_engine_step_completions_total") == 3
    assert grown("repoloom_completions_total", finish="stop") == 1
    assert grown("repoloom_completion_tokens_total", kind="prompt") == 11
    assert grown("repoloom_completion_tokens_total", kind="completion") == 5
    assert after[("repoloom_completions_waiting", ())] == 4
    assert after[("repoloom_completions_running", ())] == 2
    assert after[("repoloom_queue_tasks", (("queue", "probe"),))] == 7


def test_names_follow_the_conventions_of_prometheus() -> None:
    _touch_all()
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        if family.name.startswith("process_"):
            continue
        assert re.fullmatch(r"repoloom_[a-z]+(_[a-z]+)*", family.name)
        assert not re.search(r"_(ms|milliseconds|kb|mib|percent)$", family.name)
        assert family.documentation
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_every_metric_of_the_dashboard_exists_and_every_metric_is_on_it() -> None:
    _touch_all()
    exposed = {name for name, _ in _samples()}
    dashboard = json.loads(files("repoloom.telemetry").joinpath("dashboard.json").read_text())
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    named = set(re.findall(r"\b(?:repoloom|process)_[a-z_]+", asked))
    assert named <= exposed
    ours = {re.sub("_(bucket|sum|count|created)$", "", name) for name in exposed if name.startswith("repoloom_")}
    shown = {re.sub("_bucket$", "", name) for name in named}
    assert {name for name in ours if f"{name}_total" not in ours} <= shown


def test_labels_of_the_dashboard_are_labels_of_its_metrics() -> None:
    _touch_all()
    labels: dict[str, set[str]] = {}
    for name, pairs in _samples():
        labels.setdefault(name, set()).update(label for label, _ in pairs)
    dashboard = json.loads(files("repoloom.telemetry").joinpath("dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            (metric,) = set(re.findall(r"\b(?:repoloom|process)_[a-z_]+", target["expr"]))
            for group in re.findall(r"by \(([^)]*)\)", target["expr"]):
                assert set(group.split(", ")) <= labels[metric]


def test_importing_the_metrics_does_not_import_prometheus() -> None:
    code = "import sys, repoloom.telemetry.metrics, repoloom.telemetry.tracing, repoloom.telemetry.logging\n"
    code += "assert not {'prometheus_client', 'opentelemetry', 'grpc'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_processes_that_share_a_folder_are_exposed_as_one(tmp_path: Path) -> None:
    count = "from repoloom.telemetry import metrics\nmetrics.tasks_retried('probe', 1)\n"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(3):
        subprocess.run([sys.executable, "-c", count], check=True, env=environment)
    show = "import sys\nfrom repoloom.telemetry import metrics\n"
    show += "with metrics.queues_watched(lambda: {'probe': 7}): sys.stdout.buffer.write(metrics.exposition())"
    shown = subprocess.run([sys.executable, "-c", show], check=True, env=environment, capture_output=True).stdout
    assert b'repoloom_task_retries_total{step="probe"} 3.0' in shown
    assert b'repoloom_queue_tasks{queue="probe"} 7.0' in shown
    assert b"process_resident_memory_bytes" in shown


def test_of_a_queue_whose_depth_is_not_known_nothing_is_said() -> None:
    depths: dict[str, int] = {}
    with metrics.queues_watched(lambda: depths):
        depths["other"] = 3
        assert _samples()[("repoloom_queue_tasks", (("queue", "other"),))] == 3
        depths.clear()
        assert ("repoloom_queue_tasks", (("queue", "other"),)) not in _samples()
    depths["other"] = 4
    assert ("repoloom_queue_tasks", (("queue", "other"),)) not in _samples()


def test_the_endpoint_answers_prometheus_and_probes_and_nobody_else() -> None:
    _touch_all()
    healthy = True
    with endpoint.serving("127.0.0.1", 0, lambda: healthy) as port:

        def get(path: str) -> tuple[int, bytes]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()

        status, content = get("/metrics")
        assert status == 200
        assert b"repoloom_tasks_total" in content
        assert get("/healthz")[0] == 200
        healthy = False
        assert get("/healthz")[0] == 503
        assert get("/")[0] == get("/metrics/../x")[0] == 404
        with pytest.raises(InputError, match="choose another"), endpoint.serving("127.0.0.1", port):
            pass


def test_connections_that_say_nothing_keep_no_probe_waiting_and_no_threads() -> None:
    with endpoint.serving("127.0.0.1", 0) as port, contextlib.ExitStack() as stack:
        before = threading.active_count()
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(60)]
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).status == 200
        silent[0].settimeout(5)
        assert silent[0].recv(1) == b""  # it had to go, long before it was silent for too long
        until = time.monotonic() + 5
        while threading.active_count() > before + 16 and time.monotonic() < until:
            time.sleep(0.01)
        assert threading.active_count() <= before + 16
