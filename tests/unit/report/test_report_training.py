"""Curves thinned and smoothed, and the samples of an evaluation."""

import re

from hypothesis import given
from hypothesis import strategies as st
from report.whole import whole
from report.written import DOCUMENTS, Writer, document

from repoloom.evaluation.result import Compared, Evaluation, Sample, Scores
from repoloom.report.evaluation import measured
from repoloom.report.limits import Limits
from repoloom.report.page import render
from repoloom.report.tables import Tables
from repoloom.report.tokens import Packing
from repoloom.report.training import TrainingRecord, TrainingStep, smoothed, thin, training


def step(number: int, loss: float = 1.0) -> TrainingStep:
    return TrainingStep(
        step=number, loss=loss, learning_rate=0.1, gradient_norm=1, tokens_per_second=10, samples_consumed=number
    )


PACKED = Packing(sequences=100, sequence_length=32, pieces=100, tokens=3000)


def trained(steps: int) -> TrainingRecord:
    done = tuple(step(number) for number in range(1, steps + 1))
    return TrainingRecord(parameters=1, unigram_loss=6, steps=done, seconds=0)


@given(st.integers(1, 300), st.integers(2, 50))
def test_a_thinned_curve_has_few_points_and_ends_where_the_run_ended(steps: int, most: int) -> None:
    points = thin([step(number) for number in range(1, steps + 1)], most)
    assert 1 <= len(points) <= most
    assert points[-1].step == steps


def test_a_short_curve_is_shown_as_it_is() -> None:
    steps = [step(number, loss=10 / number) for number in range(1, 20)]
    assert thin(steps, 100) == steps


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=200))
def test_a_smoothed_curve_stays_between_the_extremes(values: list[float]) -> None:
    smooth = smoothed(values)
    assert len(smooth) == len(values)
    assert all(min(values) - 1e-9 <= value <= max(values) + 1e-9 for value in smooth)


def test_a_run_of_no_step_is_no_training() -> None:
    assert training(trained(steps=0), PACKED, Limits()) is None


def test_a_training_says_how_many_of_the_packed_tokens_it_read() -> None:
    part, twice = (training(trained(steps), PACKED, Limits()) for steps in (7, 200))
    assert part is not None
    assert twice is not None
    assert (part.tokens, part.epochs) == (210, 0.07)
    assert (twice.tokens, twice.epochs) == (6000, 2)


def test_the_stages_of_a_training_are_listed_where_there_are_several() -> None:
    data = whole("pretrain")
    page = render(data)
    assert "Stage by stage" in page
    assert re.search(r"1,234\s*<td class=\"n\">56", page)
    assert data.training is not None
    alone = trained(steps=3).model_copy(update={"stages": data.training.stages[:1]})
    only = training(alone, PACKED, Limits())
    assert only is not None
    assert "Stage by stage" not in render(data.model_copy(update={"training": only}))


def sample(number: int, exact: bool) -> Sample:
    text = "\n".join(f"line {line}" for line in range(50))
    return Sample(
        repo="r", path=str(number), language="C", prefix=text, truth="t", suffix=text, written="t", exact=exact
    )


def test_exact_samples_and_others_are_shown_in_turn_with_a_few_lines_around() -> None:
    scores = Scores(bits_per_byte=1, exact_match=0, edit_similarity=0)
    overall = Compared(name="", bytes=1, holes=1, trained=scores, untrained=scores)
    samples = tuple(sample(number, exact=number > 7) for number in range(10))
    evaluation = Evaluation(overall=overall, languages=(), samples=samples)
    found = measured(evaluation, Tables(()), Limits(samples=6, lines=3)).samples
    assert [its.path for its in found] == ["8", "0", "9", "1", "2", "3"]
    assert found[0].prefix == "line 47\nline 48\nline 49"
    assert found[0].suffix == "line 0\nline 1\nline 2"


def test_the_held_out_text_is_counted_without_what_stands_around_it(write: Writer) -> None:
    scores = Scores(bits_per_byte=1, exact_match=0, edit_similarity=0)
    overall = Compared(name="", bytes=1, holes=1, trained=scores, untrained=scores)
    rows = [document("a", 0, ["x.py", "y.py"], 40), document("b", 0, ["z.py"], 20)]
    held_out = write("split.heldout", {"heldout": (DOCUMENTS, rows)})
    evaluation = Evaluation(overall=overall, languages=(), samples=())
    assert measured(evaluation, Tables([held_out]), Limits()).held_out == 100
