"""`repoloom pipeline submit` speaks kfp's own API: what it sends is read here by kfp's models and its pipeline spec.

A server of this test answers, not Kubeflow: that Kubeflow runs what it is sent is not shown here.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kfp_server_api
import pytest
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec import pipeline_spec_pb2
from pipe import repoloom

from repoloom.recipe.model import Recipe
from repoloom_pipelines.components import STAGES

_API = "/apis/v2beta1"


class _Answering(BaseHTTPRequestHandler):
    """The few calls that starting a run needs; a run that kfp's own models do not read is refused."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path.partition("?")[0], self.headers.get("authorization")))  # type: ignore[attr-defined]
        if self.path == f"{_API}/healthz":
            self._answer(200, {"multi_user": False})
        elif self.path.startswith(f"{_API}/experiments?"):
            self._answer(200, {"experiments": [], "total_size": 0})
        else:
            self._answer(404, {"error": f"no such call: {self.path}"})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        if self.path == f"{_API}/experiments":
            self._answer(200, {"experiment_id": "e1", "display_name": _read(content, "V2beta1Experiment").display_name})
        elif self.path == f"{_API}/runs":
            run = _read(content, "V2beta1Run")
            self.server.runs.append(run)  # type: ignore[attr-defined]
            self._answer(*self.server.answer)  # type: ignore[attr-defined]
        else:
            self._answer(404, {"error": f"no such call: {self.path}"})

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _read(content: bytes, model: str) -> Any:
    known = set(getattr(kfp_server_api, model).attribute_map.values())
    assert set(json.loads(content)) <= known, "a key that the API does not have"
    return kfp_server_api.ApiClient().deserialize(SimpleNamespace(data=content), model)


@pytest.fixture
def server() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    server.runs, server.seen = [], []  # type: ignore[attr-defined]
    server.answer = (200, {"run_id": "r1"})  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_run_is_started_with_the_pipeline_and_its_arguments(server: Any, recipe: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("data: {image: 'registry/repoloom:7'}\ncaching: false\n")
    host = f"http://127.0.0.1:{server.server_port}"
    ended = repoloom(
        *("pipeline", "submit", recipe, "--store", "s3://bucket/run", "--host", host, "--pipeline", "corpus"),
        *("--settings", settings, "--workers", 3, "--experiment", "mine", "--json"),
        REPOLOOM_KUBEFLOW_TOKEN="secret",
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out) == {"run": f"{host}/#/runs/details/r1"}
    assert "secret" not in ended.out + ended.err

    (run,) = server.runs
    assert (run.display_name, run.experiment_id) == ("small corpus", "e1")
    assert ("/apis/v2beta1/healthz", "Bearer secret") in server.seen
    spec = json_format.ParseDict(run.pipeline_spec["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
    assert set(STAGES) <= {name.removeprefix("comp-") for name in spec.components}
    assert spec.deployment_spec["executors"]["exec-filter"]["container"]["image"] == "registry/repoloom:7"
    platform = run.pipeline_spec["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for executor in platform.values():
        json_format.ParseDict(executor, KubernetesExecutorConfig())
    given = run.runtime_config.parameters
    assert set(given) == set(spec.root.input_definitions.parameters)
    assert (given["store"], given["workers"]) == ("s3://bucket/run", 3)
    assert Recipe.parse(given["recipe"], "recipe").model_dump() == Recipe.load(recipe).model_dump()


def test_what_kubeflow_refuses_is_one_line(server: Any, recipe: Path) -> None:
    server.answer = (403, {"error": "not yours"})
    host = f"http://127.0.0.1:{server.server_port}"
    ended = repoloom("pipeline", "submit", recipe, "--store", "s3://bucket/run", "--host", host)
    assert ended.code == 1
    assert ended.err.strip().splitlines()[-1].startswith(f"error: {host} answers 403")
    assert "Traceback" not in ended.err


def test_where_nobody_answers_it_is_said(recipe: Path) -> None:
    ended = repoloom("pipeline", "submit", recipe, "--store", "s3://b/run", "--host", "http://127.0.0.1:1")
    assert ended.code == 1
    assert "error: http://127.0.0.1:1 does not answer" in ended.err
    assert "Traceback" not in ended.err


def test_a_wrong_recipe_never_leaves(server: Any, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("name: wrong\ncrawl: {sources: []}\nfilters: {}\n")
    host = f"http://127.0.0.1:{server.server_port}"
    ended = repoloom("pipeline", "submit", tmp_path / "wrong.yaml", "--store", "s3://bucket/run", "--host", host)
    assert ended.code == 2
    assert "wrong.yaml:3: filters: there is no such key" in ended.err
    assert not server.runs


def test_a_folder_of_this_machine_is_no_store_of_pods(recipe: Path) -> None:
    ended = repoloom("pipeline", "submit", recipe, "--store", "out/run", "--host", "http://127.0.0.1:1")
    assert ended.code == 2
    assert ended.err.startswith("error: --store out/run: pods do not share this machine's folders; give s3://")
