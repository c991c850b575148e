"""Completions over gRPC, and the typed client."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from inference_server import TEXT, Server

from repoloom.client import Inference
from repoloom.errors import InputError
from repoloom.inference.complete import Completer, Until
from repoloom.inference.generate import Sampling
from repoloom.protos.inference.v1.inference_pb2 import FinishReason
from repoloom.rpc.errors import OverloadedError


def test_both_faces_give_the_answer_of_the_library(server: Server, model: Path) -> None:
    expected = Completer.load(model).complete(TEXT[:30], TEXT[40:], Until.END, Sampling(12))
    with Inference(server.grpc) as client:
        pieces = list(client.complete(TEXT[:30], TEXT[40:], max_tokens=12))
    assert "".join(piece.text for piece in pieces) == expected
    over_http = server.post(prompt=TEXT[:30], suffix=TEXT[40:], temperature=0, max_tokens=12).json()
    assert over_http["choices"][0]["text"] == expected
    assert pieces[-1].usage.prompt_tokens == over_http["usage"]["prompt_tokens"]
    assert pieces[-1].usage.completion_tokens == over_http["usage"]["completion_tokens"]
    assert pieces[-1].finish_reason == FinishReason.Value(
        f"FINISH_REASON_{over_http['choices'][0]['finish_reason'].upper()}"
    )
    assert all(piece.finish_reason == FinishReason.FINISH_REASON_UNSPECIFIED for piece in pieces[:-1])


def test_without_a_suffix_the_prefix_goes_on_which_is_no_hole_with_an_empty_end(server: Server) -> None:
    with Inference(server.grpc) as client:
        plain, hole = ([*client.complete(TEXT, suffix)][-1].usage.prompt_tokens for suffix in (None, ""))
    assert hole == plain + 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 3.0},
        {"top_p": 1.5},
        {"stop": [""]},
        {"stop": ["y" * 257]},
        {"stop": list("abcde")},
        {"max_tokens": 600},
    ],
)
def test_what_cannot_be_used_is_an_input_error(server: Server, wrong: dict[str, object]) -> None:
    with Inference(server.grpc) as client, pytest.raises(InputError):
        list(client.complete("x", **wrong))  # type: ignore[arg-type]


def test_the_longest_texts_to_stop_at_are_taken_over_both_faces(server: Server) -> None:
    stops = ["y" * 256] * 4
    assert server.post(prompt="x", stop=stops, max_tokens=1).status_code == 200
    with Inference(server.grpc) as client:
        assert list(client.complete("x", stop=stops, max_tokens=1))


def test_a_full_queue_says_when_to_come_back(serve: Callable[..., Server]) -> None:
    none = serve(slots=1, queue=0)
    with Inference(none.grpc) as client:
        first = client.complete(TEXT, max_tokens=400, temperature=0)
        next(first)
        stub = grpc.insecure_channel(none.grpc)  # without the client's patience
        from repoloom.protos.inference.v1.inference_pb2 import CompleteRequest
        from repoloom.protos.inference.v1.inference_pb2_grpc import InferenceServiceStub
        from repoloom.rpc.errors import raised_as_own

        refused = None
        try:
            with raised_as_own():
                list(InferenceServiceStub(stub).Complete(CompleteRequest(prefix="x"), timeout=60))
        except OverloadedError as error:
            refused = error
        assert refused is not None
        assert refused.seconds > 0
        first.close()  # which cancels the rest
        assert list(client.complete("x", max_tokens=1))


def test_health_names_the_service(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        request = health_pb2.HealthCheckRequest(service="repoloom.inference.v1.InferenceService")
        answer = health_pb2_grpc.HealthStub(channel).Check(request)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_example_of_the_documentation_runs(server: Server) -> None:
    text = (Path(__file__).parents[3] / "docs/serving.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "localhost:8001" in example
    ran = subprocess.run(
        [sys.executable, "-c", example.replace("localhost:8001", server.grpc)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("REPOLOOM_")},
    )
    assert ran.returncode == 0, ran.stderr
    answer = server.post(prompt="def add(a, b):\n    return ", suffix="\n", max_tokens=32, temperature=0).json()
    assert ran.stdout == answer["choices"][0]["text"]
