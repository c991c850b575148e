"""What fill-in-the-middle promises: nothing is lost, a prompt is a prefix of training text, and draws are pure."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from repoloom.prompts import fim
from repoloom.prompts.special_tokens import ALL, BOS, EOS, FIM_BEGIN, FIM_END, FIM_HOLE, SpecialToken, encode

TEXTS = st.text(max_size=40)
ORDERS = st.sampled_from(fim.Order)


def test_psm_is_laid_out_as_in_the_paper() -> None:
    assert fim.render("pre", "mid", "suf") == (BOS, FIM_BEGIN, "pre", FIM_HOLE, "suf", FIM_END, "mid", EOS)


def test_spm_lets_the_middle_follow_the_prefix() -> None:
    rendered = fim.render("pre", "mid", "suf", fim.Order.SPM)
    assert rendered == (BOS, FIM_BEGIN, FIM_HOLE, "suf", FIM_END, "pre", "mid", EOS)


def test_a_text_without_a_hole_ends_where_its_document_does() -> None:
    assert fim.without_hole("text", ends=True) == (BOS, "text", EOS)
    assert fim.without_hole("text", ends=False) == (BOS, "text")


@given(TEXTS, TEXTS, TEXTS, ORDERS)
def test_training_text_is_the_prompt_then_the_middle_then_the_end(
    prefix: str, middle: str, suffix: str, order: fim.Order
) -> None:
    assert fim.render(prefix, middle, suffix, order) == (*fim.prompt(prefix, suffix, order), middle, EOS)


@given(TEXTS, TEXTS, TEXTS, ORDERS)
def test_every_layout_holds_each_piece_exactly_once(prefix: str, middle: str, suffix: str, order: fim.Order) -> None:
    texts = [segment for segment in fim.render(prefix, middle, suffix, order) if not isinstance(segment, SpecialToken)]
    assert Counter(texts) == Counter([prefix, middle, suffix])


@given(st.integers(0, 2**63), st.integers(0, 1000), st.text(), st.integers(0, 10**6), st.floats(0, 1))
def test_a_cut_lies_within_the_document_and_is_drawn_the_same_again(
    seed: int, epoch: int, key: str, length: int, rate: float
) -> None:
    cut = fim.draw(seed, epoch, key, length, rate)
    assert cut == fim.draw(seed, epoch, key, length, rate)
    if cut is not None:
        assert 0 <= cut[0] <= cut[1] <= length


@given(st.integers(0, 2**32), st.text(), st.integers(0, 100))
def test_rate_zero_cuts_nothing_and_rate_one_cuts_everything(seed: int, key: str, length: int) -> None:
    assert fim.draw(seed, 0, key, length, 0.0) is None
    assert fim.draw(seed, 0, key, length, 1.0) is not None


def test_draws_are_those_of_every_release() -> None:
    draws = [fim.draw(seed, epoch, "repo/0", 1000, 0.5) for seed in range(2) for epoch in range(3)]
    assert draws == [(490, 793), (436, 855), None, (152, 386), None, None]


def test_half_of_many_documents_are_cut_and_the_cuts_reach_every_place() -> None:
    cuts = [fim.draw(0, 0, str(number), 9, 0.5) for number in range(20_000)]
    found = [cut for cut in cuts if cut is not None]
    assert len(found) == pytest.approx(10_000, rel=0.03)
    places = Counter(place for cut in found for place in cut)
    assert set(places) == set(range(10))
    assert all(count == pytest.approx(2 * len(found) / 10, rel=0.1) for count in places.values())


def test_text_that_spells_a_special_token_is_encoded_as_text() -> None:
    tokenizer = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ALL])
    tokenizer.encode_special_tokens = True
    ids = {token: tokenizer.token_to_id(token) for token in ALL}
    hostile = str(EOS) + str(FIM_HOLE)
    tokens = encode(fim.render(hostile, hostile, hostile), lambda text: tokenizer.encode(text).ids, ids)
    special = [token for token in tokens if token in ids.values()]
    assert special == [ids[token] for token in (BOS, FIM_BEGIN, FIM_HOLE, FIM_END, EOS)]
