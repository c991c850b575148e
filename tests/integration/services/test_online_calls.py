"""What a service answers online is what the stage writes in a batch."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from unittest.mock import Mock

import pyarrow as pa
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoloom import client
from repoloom.corpus.tables import FILES
from repoloom.engine.step import Params, Step
from repoloom.errors import ForbiddenError, InputError, TooLargeError
from repoloom.protos.corpus.v1.corpus_pb2 import Document, Dropped, File
from repoloom.protos.decontaminator.v1.decontaminator_pb2 import BenchmarkText, Hit
from repoloom.protos.deduper.v1.deduper_pb2 import Alarm, ClusterMember
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2 import Cycle, Edge
from repoloom.rpc.errors import OverloadedError
from repoloom.rpc.stream import MemoryReader
from repoloom.rpc.tables import messages, raw_files, single_file_documents
from repoloom.stages.decontaminate.formats import read_texts
from repoloom.stages.filter.step import Filter, FilterParams
from repoloom.stages.order.step import Order, OrderParams
from repoloom.stages.quality.step import Quality, QualityParams
from repoloom.stages.tokenize.vocabulary import train
from repoloom_services import decontaminator, resources
from repoloom_services import tokenizer as tokenizer_service

Serve = Callable[..., str]

PYTHON = b"import os\n\n\ndef answer() -> int:\n    return len(os.sep) + 41\n"


class Rows:
    """A sink in memory."""

    def __init__(self) -> None:
        self.tables: dict[str, list[pa.RecordBatch]] = {}

    def write(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
        self.tables.setdefault(table, []).extend(rows.to_batches() if isinstance(rows, pa.Table) else [rows])

    def roll(self, table: str) -> None: ...

    def enter(self, files: int, size: int) -> None: ...

    def blob(self, table: str, name: str, content: bytes | memoryview, rows: int) -> None:
        raise NotImplementedError


def batch(step: Step[Params], **tables: pa.Table) -> dict[str, list[pa.RecordBatch]]:
    """What a step writes."""
    rows = Rows()
    step.run({name: MemoryReader(table) for name, table in tables.items()}, rows)
    return rows.tables


def of(tables: Mapping[str, Iterable[pa.RecordBatch]], table: str, kind: type[Message]) -> list[Message]:
    """The rows of a table as messages."""
    return [message for rows in tables.get(table, ()) for message in messages(rows, kind)]


def repository(repo: str = "a/b") -> list[File]:
    """Files of one repository, one of which imports another."""
    sources = {
        "pkg/__init__.py": b"",
        "pkg/low.py": PYTHON,
        "pkg/high.py": b"from pkg import low\n\n\ndef ask() -> int:\n    return low.answer()\n",
        "README.md": b"# Title\n\nSome words about the package.\n",
    }
    return [
        File(repo=repo, path=path, language="Markdown" if path.endswith("md") else "Python", content=content)
        for path, content in sources.items()
    ]


CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from([PYTHON, b"x = 1\n", b"\0", b"a" * 2000, b"# " + b"word " * 30]),
)
PATHS = st.sampled_from(["a.py", "b/c.ts", "node_modules/x.js", "d.json", "README.md", "noextension", "e.h", "f.xml"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given=st.lists(st.tuples(st.integers(0, 3), PATHS, CONTENTS), max_size=30))
def test_the_filter_says_online_what_it_says_in_a_batch(
    filter_address: str, given: list[tuple[int, str, bytes]]
) -> None:
    files = [File(repo=f"repo/{repo}", path=path, content=content) for repo, path, content in sorted(given)]
    expected = batch(Filter(FilterParams()), files=pa.Table.from_batches([raw_files(files)]))

    with client.Filter(filter_address) as chosen:
        answers = list(chosen.files(files))

    assert [row for row in answers if isinstance(row, File)] == of(expected, "files", File)
    assert [row for row in answers if isinstance(row, Dropped)] == of(expected, "dropped", Dropped)


@pytest.fixture
def filter_address(serve: Serve) -> str:
    return serve()


def test_the_sorter_lays_dependencies_first(serve: Serve) -> None:
    files = [*repository("a/one"), *repository("a/two")]
    with client.DependencySorter(serve()) as sorter:
        answers = list(sorter.sort(files))

    expected = batch(Order(OrderParams()), files=pa.Table.from_batches([raw_files(files)], FILES))
    assert [row for row in answers if isinstance(row, Document)] == of(expected, "documents", Document)
    assert [row for row in answers if isinstance(row, Edge)] == of(expected, "edges", Edge)
    assert [row for row in answers if isinstance(row, Cycle)] == of(expected, "cycles", Cycle)
    document = next(row for row in answers if isinstance(row, Document) and len(row.spans) > 1)
    paths = [span.path for span in document.spans]
    assert paths.index("pkg/low.py") < paths.index("pkg/high.py")


def test_the_scorer_scores_every_file_in_order(serve: Serve) -> None:
    files = [file for file in repository() if file.content]
    with client.QualityScorer(serve()) as scorer:
        scores = list(scorer.score(files, max_error_share=0.5))

    assert [score.path for score in scores] == [file.path for file in files]
    documents = pa.Table.from_batches([single_file_documents(files)])
    assert scores == of(
        batch(Quality(QualityParams(max_error_share=0.5)), documents=documents), "scores", type(scores[0])
    )


def test_the_decontaminator_finds_texts_of_the_caller_and_benchmarks_of_its_own(serve: Serve, tmp_path: Path) -> None:
    words = "the quick brown fox jumps over the lazy dog and runs away from here"
    (tmp_path / "exam.jsonl").write_text(json.dumps({"task_id": "exam/0", "prompt": words}) + "\n")
    hit = File(repo="a/b", path="copy.py", language="Python", content=f"# {words}\n".encode())
    clean = File(repo="a/b", path="own.py", language="Python", content=PYTHON)
    text = BenchmarkText(benchmark="mine", item="0", field="prompt", text=words.encode())

    with client.Decontaminator(serve(benchmarks=tmp_path)) as service:
        for given in ({"texts": [text]}, {"benchmarks": ["exam"]}):
            rows = list(service.find([hit, clean], **given))
            assert {row.path for row in rows if isinstance(row, Hit)} == {"copy.py"}
            assert {row.path for row in rows if isinstance(row, Dropped)} == {"copy.py"}
        for name in ("nothing", "../exam", "exam/../exam", ""):
            with pytest.raises(InputError, match="there are: exam"):
                list(service.find([clean], benchmarks=[name]))


def test_a_benchmark_is_read_once_and_again_when_it_changes(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Mock(side_effect=read_texts)
    monkeypatch.setattr(decontaminator, "read_texts", read)
    exam = tmp_path / "exam.jsonl"
    files = [File(repo="a/b", path="own.py", language="Python", content=PYTHON)]
    with client.Decontaminator(serve(benchmarks=tmp_path)) as service:
        for prompt in ("the quick brown fox jumps over the lazy dog", "and runs away from here as fast as it can"):
            exam.write_text(json.dumps({"task_id": "exam/0", "prompt": prompt}) + "\n")
            for _ in range(3):
                assert not list(service.find(files, benchmarks=["exam"]))
    assert read.call_count == 2


def test_near_duplicates_are_found_among_the_repositories_of_a_stream(serve: Serve) -> None:
    lines = "".join(f"value_{number} = compute_{number}(value_{number - 1})\n" for number in range(1, 300))
    texts = {"a/long": lines + "end = 1\n", "b/short": lines, "c/other": PYTHON.decode() * 5}
    documents = [
        Document(repo=repo, text=text.encode(), spans=[{"path": "f.py", "language": "Python", "end": len(text)}])
        for repo, text in texts.items()
    ]
    with client.Deduper(serve()) as deduper:
        signatures = list(deduper.sign(documents))
        rows = list(deduper.deduplicate(documents))

    assert [signature.repo for signature in signatures] == list(texts)
    assert all(len(signature.sketch) for signature in signatures)
    members = [(row.repo, row.survivor) for row in rows if isinstance(row, ClusterMember)]
    assert members == [("a/long", "a/long"), ("b/short", "a/long")]
    assert [alarm.source for alarm in rows if isinstance(alarm, Alarm)] == ["b"]


def test_the_tokenizer_encodes_and_decodes_and_cuts_documents(serve: Serve) -> None:
    tokenizer = train(iter([PYTHON.decode()] * 20), 400).to_str().encode()
    texts = [PYTHON.decode(), "", "ümläut\n"]
    text = PYTHON * 20
    document = Document(repo="a/b", text=text, spans=[{"path": "f.py", "language": "Python", "end": len(text)}])
    with client.Tokenizer(serve()) as tokens:
        ids = list(tokens.encode(texts, tokenizer))
        assert list(tokens.decode(ids, tokenizer)) == texts
        pieces = list(tokens.encode_documents([document], tokenizer, sequence_length=64))
        assert all(piece.size <= 64 and len(piece.tokens) == 2 * piece.size for piece in pieces)
        with pytest.raises(InputError, match="not a tokenizer"):
            list(tokens.encode(texts, b"{}"))
        with pytest.raises(InputError, match="is not below"):
            list(tokens.encode(texts, ""))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (File(repo="a", path="p", language="Python", content=b"\xff"), "not UTF-8"),
        (File(repo="a", path="p", language="Python", content=b"\0"), "NUL"),
        (File(repo="a", path="p", language="Pyhton", content=b""), "no language 'Pyhton'"),
        (File(path="p", language="Python"), "name of its repository"),
        (File(repo="a", language="Python"), "path"),
        (File(repo="a", path="p", language="Python", size=-1), "below 0"),
    ],
)
def test_a_file_that_a_step_cannot_read_is_refused_by_name(serve: Serve, file: File, said: str) -> None:
    with client.DependencySorter(serve()) as sorter, pytest.raises(InputError, match=said):
        list(sorter.sort([file]))


@pytest.mark.parametrize(
    "span",
    [
        {"end": 9},
        {"start": -1},
        {"head": 3, "start": 2, "end": 4},
        {"start": 3, "end": 2},
        {"end": 2, "size": -5},
    ],
)
def test_spans_outside_of_their_text_are_refused(serve: Serve, span: dict[str, int]) -> None:
    document = Document(repo="a", text=b"12345678", spans=[{"path": "p", "language": "Python", **span}])
    with client.Deduper(serve()) as deduper, pytest.raises(InputError, match="span of 'p'"):
        list(deduper.sign([document]))


def test_parameters_are_checked_and_only_taken_from_the_first_message(serve: Serve) -> None:
    with client.Filter(serve()) as chosen:
        with pytest.raises(InputError, match=r"parameters\.max_line_lenght"):
            list(chosen.files([], max_line_lenght=3))
        with pytest.raises(InputError, match=r"parameters\.max_line_length"):
            list(chosen.files([], max_line_length="long"))


def test_a_repository_that_comes_apart_is_refused(serve: Serve) -> None:
    files = [File(repo=repo, path="p.py", language="Python", content=PYTHON) for repo in ("a", "b", "a")]
    with client.DependencySorter(serve()) as sorter, pytest.raises(InputError, match="rows of a came apart"):
        list(sorter.sort(files))


def test_a_repository_beyond_the_limit_of_a_stream_is_refused(serve: Serve) -> None:
    files = (File(repo="a", path=f"{number}.py", language="Python", content=b"x") for number in range(100_001))
    with client.DependencySorter(serve()) as sorter, pytest.raises(TooLargeError, match="more than 100000 rows"):
        list(sorter.sort(files))


def test_streams_hold_together_no_more_than_they_may(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "HELD_BYTES", 1 << 20)
    large = File(repo="b", path="a.py", language="Python", content=b"x = 1\n" * 100_000)
    over = threading.Event()

    def held() -> Iterator[File]:
        yield from [*repository("a"), large]
        over.wait(60)

    with client.DependencySorter(serve()) as sorter:
        answers = sorter.sort(held())
        next(answers)  # about the first repository: the second is held
        with pytest.raises(OverloadedError, match="of 1048576 that they may"):
            list(sorter.sort([large]))
        over.set()
        assert list(answers)
        assert list(sorter.sort([large]))


def test_a_text_that_is_encoded_takes_as_much_as_the_encoder_may_need(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "HELD_BYTES", 1 << 20)
    monkeypatch.setattr(tokenizer_service, "_TOKENIZER_BYTES", 0)
    tokenizer = train(iter([PYTHON.decode()] * 20), 400).to_str().encode()

    def document(number: int, size: int) -> Document:
        return Document(repo=f"a/{number}", text=b"x" * size, spans=[{"path": "p", "language": "Python", "end": size}])

    with client.Tokenizer(serve()) as service:
        assert len(list(service.encode(["x" * 20_000] * 9, tokenizer=tokenizer))) == 9
        assert list(service.encode_documents([document(number, 20_000) for number in range(9)], tokenizer=tokenizer))
        with pytest.raises(TooLargeError, match="a call may hold 1048576 bytes"):
            list(service.encode(["x" * 40_000], tokenizer=tokenizer))
        with pytest.raises(TooLargeError, match="a call may hold 1048576 bytes"):
            list(service.encode_documents([document(0, 40_000)], tokenizer=tokenizer))


def test_a_tokenizer_of_long_tokens_makes_no_text_beyond_a_message(serve: Serve) -> None:
    described = json.loads(train(iter([PYTHON.decode()] * 20), 400).to_str())
    vocabulary = described["model"]["vocab"]
    vocabulary["a" * (1 << 20)] = number = vocabulary.pop("ÿ")
    described["model"]["merges"] = []
    with client.Tokenizer(serve()) as service:
        tokenizer = json.dumps(described).encode()
        assert list(map(len, service.decode([[number] * 15], tokenizer))) == [15 << 20]
        with pytest.raises(TooLargeError, match="the texts of a message have 17825792 bytes"):
            list(service.decode([[number] * 17], tokenizer))


def test_a_tokenizer_takes_room_once_however_many_use_it_and_as_long_as_any_does(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "HELD_BYTES", 300 << 20)
    tokenizer = train(iter([PYTHON.decode()] * 20), 400).to_str().encode()
    over = threading.Event()

    def texts() -> Iterator[str]:
        yield "x = 1\n" * 400_000  # a message of its own
        over.wait(60)

    with client.Tokenizer(serve()) as service:
        answers = service.encode(texts(), tokenizer=tokenizer)
        next(answers)
        assert list(service.encode(["y"], tokenizer=tokenizer))
        for another in (tokenizer + b" ", tokenizer + b"\n"):
            with pytest.raises(OverloadedError, match="of 314572800 that they may"):
                list(service.encode(["y"], tokenizer=another))
            with pytest.raises(OverloadedError, match="of 314572800 that they may"):
                list(service.encode_documents([Document(repo="a", text=b"y")], tokenizer=another))
        over.set()
        assert not list(answers)
        assert list(service.encode(["y"], tokenizer=tokenizer + b" "))


def test_what_the_callers_own_rows_raise_is_raised(serve: Serve) -> None:
    def files() -> Iterable[File]:
        yield from repository()
        raise KeyError("mine")

    with client.DependencySorter(serve()) as sorter, pytest.raises(KeyError, match="mine"):
        list(sorter.sort(files()))


def test_a_local_folder_is_read_only_where_that_is_allowed(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "b.py").write_bytes(PYTHON)
    (tmp_path / "project/a.py").write_bytes(PYTHON)
    with client.Crawler(serve()) as crawler:
        rows = list(crawler.crawl({"kind": "folder", "path": str(tmp_path / "project"), "repo": "mine"}))
        assert [row.path for row in rows if isinstance(row, File)] == ["a.py"]
        with pytest.raises(InputError, match="not a source"):
            list(crawler.crawl({"kind": "floppy"}))
        with pytest.raises(TooLargeError, match="max_files"):
            list(crawler.crawl({"kind": "folder", "path": str(tmp_path), "repo": "all"}, max_files=1))
        monkeypatch.setenv("REPOLOOM_CRAWL_ALLOW", "")
        with pytest.raises(ForbiddenError, match="local-files"):
            list(crawler.crawl({"kind": "folder", "path": str(tmp_path / "project"), "repo": "mine"}))
