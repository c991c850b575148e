"""From the first probe to the last answer: the real command, a real signal, models wherever they lie."""

import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

import httpx2
import pytest
import s3_servers
from inference_server import TEXT, Process, served

from repoloom.errors import CorruptDataError, InputError
from repoloom.inference.model_files import fetched
from repoloom.store import open_store, write


def digest_of(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


def test_it_lives_before_it_is_ready_and_finishes_what_runs_when_told_to_stop(model: Path, tmp_path: Path) -> None:
    slow = shutil.copytree(model, tmp_path / "model")
    (slow / "tokenizer.json").unlink()
    os.mkfifo(slow / "tokenizer.json")  # whose reader waits for a writer
    with Process(str(slow), s3_servers.free_port(), tmp_path / "log", REPOLOOM_INFERENCE_SLOTS="1") as process:
        while process.probe("/healthz") != 200:
            assert process.process.poll() is None, process.said
        assert process.probe("/readyz") == 503
        refused = httpx2.post(f"http://{process.http}/v1/completions", json={"prompt": "x"}, timeout=60)
        assert refused.status_code == 503
        (slow / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
        process.wait_until_ready()

        lines: list[str] = []
        begun = threading.Event()

        def ask() -> None:
            body = {"prompt": [TEXT] * 4, "max_tokens": 60, "seed": 1, "stream": True}
            with httpx2.stream("POST", f"http://{process.http}/v1/completions", json=body, timeout=120) as answer:
                for line in answer.iter_lines():
                    lines.append(line)
                    begun.set()

        asking = threading.Thread(target=ask)
        asking.start()
        assert begun.wait(60)
        process.terminate()
        asking.join()
        assert process.process.wait(60) == 0
        assert lines[-2:] == ["data: [DONE]", ""]
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        finished = {event["choices"][0]["index"] for event in events if event["choices"][0]["finish_reason"]}
        assert finished == set(range(4))
        drained = process.said.index('"message": "Shutting down"')
        assert "Traceback" not in process.said[drained:]


def test_weights_that_are_not_those_meant_are_refused(model: Path, tmp_path: Path) -> None:
    for right in (digest_of(model), f"sha256:{digest_of(model)}", digest_of(model).upper()):
        with fetched(str(model), right) as files:
            assert files.digest == f"sha256:{digest_of(model)}"
    with pytest.raises(CorruptDataError, match="was meant"), fetched(str(model), "0" * 64):
        pass
    with Process(str(model), s3_servers.free_port(), tmp_path / "log", REPOLOOM_MODEL_SHA256="0" * 64) as process:
        assert process.process.wait(300) == 1
        assert "was meant" in process.said.splitlines()[-1]
        assert "Traceback" not in process.said


def test_a_folder_without_a_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"), fetched(str(tmp_path)):
        pass


def test_a_model_in_s3_is_served_with_where_it_comes_from(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"identity": "sha256:1", "packed": "sha256:2", "parameters": 3, "weights": digest_of(model), "more": 4}
    with s3_servers.serve("rclone", tmp_path / "data") as store:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        there = open_store("s3://tests/out")
        for path in model.iterdir():
            write(there, f"model/{path.name}", path.read_bytes())
        write(there, "training.json", json.dumps(training).encode())
        with served("s3://tests/out/model", digest_of(model)) as server:
            [described] = httpx2.get(f"http://{server.http}/v1/models", timeout=60).json()["data"]
            assert server.post(prompt="def ").status_code == 200
    found = described["metadata"]
    assert (found["corpus"], found["training"], found["parameters"]) == ("sha256:2", "sha256:1", 3)


def test_a_record_of_other_weights_says_nothing_of_these(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    training = {"identity": "sha256:1", "packed": "sha256:2", "parameters": 3, "weights": "0" * 64}
    (tmp_path / "training.json").write_text(json.dumps(training))
    with served(tmp_path / "model") as server:
        [described] = httpx2.get(f"http://{server.http}/v1/models", timeout=60).json()["data"]
    assert described["metadata"]["corpus"] is None


def test_more_context_than_the_model_reads_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match="the model reads 512"), served(model, context=513):
        pass
