"""Equal work has an equal digest, however, wherever and by however many it is done."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from probing import Probe, committed

PARAMS = {"bad": {"probe/ışğ": "raise"}}  # a name that only UTF-8 spells, of a repository that is not there


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    ended = Probe(tmp_path_factory.mktemp("first"), params=PARAMS).run()
    assert ended.digest is not None, ended.error
    return ended.digest


@pytest.mark.parametrize("workers", [1, 5])
def test_any_number_of_workers_makes_the_same_dataset(tmp_path: Path, digest: str, workers: int) -> None:
    assert Probe(tmp_path, params=PARAMS, workers=workers).run().digest == digest


@pytest.mark.parametrize(
    "environment",
    [
        {"TZ": "Asia/Kathmandu"},
        {"LC_ALL": "C", "LANG": "C"},
        {"LC_ALL": "tr_TR.ISO-8859-9", "PYTHONIOENCODING": "iso-8859-9"},
        {"PYTHONHASHSEED": "20240125"},
        {"COLUMNS": "20", "NO_COLOR": "1", "OMP_NUM_THREADS": "3", "ARROW_DEFAULT_MEMORY_POOL": "system"},
    ],
    ids=["time zone", "C locale", "Turkish locale", "hash seed", "odds and ends"],
)
def test_the_environment_is_no_part_of_the_dataset(tmp_path: Path, digest: str, environment: Mapping[str, str]) -> None:
    assert Probe(tmp_path, params=PARAMS, environment=environment).run().digest == digest


def test_the_place_is_no_part_of_the_dataset(tmp_path: Path, digest: str) -> None:
    assert Probe(tmp_path / "elsewhere: ein Ordner mit 'Ümläuten' $HOME" / "x", params=PARAMS).run().digest == digest


def test_what_is_committed_is_not_done_again(tmp_path: Path, digest: str) -> None:
    probe = Probe(tmp_path, params=PARAMS)
    probe.run()
    before = committed(tmp_path)
    assert len(before) == 9 + 8 * 3  # the makers' eight parts and commit, and two parts and a commit for each copy
    assert probe.run().digest == digest
    assert committed(tmp_path) == before


def test_a_step_of_other_parameters_beside_it_leaves_it_alone(tmp_path: Path, digest: str) -> None:
    Probe(tmp_path, params=PARAMS).run()
    before = committed(tmp_path)
    assert Probe(tmp_path).run().digest != digest
    assert Probe(tmp_path, params=PARAMS).run().digest == digest
    assert before.items() <= committed(tmp_path).items()
