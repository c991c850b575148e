"""The book of jobs: what is written once stays, what is deleted is forgotten, what is broken is said."""

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from repoloom.errors import ConflictError, CorruptDataError, NotFoundError, UnavailableError
from repoloom.jobs.book import ENTRY, ID, JobBook, UnfinishedError, id_of
from repoloom.jobs.records import End, JobRequest, Outcome, Progress


@pytest.fixture
def book(tmp_path: Path) -> JobBook:
    return JobBook(str(tmp_path), "filter")


def _request(request_id: str = "one", output: str = "/out") -> JobRequest:
    return JobRequest(request_id=request_id, stage="filter", output=output)


def _end(outcome: Outcome = Outcome.SUCCEEDED) -> End:
    return End(outcome=outcome, ended=datetime.now(UTC))


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


def test_a_job_is_cancelled_at_once_where_no_runner_has_begun(book: JobBook) -> None:
    waiting, running = book.accept(_request("one"), most=10), book.accept(_request("two"), most=10)
    book.write_progress(running, Progress(runner="r"))
    for entry in (waiting, running, waiting):
        book.cancel(id_of(entry))
    assert book.ended(waiting)
    assert not book.ended(running)
    assert book.cancel_requested(running)


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
