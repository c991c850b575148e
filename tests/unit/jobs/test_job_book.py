"""The book of jobs: what is written once stays, what is deleted is forgotten, what is broken is said."""

import contextlib
import hashlib
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

import pytest
from killing import die_at
from one_process import forked
from store_calls import Telling, at, once
from turns import Turns

from repoloom.errors import ConflictError, CorruptDataError, NotFoundError, StoreError, UnavailableError
from repoloom.jobs.addresses import overlap
from repoloom.jobs.book import ENTRY, FOLDER, ID, JobBook, UnfinishedError, id_of
from repoloom.jobs.records import End, JobRequest, Outcome, Progress
from repoloom.store.folder import FolderStore


@pytest.fixture
def book(tmp_path: Path) -> JobBook:
    return JobBook(str(tmp_path), "filter")


def _request(request_id: str = "one", output: str = "") -> JobRequest:
    return JobRequest(request_id=request_id, stage="filter", output=output or f"/out/{request_id}")


def _end(outcome: Outcome = Outcome.SUCCEEDED, days_ago: int = 0) -> End:
    return End(outcome=outcome, ended=datetime.now(UTC) - timedelta(days=days_ago))


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_request_is_one_job_however_often_and_wherever_it_is_sent(book: JobBook, tmp_path: Path) -> None:
    entry = book.accept(_request(), most=10)
    assert ENTRY.fullmatch(entry)
    assert ID.fullmatch(id_of(entry))
    other_replica = JobBook(str(tmp_path), "filter")
    assert other_replica.accept(_request(), most=10) == entry
    with pytest.raises(ConflictError, match="request_id 'one'"):
        other_replica.accept(_request(output="/other"), most=10)
    assert JobBook(str(tmp_path), "quality").accept(_request(), most=10) != entry
    assert book.open_entries() == [entry]


def test_only_so_many_jobs_are_open(book: JobBook) -> None:
    first = book.accept(_request("one"), most=2)
    book.accept(_request("two"), most=2)
    with pytest.raises(UnavailableError, match="2 jobs"):
        book.accept(_request("three"), most=2)
    assert book.accept(_request("one"), most=2) == first
    book.finish(first, _end())
    book.accept(_request("three"), most=2)


@pytest.mark.parametrize("output", ["/out/a", "/out/a/", "file:///out/a", "/out", "/", "/out/a/b", "/out/a/b/c"])
def test_an_output_is_that_of_one_open_job(book: JobBook, tmp_path: Path, output: str) -> None:
    first = book.accept(_request("one", "/out/a"), most=10)
    for other in ("/out/aa", "/out/b", "/out/A"):
        book.finish(book.accept(_request(other.replace("/", "_"), other), most=10), _end())
    before = _files(tmp_path)
    other_replica = JobBook(str(tmp_path), "filter")
    for _ in range(2):  # a request that was refused is not remembered as one that was taken
        with pytest.raises(ConflictError, match=f"output: operations/filter/{id_of(first)} has not ended"):
            other_replica.accept(_request("two", output), most=10)
    assert _files(tmp_path) == before
    assert book.accept(_request("one", "/out/a"), most=10) == first
    book.cancel(id_of(first))
    second = other_replica.accept(_request("two", output), most=10)
    assert book.open_entries() == [second]
    with pytest.raises(ConflictError, match=id_of(second)):
        book.accept(_request("three", "/out/a"), most=10)
    book.finish(second, _end())
    book.delete(id_of(second))
    book.accept(_request("three", "/out/a"), most=10)


def test_an_output_in_a_bucket_has_no_other_below_it_but_may_have_one_beside_it() -> None:
    assert overlap("s3://bucket/a", "s3://bucket/a/b/")
    assert overlap("s3://bucket/a/b", "s3://bucket")
    assert not overlap("s3://bucket/a", "s3://bucket/ab")


def test_an_output_by_way_of_a_link_is_where_the_link_leads(book: JobBook, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    book.accept(_request("one", f"{tmp_path}/there"), most=10)
    with pytest.raises(ConflictError, match="output"):
        book.accept(_request("two", f"{tmp_path}/link/below"), most=10)


def test_of_requests_that_come_to_several_replicas_at_one_moment_one_has_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repoloom.jobs.book._LOOKS", 1000)
    replicas = 4
    books = [JobBook(str(tmp_path), "filter") for _ in range(replicas)]
    together = threading.Barrier(replicas)

    def send(book: JobBook, number: int, turn: int) -> str | None:
        together.wait()
        with contextlib.suppress(ConflictError):
            return book.accept(_request(f"{turn}-{number}", f"/out/{turn}" + "/below" * (number % 2)), most=1000)
        return None

    with ThreadPoolExecutor(replicas) as threads:
        for turn in range(20):
            sent = [threads.submit(send, book, number, turn) for number, book in enumerate(books)]
            accepted = [entry for one in sent if (entry := one.result()) is not None]
            assert len(accepted) == 1
            assert books[0].open_entries() == accepted
            books[0].finish(accepted[0], _end())


def _told(book: JobBook, called: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> JobBook:
    """The same book in another replica, whose requests to the store are told."""
    replica = JobBook(book.root, book.service)
    monkeypatch.setattr(replica, "_store", Telling(FolderStore(f"{book.root}/{FOLDER}/{book.service}"), called))
    return replica


def _aged(monkeypatch: pytest.MonkeyPatch, *requests: str) -> None:
    """Has the entries of some requests be such that each is older than those that follow."""
    ages = {_id(request): 10**6 - number for number, request in enumerate(requests)}
    monkeypatch.setattr("repoloom.jobs.book._new_entry", lambda job: f"{ages[job]:013}-{0:08}-{job}")


def _id(request_id: str) -> str:
    return hashlib.sha256(f"filter/{request_id}".encode()).hexdigest()[:32]


@pytest.mark.parametrize("older", ["first", "second"])
def test_of_two_requests_that_see_each_other_the_older_stays(
    book: JobBook, monkeypatch: pytest.MonkeyPatch, older: str
) -> None:
    monkeypatch.setattr("repoloom.jobs.book._LOOKS", 1000)
    _aged(monkeypatch, older, *{"first", "second"} - {older})
    both = threading.Barrier(2)

    def send(request: str) -> str | None:
        meet = once("list", "outputs", both.wait)
        with contextlib.suppress(ConflictError):
            return id_of(_told(book, meet, monkeypatch).accept(_request(request, "/out"), most=10))
        return None

    with ThreadPoolExecutor(2) as threads:
        assert set(threads.map(send, ("first", "second"))) == {_id(older), None}
    assert [*map(id_of, book.open_entries())] == [_id(older)]


def test_a_job_that_is_open_keeps_its_output_from_an_older_one(book: JobBook, monkeypatch: pytest.MonkeyPatch) -> None:
    _aged(monkeypatch, "older", "younger")
    younger = book.accept(_request("younger", "/out"), most=10)
    with pytest.raises(ConflictError, match=_id("younger")):
        book.accept(_request("older", "/out"), most=10)
    assert book.open_entries() == [younger]


@pytest.mark.parametrize("seed", range(10))
def test_in_any_order_of_their_requests_to_the_store_one_replica_has_an_output(
    book: JobBook, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("repoloom.jobs.book._LOOKS", 1000)
    monkeypatch.setattr("repoloom.jobs.book._PAUSE", 0)
    turns = Turns(3, seed)

    def send(number: int) -> str | None:
        with turns.taken_by(number), contextlib.suppress(ConflictError):
            replica = _told(book, lambda *_: turns.wait(number), monkeypatch)
            return replica.accept(_request(f"{number}", "/out"), most=10)
        return None

    with ThreadPoolExecutor(3) as threads:
        [accepted] = [entry for entry in threads.map(send, range(3)) if entry is not None]
    assert book.open_entries() == [accepted]


def test_a_replica_that_dies_before_it_opens_a_job_keeps_its_output_from_nobody(
    book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = threading.Event()

    def die(call: str, key: str) -> None:
        if dead.is_set() or (call, key[:5]) == ("create", "open/"):
            dead.set()
            raise StoreError("it is dead")

    with pytest.raises(StoreError):
        _told(book, die, monkeypatch).accept(_request("one", "/out"), most=10)
    other = book.accept(_request("two", "/out"), most=10)
    with pytest.raises(ConflictError, match=_id("two")):
        book.accept(_request("one", "/out"), most=10)
    book.finish(other, _end())
    assert id_of(book.accept(_request("one", "/out"), most=10)) == _id("one")


def test_one_that_comes_to_itself_too_late_is_refused(book: JobBook, monkeypatch: pytest.MonkeyPatch) -> None:
    other: list[str] = []
    stopped = once("create", "open/", lambda: other.append(book.accept(_request("two", "/out"), most=10)))
    with pytest.raises(ConflictError, match=_id("two")):
        _told(book, stopped, monkeypatch).accept(_request("one", "/out"), most=10)
    assert book.open_entries() == other
    with pytest.raises(NotFoundError):
        book.find(_id("one"))


@pytest.mark.parametrize("older", ["frozen", "other"])
def test_of_two_jobs_that_are_open_for_one_output_the_younger_is_refused(
    book: JobBook, monkeypatch: pytest.MonkeyPatch, older: str
) -> None:
    _aged(monkeypatch, older, *{"frozen", "other"} - {older})
    meanwhile = once("create", "open/", lambda: book.accept(_request("other", "/out"), most=10))
    dead = threading.Event()

    def be_frozen_and_die(call: str, key: str) -> None:
        meanwhile(call, key)
        if dead.is_set() or (call, key[:7]) == ("create", "recent/"):
            dead.set()
            raise StoreError("it is dead")

    with pytest.raises(StoreError):
        _told(book, be_frozen_and_die, monkeypatch).accept(_request("frozen", "/out"), most=10)
    first, second = book.open_entries()
    assert id_of(first) == _id(older)
    book.check_output(first, "/out")
    with pytest.raises(ConflictError, match=id_of(first)):
        book.check_output(second, "/out")
    book.finish(first, _end())
    book.check_output(second, "/out")


def test_whatever_the_store_refuses_no_output_is_kept(book: JobBook, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise StoreError("the disk is full")

    for event in count(1):
        try:
            entry = _told(book, at(event, refuse), monkeypatch).accept(_request("one", "/out"), most=10)
        except StoreError:
            assert list(_files(Path(book.root, FOLDER, book.service, "outputs"))) == []
        else:
            break
    assert book.open_entries() == [entry]
    assert event > 8, "it makes several requests to the store"


def _accept(book: JobBook) -> None:
    book.accept(_request("one", "/out"), most=10)


def _be_refused(book: JobBook) -> None:
    with contextlib.suppress(ConflictError):
        book.accept(_request("refused", "/out/below"), most=10)


def _finish(book: JobBook) -> None:
    book.finish(book.accept(_request("one", "/out"), most=10), _end())


def _have(book: JobBook) -> str:
    """Takes the output for another job, after the jobs that refusals name were cancelled."""
    for _ in range(3):
        try:
            return book.accept(_request("two", "/out"), most=10)
        except ConflictError as conflict:
            book.cancel(str(conflict).split()[1].rpartition("/")[2])
    raise AssertionError("it is refused whatever is cancelled")


@pytest.mark.parametrize(("before", "work"), [([], _accept), ([_accept], _be_refused), ([_accept], _finish)])
def test_killed_at_any_moment_a_replica_leaves_an_output_that_can_be_had(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: list[Callable[[JobBook], None]],
    work: Callable[[JobBook], None],
) -> None:
    monkeypatch.setattr("repoloom.jobs.book._PAUSE", 0)
    for event in count(1):
        root = tmp_path / f"{event}"
        book = JobBook(str(root), "filter")
        for done in before:
            done(book)
        status = forked(lambda root=root, book=book, event=event: (die_at(event, below=str(root)), work(book)))
        other = _have(book)
        assert [entry for entry in book.open_entries() if not book.ended(entry)] == [other]
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert event > 10, "each of its objects takes several events"


def test_the_first_end_stays(book: JobBook) -> None:
    entry = book.accept(_request(), most=10)
    book.finish(entry, _end(Outcome.CANCELLED))
    book.finish(entry, _end(Outcome.SUCCEEDED))
    end = book.find(id_of(entry)).end
    assert end is not None
    assert end.outcome is Outcome.CANCELLED
    assert book.open_entries() == []
    book.accept(_request(), most=10)
    assert book.open_entries() == []  # the same request opens no job that has ended


@pytest.mark.parametrize("event", range(1, 11))  # all of its requests
def test_an_end_that_was_seen_stays_whoever_was_about_to_write_another(
    book: JobBook, monkeypatch: pytest.MonkeyPatch, event: int
) -> None:
    entry = book.accept(_request(), most=10)
    seen = []

    def end_meanwhile() -> None:
        book.finish(entry, _end(Outcome.SUCCEEDED))
        seen.append(book.end(entry))

    _told(book, at(event, end_meanwhile), monkeypatch).finish(entry, _end(Outcome.CANCELLED))
    assert seen == [book.end(entry)]
    assert book.open_entries() == []


def test_a_job_is_cancelled_at_once_where_no_runner_has_begun(book: JobBook) -> None:
    waiting, running = book.accept(_request("one"), most=10), book.accept(_request("two"), most=10)
    book.write_progress(running, Progress(runner="r"))
    for entry in (waiting, running, waiting):
        book.cancel(id_of(entry))
    assert book.ended(waiting)
    assert not book.ended(running)
    assert book.cancel_requested(running)


def test_a_job_whose_progress_cannot_be_read_has_a_runner_that_is_to_stop(book: JobBook, tmp_path: Path) -> None:
    entry = book.accept(_request(), most=10)
    book.write_progress(entry, Progress(runner="r"))
    (tmp_path / f".jobs/filter/progress/{entry}.json").write_text("{")
    book.cancel(id_of(entry))
    assert book.cancel_requested(entry)
    assert not book.ended(entry)


def test_a_job_that_ends_while_it_is_looked_at_does_not_seem_to_wait_again(
    book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = book.accept(_request(), most=10)
    book.write_progress(entry, Progress(runner="r"))
    ending = once("read", "progress/", lambda: book.finish(entry, _end()))
    found = _told(book, ending, monkeypatch).find(id_of(entry))
    assert found.end is not None or found.progress is not None


def test_of_a_deleted_job_nothing_is_left(book: JobBook, tmp_path: Path) -> None:
    entry = book.accept(_request(), most=10)
    book.write_progress(entry, Progress(runner="r", beat=3))
    with pytest.raises(UnfinishedError):
        book.delete(id_of(entry))
    book.finish(entry, _end())
    book.delete(id_of(entry))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    for call in (book.find, book.cancel, book.delete):
        with pytest.raises(NotFoundError):
            call(id_of(entry))


def test_what_is_left_of_a_deleted_job_is_nothing_to_the_next(book: JobBook) -> None:
    entry = book.accept(_request(), most=10)
    book.finish(entry, _end())
    book.delete(id_of(entry))
    book.finish(entry, _end())  # by a runner that did not know
    book.announce(entry)
    book.expire(entry, datetime.now(UTC))
    assert list(book.entries("")) == []
    again = book.accept(_request(), most=10)
    assert id_of(again) == id_of(entry)
    assert book.find(id_of(again)).end is None
    assert book.accepted(entry) is None
    assert book.accepted(again) is not None


def test_the_newest_is_listed_first_and_any_entry_is_a_place_to_go_on(book: JobBook) -> None:
    entries = [book.accept(_request(str(number)), most=10) for number in range(7)]
    listed = list(book.entries(""))
    assert listed == sorted(entries)
    assert sorted(book.open_entries(), reverse=True) == book.open_entries()
    after, pages = "", []
    while page := list(islice(book.entries(after), 3)):
        pages += page
        after = page[-1]
    assert pages == listed


def test_records_of_jobs_that_ended_long_ago_are_removed_and_no_others(book: JobBook, tmp_path: Path) -> None:
    names = ("old", "older", "harmed", "recent", "running", "waiting")
    entries = {name: book.accept(_request(name), most=10) for name in names}
    for name, days in (("old", 31), ("older", 400), ("harmed", 31), ("recent", 29)):
        book.finish(entries[name], _end(days_ago=days))
    (tmp_path / f".jobs/filter/ends/{entries['harmed']}.json").write_text("{")
    book.write_progress(entries["running"], Progress(runner="r"))
    for entry in book.started_before(datetime.now(UTC) + timedelta(seconds=1)):
        book.expire(entry, datetime.now(UTC) - timedelta(days=30))
    kept = {entries[name] for name in ("recent", "running", "waiting")}
    assert set(book.entries("")) == kept
    assert {ID.findall(str(path))[-1] for path in _files(tmp_path / ".jobs")} == {id_of(entry) for entry in kept}
    assert set(book.open_entries()) == {entries["running"], entries["waiting"]}
    assert book.accept(_request("old"), most=10) != entries["old"]


def test_only_what_was_started_long_ago_is_looked_at(book: JobBook) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    entries = [book.accept(_request(name), most=10) for name in ("one", "two")]
    after = datetime.now(UTC) + timedelta(milliseconds=1)
    assert list(book.started_before(before)) == []
    assert sorted(book.started_before(after)) == sorted(entries)


def _sweep(book: JobBook) -> None:
    """As if all that ended was kept long enough."""
    soon = datetime.now(UTC) + timedelta(days=1)
    for left in book.started_before(soon):
        book.expire(left, soon)


def test_what_is_written_of_a_job_after_it_was_deleted_is_removed(book: JobBook, tmp_path: Path) -> None:
    entry = book.accept(_request(), most=10)
    book.finish(entry, _end())
    book.delete(id_of(entry))
    book.write_progress(entry, Progress(runner="frozen"))
    _sweep(book)
    assert _files(tmp_path) == set()
    book.finish(entry, _end())
    _sweep(book)
    assert _files(tmp_path) == set()


def test_killed_at_any_moment_a_replica_leaves_an_open_job_or_nothing_for_ever(tmp_path: Path) -> None:
    for event in count(1):
        root = tmp_path / f"{event}"
        book = JobBook(str(root), "filter")
        status = forked(lambda root=root, book=book, event=event: (die_at(event, below=str(root)), _accept(book)))
        book.sweep()
        _sweep(book)
        for entry in book.open_entries():
            book.announce(entry)
            book.finish(entry, _end())
        _sweep(book)
        assert _files(root) == set()
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert event > 10, "each of its objects takes several events"


@pytest.mark.parametrize("event", [1, 2])  # all of its requests
def test_a_job_that_ends_while_it_is_swept_is_kept(book: JobBook, monkeypatch: pytest.MonkeyPatch, event: int) -> None:
    entry = book.accept(_request(), most=10)
    ending = at(event, lambda: book.finish(entry, _end()))
    _told(book, ending, monkeypatch).expire(entry, datetime.now(UTC) - timedelta(days=30))
    assert book.find(id_of(entry)).end is not None


def test_a_sweep_killed_at_any_moment_is_done_by_the_next(tmp_path: Path) -> None:
    for event in count(1):
        root = tmp_path / f"{event}"
        book = JobBook(str(root), "filter")
        entry = book.accept(_request(), most=10)
        book.finish(entry, _end())
        soon = datetime.now(UTC) + timedelta(days=1)
        status = forked(
            lambda root=root, event=event, book=book, entry=entry, soon=soon: (
                die_at(event, below=str(root)),
                book.expire(entry, soon),
            )
        )
        for left in book.started_before(soon):
            book.expire(left, soon)
        assert _files(root) == set()
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert event > 5, "several objects are removed"


@pytest.mark.parametrize("content", ["", "{", "null", '{"runner": 1}', "\x00"])
def test_records_that_cannot_be_read(book: JobBook, tmp_path: Path, content: str) -> None:
    entry = book.accept(_request(), most=10)
    book.write_progress(entry, Progress(runner="r"))
    folder = tmp_path / ".jobs/filter"
    (folder / f"progress/{entry}.json").write_text(content)
    assert book.progress(entry) is None
    (folder / f"requests/{id_of(entry)}.json").write_text(content)
    for call in (book.find, book.cancel):
        with pytest.raises(CorruptDataError, match="delete the operation"):
            call(id_of(entry))
    with pytest.raises(CorruptDataError):
        book.accept(_request(), most=10)
    book.delete(id_of(entry))
    with pytest.raises(NotFoundError):
        book.find(id_of(entry))


def test_other_objects_in_the_lists_are_no_jobs(book: JobBook, tmp_path: Path) -> None:
    entry = book.accept(_request(), most=10)
    for folder in ("open", "recent"):
        (tmp_path / ".jobs/filter" / folder / "note").write_text("")
    assert book.open_entries() == [entry] == list(book.entries(""))
