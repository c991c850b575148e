"""The settings of pods: every key has a default, a wrong one is said by its name."""

from pathlib import Path

import pytest

from repoloom.errors import InputError
from repoloom_pipelines.settings import Settings


def test_none_are_needed() -> None:
    assert Settings.load(None) == Settings()


def test_a_file_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("data: {image: 'mine:1', tolerations: [{key: gpu}]}\ncaching: false\n")
    settings = Settings.load(path)
    assert (settings.data.image, settings.data.tolerations[0].operator, settings.caching) == ("mine:1", "Exists", False)
    assert settings.training == Settings().training


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: {image: a, cpus: 3}", "settings.yaml:1: data.cpus: there is no such key; did you mean 'cpu'?"),
        ("training: {cpu: '3'}", "settings.yaml:1: training.image: this key is missing"),
        ("data: [", "settings.yaml:1: not YAML"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        Settings.load(path)
