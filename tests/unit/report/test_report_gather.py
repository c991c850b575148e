"""From datasets to the page."""

from pathlib import Path

from report.written import DOCUMENTS, DROPPED, FILES, Writer, document, dropped, file

from repoloom.corpus.dataset import Dataset
from repoloom.report import gather, write_report
from repoloom.store import open_store


def short_run(write: Writer) -> list[Dataset]:
    crawled = [file("a", "x.py", language=""), file("a", "y.py", language="")]
    kept, drops = [file("a", "x.py")], [dropped("a", "y.py", "empty")]
    return [
        write("crawl", {"files": (FILES, crawled)}, kept=("files",), entering=(2, 20)),
        write("filter", {"files": (FILES, kept), "dropped": (DROPPED, drops)}, kept=("files",), entering=(2, 20)),
    ]


def test_a_run_that_ended_early_tells_what_it_did(write: Writer) -> None:
    datasets = short_run(write)
    data = gather("short", datasets)
    assert data.digest == datasets[-1].digest
    assert data.funnel is not None
    assert data.funnel.kept.items == 1
    assert data.documents is None
    later = ("dependencies", "duplicates", "quality", "contamination", "tokens", "training", "evaluation")
    assert [getattr(data, part) for part in later] == [None] * len(later)


def test_the_last_documents_are_the_ones_that_count(write: Writer) -> None:
    early = write("order", {"documents": (DOCUMENTS, [document("a", number, ["x.py"]) for number in range(3)])})
    late = write("split", {"documents": (DOCUMENTS, [document("a", 0, ["x.py"])])})
    assert gather("r", [early, late]).documents == 1


def test_the_same_run_elsewhere_has_the_same_page(tmp_path: Path) -> None:
    pages = []
    for folder in ("one", "other"):
        store = open_store(f"{tmp_path}/{folder}")
        write_report("short", short_run(Writer(tmp_path / folder)), None, None, store, "report.html")
        pages.append(store.read("report.html"))
    assert pages[0] == pages[1]
