"""A task in flight is lost when neither a worker nor its queue can have it, and not before."""

from repoloom.engine.queue.board import Sight
from repoloom.engine.queue.flight import Flight
from repoloom.engine.queue.pace import Pace
from repoloom.engine.step import Queue
from repoloom.engine.task import Task

PACE = Pace(grace=5, overdue=60)
NEVER = 10.0**9


def flight(number: int = 5, sent: int = 1) -> Flight:
    task = Task(step="filter", version=1, params={}, inputs={}, root="/x")
    return Flight(task, Queue.CPU, time_limit=100, number=number, sent=sent)


def sight(waiting: int, published: int, taken: int) -> Sight:
    return Sight(waiting=waiting, running=0, workers=0, published=published, taken=taken)


def test_what_waits_in_its_queue_is_never_lost_however_long_it_waits() -> None:
    waiting = flight()
    for now in (0.0, 100.0, NEVER):
        assert not waiting.is_lost(None, sight(waiting=1, published=5, taken=4), now, PACE)


def test_what_a_worker_does_is_lost_only_long_after_its_time_limit() -> None:
    running = flight()
    anywhere = sight(waiting=0, published=9, taken=9)
    assert not running.is_lost("a worker", anywhere, 1000, PACE)
    assert not running.is_lost("a worker", anywhere, 1000 + 160, PACE)
    assert running.is_lost("a worker", anywhere, 1000 + 161, PACE)


def test_the_time_of_a_worker_begins_when_its_claim_is_first_seen_whoever_had_one_before() -> None:
    running = flight()
    anywhere = sight(waiting=0, published=9, taken=9)
    assert not running.is_lost("a worker", anywhere, 1000, PACE)
    assert not running.is_lost("another", anywhere, 1150, PACE)
    assert not running.is_lost("another", anywhere, 1150 + 160, PACE)
    assert running.is_lost("another", anywhere, 1150 + 161, PACE)


def test_what_was_taken_and_is_under_no_claim_is_lost_after_the_grace() -> None:
    taken = flight()
    beyond = sight(waiting=3, published=9, taken=5)
    assert not taken.is_lost(None, beyond, 1000, PACE)
    assert not taken.is_lost(None, beyond, 1005, PACE)
    assert taken.is_lost(None, beyond, 1006, PACE)


def test_a_claim_seen_in_between_begins_the_grace_anew() -> None:
    taken = flight()
    beyond = sight(waiting=3, published=9, taken=5)
    taken.is_lost(None, beyond, 1000, PACE)
    taken.is_lost("a worker", beyond, 1004, PACE)
    assert not taken.is_lost(None, beyond, 1006, PACE)
    assert taken.is_lost(None, beyond, 1012, PACE)


def test_what_redis_has_forgotten_is_lost_whether_the_queue_is_empty_or_counts_anew() -> None:
    for wiped in (sight(waiting=0, published=5, taken=4), sight(waiting=2, published=3, taken=1)):
        forgotten = flight()
        forgotten.is_lost(None, wiped, 1000, PACE)
        assert forgotten.is_lost(None, wiped, 1006, PACE)


def test_each_loss_is_waited_for_twice_as_long_up_to_a_bound() -> None:
    gone = sight(waiting=0, published=0, taken=0)
    for sent, grace in ((1, 5), (2, 10), (3, 20), (5, 80), (50, 80)):
        again = flight(sent=sent)
        again.is_lost(None, gone, 1000, PACE)
        assert not again.is_lost(None, gone, 1000 + grace, PACE)
        assert again.is_lost(None, gone, 1001 + grace, PACE)
