from random import Random

from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.ledger import Count, Ledger, add_up

NAMES = st.sampled_from(["", "C", "Python", "日本"])
COUNTS = st.builds(Count, items=st.integers(0, 1 << 40), size=st.integers(0, 1 << 60))
TABLES = st.dictionaries(NAMES, st.dictionaries(NAMES, COUNTS, max_size=2), max_size=2)
LEDGERS = st.builds(Ledger, entering=COUNTS, kept=TABLES, dropped=TABLES)


@st.composite
def _balanced(draw: st.DrawFn) -> Ledger:
    ledger = draw(LEDGERS)
    return ledger.model_copy(update={"entering": ledger.total_kept + ledger.total_dropped})


@given(st.lists(LEDGERS, max_size=3), st.randoms(use_true_random=False))
def test_the_sum_of_ledgers_depends_on_no_order(ledgers: list[Ledger], random: Random) -> None:
    shuffled = [
        Ledger(
            entering=ledger.entering,
            kept=dict(random.sample(list(ledger.kept.items()), len(ledger.kept))),
            dropped=dict(random.sample(list(ledger.dropped.items()), len(ledger.dropped))),
        )
        for ledger in random.sample(ledgers, len(ledgers))
    ]
    assert add_up(shuffled).model_dump_json() == add_up(ledgers).model_dump_json()


@given(st.lists(LEDGERS, max_size=3), st.lists(LEDGERS, max_size=3))
def test_the_sum_of_sums_is_the_sum(some: list[Ledger], others: list[Ledger]) -> None:
    assert add_up([add_up(some), add_up(others)]) == add_up([*some, *others])


@given(st.lists(LEDGERS, max_size=3))
def test_totals_add_up(ledgers: list[Ledger]) -> None:
    total = add_up(ledgers)
    assert total.entering == sum((ledger.entering for ledger in ledgers), Count())
    assert total.total_kept == sum((ledger.total_kept for ledger in ledgers), Count())
    assert total.total_dropped == sum((ledger.total_dropped for ledger in ledgers), Count())


@given(st.lists(_balanced(), max_size=3))
def test_the_sum_of_balanced_ledgers_balances(ledgers: list[Ledger]) -> None:
    assert all(ledger.imbalance() is None for ledger in ledgers)
    assert add_up(ledgers).imbalance() is None


@given(_balanced(), COUNTS.filter(lambda count: count != Count()))
def test_one_item_or_byte_too_many_is_an_imbalance(ledger: Ledger, more: Count) -> None:
    lost = ledger.model_copy(update={"entering": ledger.entering + more})
    assert str(lost.entering.items) in (lost.imbalance() or "")
    invented = ledger.model_copy(update={"kept": {**ledger.kept, "more": {"C": more}}})
    assert invented.imbalance() is not None
