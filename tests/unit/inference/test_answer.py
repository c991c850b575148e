"""The text of an answer as it is streamed is the text of its tokens, up to where it is to stop."""

from evaluation.tiny import tiny_codec
from hypothesis import given
from hypothesis import strategies as st

from repoloom.inference.answer import Answer, _overlap

CODEC = tiny_codec("def add(a, b):\n    return a + b  # Größe, 大小, 🧵🧵\n" * 3, 330)
SPELLED = CODEC.spelled()
ENDS = frozenset(CODEC.ids.values())
TEXT_TOKENS = sorted(set(range(CODEC.size)) - ENDS)
tokens = st.lists(st.sampled_from(TEXT_TOKENS), max_size=30)


def streamed(ids: list[int], stops: list[str]) -> list[str]:
    answer = Answer(SPELLED, ENDS, stops)
    pieces = []
    for token in ids:
        pieces.append(answer.take(token))
        if answer.stopped:
            return pieces
    return [*pieces, answer.rest()]


@given(tokens)
def test_the_pieces_are_the_text_of_the_tokens(ids: list[int]) -> None:
    assert "".join(streamed(ids, [])) == CODEC.decode(ids)


@given(tokens, st.lists(st.text("abr +\n大", min_size=1, max_size=3), max_size=3))
def test_an_answer_ends_before_the_first_text_to_stop_at(ids: list[int], stops: list[str]) -> None:
    whole = CODEC.decode(ids)
    pieces = streamed(ids, stops)
    said = "".join(pieces)
    assert whole.startswith(said)
    assert not any(stop in said for stop in stops)
    if not any(stop in whole for stop in stops):
        assert said == whole


@given(st.text("ab", max_size=9), st.text("ab", min_size=1, max_size=6))
def test_what_is_held_back_is_the_longest_end_that_begins_a_text_to_stop_at(text: str, stop: str) -> None:
    expected = max(length for length in range(len(stop)) if text.endswith(stop[:length]))
    assert _overlap(text, stop) == expected


def test_a_text_to_stop_at_is_looked_for_no_farther_than_there_is_text() -> None:
    answer = Answer(SPELLED, ENDS, ["a" * 10_000_000])
    assert "".join([*map(answer.take, TEXT_TOKENS[:9]), answer.rest()]) == CODEC.decode(TEXT_TOKENS[:9])


@given(tokens)
def test_a_special_token_ends_an_answer_and_is_no_part_of_it(ids: list[int]) -> None:
    answer = Answer(SPELLED, ENDS, [])
    said = "".join(answer.take(token) for token in [*ids, min(ENDS)])
    assert answer.stopped
    assert answer.tokens == len(ids) + 1
    assert said == CODEC.decode(ids)


def test_half_a_character_is_held_back_until_it_is_whole() -> None:
    singles = [number for number in TEXT_TOKENS if len(SPELLED[number]) == 1]
    byte = {SPELLED[number]: number for number in singles}
    answer = Answer(SPELLED, ENDS, [])
    assert [answer.take(byte[bytes([one])]) for one in "é".encode()] == ["", "é"]
    answer.take(byte["é".encode()[:1]])
    assert answer.rest() == "�"
