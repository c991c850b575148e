"""Bits per byte, infilling, the unigram baseline and their inputs measure what they say."""

import gzip
import json
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.tiny import tiny_codec, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from repoloom.errors import InputError
from repoloom.evaluation.bits_per_byte import surprises
from repoloom.evaluation.compare import Status, compare, untrained
from repoloom.evaluation.held_out import HeldOutFile, draw_holes, lines_worth_filling
from repoloom.evaluation.humaneval import read_single_line_infilling
from repoloom.evaluation.infilling import Filled, edit_distance
from repoloom.evaluation.result import Evaluation
from repoloom.evaluation.unigram import unigram_entropy
from repoloom.inference.complete import Completer
from repoloom.prompts.special_tokens import BOS
from repoloom.training.attention import packed_mask
from repoloom.training.data import PackedDataset

CODE = "# adds\nimport os\n\n\ndef add(a, b):\n    return a + b\n\n)\n}}}}\nx\n"
CODEC = tiny_codec(CODE, 280)
MODEL = tiny_model(reads=128, spread=0.2)


def file(name: str, content: str, language: str = "Python") -> HeldOutFile:
    return HeldOutFile("r", name, language, f"# {name}\n", content)


def test_bits_per_byte_of_a_short_file_is_its_loss_under_its_header() -> None:
    short = file("a.py", CODE)
    tokens = torch.tensor(CODEC.encode((BOS, short.header + short.content)))
    length = len(tokens) - 1
    hidden = MODEL(tokens[None, :-1], torch.arange(length)[None], packed_mask(torch.ones(1, length)))
    nats = functional.cross_entropy(MODEL.logits(hidden[0]), tokens[1:], reduction="none")
    header = len(CODEC.encode((short.header,)))
    (found,) = surprises(MODEL, CODEC, [short])
    assert found.nats == pytest.approx(nats[header:].sum().item(), rel=1e-5)
    assert found.bytes == len(CODE)


def test_every_token_of_a_long_file_is_scored_once_with_half_a_window_before_it() -> None:
    long = file("b.py", CODE * 40)
    tokens = CODEC.encode((BOS, long.header + long.content))
    header, window = len(CODEC.encode((long.header,))), MODEL.architecture.max_position_embeddings
    expected, place = 0.0, 1 + header
    while place < len(tokens):
        start = 0 if place <= window else place - (window + 1) // 2
        end = min(len(tokens), start + window + 1)
        part = torch.tensor(tokens[start:end])
        hidden = MODEL(part[None, :-1], torch.arange(len(part) - 1)[None], packed_mask(torch.ones(1, len(part) - 1)))
        nats = functional.cross_entropy(MODEL.logits(hidden[0]), part[1:], reduction="none")
        assert place == 1 + header or place - start >= window // 2
        expected += nats[place - start - 1 :].sum().item()
        place = end
    (found,) = surprises(MODEL, CODEC, [long])
    assert found.nats == pytest.approx(expected, rel=1e-4)


def test_what_a_file_scores_does_not_hang_on_its_company() -> None:
    files = [file(f"{number}.py", CODE * number) for number in (1, 30, 2, 0)]
    together = list(surprises(MODEL, CODEC, files))
    alone = [next(iter(surprises(MODEL, CODEC, [one]))) for one in files]
    assert [found.nats for found in together] == pytest.approx([found.nats for found in alone], rel=1e-4)
    assert together[3].nats == together[3].bytes == 0


def test_only_lines_of_code_are_worth_filling() -> None:
    lines = [CODE[start:end] for start, end in lines_worth_filling(file("a.py", CODE))]
    assert lines == ["import os", "def add(a, b):", "    return a + b"]
    javascript = "/* one\n * two\n */\n// three\nlet x = 1;\n});\n"
    found = lines_worth_filling(file("a.js", javascript, "JavaScript"))
    assert [javascript[start:end] for start, end in found] == ["let x = 1;"]


def test_a_hole_is_a_whole_line_of_the_rendered_file() -> None:
    for hole in draw_holes([file("a.py", CODE)], 10, seed=0):
        assert hole.prefix + hole.line + hole.suffix == "# a.py\n" + CODE
        assert hole.prefix.endswith("\n")
        assert hole.suffix.startswith("\n")


@given(st.permutations(range(6)), st.integers(0, 30))
def test_holes_are_the_same_in_whatever_order_files_come(order: list[int], count: int) -> None:
    files = [file(f"{number}.py", CODE * (number + 1)) for number in range(6)]
    assert draw_holes([files[number] for number in order], count, 1) == draw_holes(files, count, 1)


def test_every_file_gives_one_hole_before_any_gives_two() -> None:
    files = [file(f"{number}.py", CODE * 20) for number in range(6)]
    assert {hole.path for hole in draw_holes(files, 6, seed=2)} == {one.path for one in files}
    assert len(draw_holes(files, 10, seed=2)) == 10


@given(st.text("ab", max_size=6), st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_edit_distance_is_a_metric(one: str, two: str, three: str) -> None:
    assert (edit_distance(one, two) == 0) == (one == two)
    assert edit_distance(one, two) == edit_distance(two, one)
    assert edit_distance(one, three) <= edit_distance(one, two) + edit_distance(two, three)
    assert abs(len(one) - len(two)) <= edit_distance(one, two) <= max(len(one), len(two))


def test_indentation_does_not_count_but_every_other_character_does() -> None:
    (hole,) = (hole for hole in draw_holes([file("a.py", CODE)], 9, 0) if "return" in hole.line)
    assert Filled(hole, "return a + b").exact
    assert Filled(hole, "return a + b").edit_similarity == 1
    assert not Filled(hole, "return a+b").exact
    assert Filled(hole, "return a + c").edit_similarity == pytest.approx(11 / 12)


def test_the_unigram_baseline_is_the_entropy_of_the_target_tokens(tmp_path: Path) -> None:
    def packed(name: str, tokens: list[int]) -> PackedDataset:
        for suffix, values in (("bin", tokens), ("idx", [1] * len(tokens))):
            np.array(values, dtype="<u2").tofile(tmp_path / f"{name}.{suffix}")
        return PackedDataset([tmp_path / f"{name}.bin"], [tmp_path / f"{name}.idx"], len(tokens))

    assert unigram_entropy(packed("train", [0, 1, 1, 1, 2]), 4) == pytest.approx(
        -(3 / 4 * log(3 / 4) + 1 / 4 * log(1 / 4))
    )
    assert unigram_entropy(packed("none", [1]), 4) == 0


def test_a_comparison_says_both_models_by_language_and_survives_json() -> None:
    files = [file("a.py", CODE * 3), file("b.js", "let x = 1;\nlet y = x + 1;\n", "JavaScript")]
    trained = Completer(MODEL, CODEC)
    result = compare(trained, untrained(trained, seed=0), files, draw_holes(files, 5, seed=0))
    assert [row.name for row in result.languages] == ["JavaScript", "Python"]
    assert result.overall.holes == len(result.samples) == 5
    assert result.overall.bytes == sum(len(one.content) for one in files)
    assert result.overall.trained == result.overall.untrained  # the "trained" model is the fresh one here
    assert Evaluation.model_validate_json(result.model_dump_json()) == result


def test_whoever_watches_a_comparison_sees_each_model_read_every_byte_and_fill_every_hole() -> None:
    files = [file(f"{number}.py", CODE * 3) for number in range(3)]
    trained = Completer(MODEL, CODEC)
    seen: list[Status] = []
    compare(trained, untrained(trained, seed=0), files, draw_holes(files, 5, seed=0), seen.append)
    size = sum(len(one.content) for one in files)
    whole = {"reads": (size, "bytes"), "fills": (5, "holes")}
    at_work = list(dict.fromkeys(status.at_work for status in seen))
    assert at_work == [f"{name} model {what}" for name in ("trained", "untrained") for what in whole]
    for work in at_work:
        mine = [status for status in seen if status.at_work == work]
        assert {(status.total, status.unit) for status in mine} == {whole[work.split()[-1]]}
        done = [status.done for status in mine]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, mine[0].total)


def test_what_is_not_measured_is_not_told_of() -> None:
    trained = Completer(MODEL, CODEC)
    seen: list[Status] = []
    compare(trained, trained, [], draw_holes([file("a.py", CODE)], 1, seed=0), seen.append)
    assert {status.unit for status in seen} == {"holes"}


def test_humaneval_records_become_holes(tmp_path: Path) -> None:
    record = {
        "task_id": "T/0",
        "prompt": "def f(x):\n",
        "canonical_solution": "    y = x\n",
        "suffix": "    return y\n",
    }
    path = tmp_path / "bench.jsonl.gz"
    with gzip.open(path, "wt") as out:
        out.write(json.dumps({**record, "entry_point": "f", "test": ""}) + "\n\n")
    (hole,) = read_single_line_infilling(path)
    assert (hole.prefix, hole.line, hole.suffix) == ("def f(x):\n", "    y = x", "\n    return y\n")


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"nonsense", b"\xff\xfe", b'{"task_id": 1, "canonical_solution": 2}']
)
def test_a_file_of_another_form_is_named_with_its_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bench\.jsonl"):
        list(read_single_line_infilling(path))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:-9])
    with pytest.raises(InputError, match=r"cut\.jsonl"):
        list(read_single_line_infilling(tmp_path / "cut.jsonl.gz"))
