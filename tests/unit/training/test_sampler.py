"""Every epoch is a permutation, and what a step reads depends on the samples consumed alone."""

from hypothesis import given
from hypothesis import strategies as st

from repoloom.training.sampler import Sampler

SIZES = st.integers(1, 300)
SEEDS = st.integers(0, 2**62)


@given(SIZES, SEEDS, st.integers(0, 5))
def test_each_epoch_reads_every_sample_once(size: int, seed: int, epoch: int) -> None:
    sampler = Sampler(size, seed)
    assert sorted(sampler.at(epoch * size + place) for place in range(size)) == list(range(size))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(Sampler(100, seed).batch(100 * epoch, 100)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@given(SIZES, SEEDS, st.integers(0, 1000), st.integers(1, 8), st.integers(1, 4))
def test_the_ranks_together_read_what_one_would(size: int, seed: int, consumed: int, each: int, ranks: int) -> None:
    sampler = Sampler(size, seed)
    alone = sampler.batch(consumed, each * ranks)
    shares = [sampler.batch(consumed, each * ranks, rank, ranks) for rank in range(ranks)]
    assert [shares[place % ranks][place // ranks] for place in range(each * ranks)] == alone


@given(SIZES, SEEDS, st.lists(st.integers(1, 20), max_size=6))
def test_the_order_does_not_hang_on_how_it_is_cut_into_steps(size: int, seed: int, batches: list[int]) -> None:
    sampler = Sampler(size, seed)
    read, consumed = [], 0
    for batch in batches:
        read += sampler.batch(consumed, batch)
        consumed += batch
    assert read == sampler.batch(0, consumed)


def test_a_shuffle_of_a_trillion_samples_is_found_place_by_place() -> None:
    sampler = Sampler(10**12, 7)
    assert len({sampler.at(place) for place in range(1000)}) == 1000
