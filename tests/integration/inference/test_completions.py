"""POST /v1/completions: OpenAI's form, the library's answers."""

import hashlib
import json
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from inference_server import CONTEXT, TEXT, Server

from repoloom.inference.complete import Completer, Until
from repoloom.inference.generate import Sampling

GREEDY = {"temperature": 0, "max_tokens": 12}


def events(server: Server, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, which ends with [DONE]."""
    with httpx2.stream(
        "POST", f"http://{server.http}/v1/completions", json={**body, "stream": True}, timeout=60
    ) as got:
        assert got.status_code == 200
        assert got.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in got.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def until(holds: Callable[[], bool]) -> None:
    """Waits for something that comes to hold within a minute."""
    last = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.01)


def text(choice: dict[str, Any]) -> str:
    found = choice["text"]
    assert isinstance(found, str)
    return found


def test_a_hole_is_filled_as_the_library_fills_it_in_the_order_of_the_model(server: Server, model: Path) -> None:
    completer = Completer.load(model)
    for place in range(0, len(TEXT), 9):
        answer = server.post(prompt=TEXT[:place], suffix=TEXT[place:], **GREEDY).json()
        expected = completer.complete(TEXT[:place], TEXT[place:], Until.END, Sampling(12))
        assert text(answer["choices"][0]) == expected


def test_an_answer_has_the_form_of_openais(server: Server) -> None:
    answer = server.post(prompt="def ", model="repoloom", **GREEDY).json()
    assert re.fullmatch("cmpl-[0-9a-f]+", answer["id"])
    assert answer["object"] == "text_completion"
    assert answer["model"] == "repoloom"
    [choice] = answer["choices"]
    assert (choice["index"], choice["logprobs"]) == (0, None)
    assert choice["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 1 <= usage["completion_tokens"] <= 12


def test_a_list_of_prompts_is_answered_in_its_order(server: Server) -> None:
    prompts = ["def ", "return ", "number"]
    alone = [server.post(prompt=prompt, **GREEDY).json() for prompt in prompts]
    together = server.post(prompt=prompts, **GREEDY).json()
    assert [choice["index"] for choice in together["choices"]] == [0, 1, 2]
    assert list(map(text, together["choices"])) == [text(one["choices"][0]) for one in alone]
    for count in ("prompt_tokens", "completion_tokens"):
        assert together["usage"][count] == sum(one["usage"][count] for one in alone)


def test_the_same_seed_gives_the_same_samples_and_n_of_them_differ(server: Server) -> None:
    asked = {"prompt": "def ", "seed": 5, "n": 4, "max_tokens": 20}
    one, other = (list(map(text, server.post(**asked).json()["choices"])) for _ in range(2))
    assert one == other
    assert len(set(one)) == 4
    assert list(map(text, server.post(**{**asked, "seed": 6}).json()["choices"])) != one


def test_a_greedy_answer_is_the_same_whatever_else_is_asked(server: Server) -> None:
    asked = [TEXT[: 3 + 5 * number] for number in range(12)]
    alone = [text(server.post(prompt=prompt, **GREEDY).json()["choices"][0]) for prompt in asked]
    with ThreadPoolExecutor(12) as threads:
        crowd = list(threads.map(lambda prompt: server.post(prompt=prompt, **GREEDY).json(), asked))
    assert [text(answer["choices"][0]) for answer in crowd] == alone
    steps = server.metric("repoloom_engine_steps_total")
    assert server.metric("repoloom_engine_step_completions_total") > steps  # some did run together


@pytest.mark.parametrize("extra", [{}, {"n": 2, "seed": 1, "temperature": 1}, {"echo": True}, {"stop": ["e", "\n"]}])
def test_a_stream_says_what_the_whole_answer_says(server: Server, extra: dict[str, Any]) -> None:
    asked = {"prompt": ["def add", "x"], **GREEDY, **extra}
    whole = server.post(**asked).json()
    pieces = events(server, **asked, stream_options={"include_usage": True})
    assert pieces.pop()["usage"] == whole["usage"]
    for choice in whole["choices"]:
        own = [piece["choices"][0] for piece in pieces if piece["choices"][0]["index"] == choice["index"]]
        assert "".join(map(text, own)) == text(choice)
        assert [one["finish_reason"] for one in own] == [None] * (len(own) - 1) + [choice["finish_reason"]]
    assert all("usage" not in piece for piece in events(server, **asked))


def test_an_answer_ends_before_a_text_to_stop_at(server: Server) -> None:
    whole = text(server.post(prompt="def ", temperature=0, max_tokens=40).json()["choices"][0])
    stop = whole[5:7]
    answer = server.post(prompt="def ", temperature=0, max_tokens=40, stop=stop).json()["choices"][0]
    assert answer["text"] == whole[: whole.index(stop)]
    assert answer["finish_reason"] == "stop"


def test_echo_puts_the_prompt_before_the_answer(server: Server) -> None:
    plain = text(server.post(prompt="def ", **GREEDY).json()["choices"][0])
    assert text(server.post(prompt="def ", echo=True, **GREEDY).json()["choices"][0]) == "def " + plain


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "x", "top_k": 5}, "top_k"),
        ({"prompt": "x", "logprobs": 1}, "logprobs"),
        ({"prompt": "x", "frequency_penalty": 0.5}, "frequency_penalty"),
        ({"prompt": "x", "logit_bias": {"5": 1}}, "logit_bias"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": "x", "temperature": 2.5}, "temperature"),
        ({"prompt": "x", "temperature": "0"}, "temperature"),
        ({"prompt": "x", "top_p": 0}, "top_p"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"prompt": "x", "stop": ""}, "stop"),
        ({"prompt": "x", "stop": "y" * 257}, "stop"),
        ({"prompt": "x", "n": 17}, "n"),
        ({"prompt": ["x"] * 9, "n": 2}, "n"),
        ({"prompt": "x" * 10 * CONTEXT, "n": 10**9}, "n"),  # before anything is made of the prompt or of each answer
        ({"prompt": "x", "stream_options": {}}, "stream_options"),
        ({"prompt": "x", "suffix": "y", "echo": True}, "echo"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({}, "prompt"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(server: Server, body: dict[str, Any], param: str) -> None:
    refused = server.post(**body)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


def test_defaults_that_clients_send_explicitly_are_taken(server: Server) -> None:
    defaults = {"best_of": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "logprobs": None}
    assert server.post(prompt="x", user="me", suffix=None, stop=None, **defaults).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"prompt": "x", "prompt_": 1', b'{"prompt": "\\ud800"}'])
def test_a_body_that_is_no_request_is_a_client_error(server: Server, body: bytes) -> None:
    refused = httpx2.post(f"http://{server.http}/v1/completions", content=body, timeout=60)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_another_model_is_not_found(server: Server) -> None:
    refused = server.post(prompt="x", model="gpt-4")
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("prompt", ["x" * CONTEXT, "x y " * CONTEXT, "x" * 3_000_000])
def test_what_is_longer_than_the_model_reads_is_refused_with_the_numbers(server: Server, prompt: str) -> None:
    refused = server.post(prompt=prompt, max_tokens=5)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert f"{CONTEXT} tokens" in error["message"]


def test_the_longest_that_the_model_reads_is_answered(server: Server) -> None:
    room = CONTEXT - server.post(prompt="def ", max_tokens=1).json()["usage"]["prompt_tokens"]
    assert server.post(prompt="def ", max_tokens=room).status_code == 200
    assert server.post(prompt="def ", max_tokens=room + 1).status_code == 400


def test_a_body_beyond_the_limit_is_too_large(serve: Callable[..., Server]) -> None:
    limited = serve(settings={"max_message_bytes": 2048})
    assert limited.post(prompt="x" * 5000).status_code == 413


def test_beyond_the_queue_requests_are_told_when_to_come_back(serve: Callable[..., Server]) -> None:
    small = serve(slots=1, queue=1)
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: small.post(prompt="def ", max_tokens=400, stop=None), range(12)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refused = answers[statuses.index(429)]
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"


def test_past_its_time_a_request_ends_and_leaves_its_slot(serve: Callable[..., Server]) -> None:
    hurried = serve(slots=1, request_seconds=0.001)
    refused = hurried.post(prompt="def ", max_tokens=400)
    assert refused.status_code == 504
    [event] = [
        json.loads(line.removeprefix("data: "))
        for line in hurried.post(prompt="def ", max_tokens=400, stream=True).text.splitlines()
        if "error" in line
    ]
    assert event["error"]["code"] == "timeout"


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_goes_away_leaves_the_slot_to_others(serve: Callable[..., Server], stream: bool) -> None:
    single = serve(slots=1)
    ended = 'repoloom_completions_total{finish="%s"}'
    before = sum(single.metric(ended % finish) for finish in ("stop", "length"))
    body = json.dumps({"prompt": [TEXT] * 16, "max_tokens": 400, "stream": stream, "temperature": 0}).encode()
    host, port = single.http.split(":")
    with socket.create_connection((host, int(port))) as client:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: single.metric("repoloom_completions_waiting") > 0)
    until(lambda: not single.metric("repoloom_completions_running") + single.metric("repoloom_completions_waiting"))
    assert sum(single.metric(ended % finish) for finish in ("stop", "length")) < before + 16
    assert single.post(prompt="def ", max_tokens=1).status_code == 200


def test_the_model_tells_what_it_is(server: Server, model: Path) -> None:
    [described] = httpx2.get(f"http://{server.http}/v1/models", timeout=60).json()["data"]
    assert described["id"] == "repoloom"
    assert described["max_model_len"] == CONTEXT
    digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert described["metadata"]["digest"] == f"sha256:{digest}"
    assert described["metadata"]["fim_order"] == "spm"
    assert httpx2.get(f"http://{server.http}/v1/models/repoloom", timeout=60).json() == described
    assert httpx2.get(f"http://{server.http}/v1/models/other", timeout=60).status_code == 404
