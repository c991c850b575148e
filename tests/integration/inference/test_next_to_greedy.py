"""A temperature or a nucleus of next to nothing gives the likeliest token, by every way to ask."""

import json
from pathlib import Path

import pytest
from inference_server import TEXT, Server

from repoloom.cli.app import app
from repoloom.client import Inference
from repoloom.inference.complete import Completer, Until
from repoloom.inference.generate import Sampling

pytestmark = pytest.mark.parametrize(
    ("temperature", "top_p"), [(1e-40, 1.0), (5e-324, 1.0), (1.0, 1e-46), (2.0, 5e-324), (5e-324, 5e-324)]
)


@pytest.fixture(scope="module")
def likeliest(model: Path) -> str:
    return Completer.load(model).complete(TEXT[:30], TEXT[40:], Until.END, Sampling(12))


def test_over_http(server: Server, likeliest: str, temperature: float, top_p: float) -> None:
    asked = {"prompt": TEXT[:30], "suffix": TEXT[40:], "max_tokens": 12}
    answer = server.post(**asked, temperature=temperature, top_p=top_p)
    assert answer.json()["choices"][0]["text"] == likeliest


def test_over_grpc(server: Server, likeliest: str, temperature: float, top_p: float) -> None:
    with Inference(server.grpc) as client:
        pieces = client.complete(TEXT[:30], TEXT[40:], max_tokens=12, temperature=temperature, top_p=top_p)
        assert "".join(piece.text for piece in pieces) == likeliest


def test_on_the_command_line(
    model: Path,
    likeliest: str,
    temperature: float,
    top_p: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "prefix").write_text(TEXT[:30])
    (tmp_path / "suffix").write_text(TEXT[40:])
    asked = ["--prefix-file", f"{tmp_path}/prefix", "--suffix-file", f"{tmp_path}/suffix", "--max-new-tokens", "12"]
    how = ["--temperature", str(temperature), "--top-p", str(top_p), "--until", "end", "--json"]
    with pytest.raises(SystemExit) as ended:
        app(["complete", "--model", str(model), *asked, *how])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == {"middle": likeliest}
