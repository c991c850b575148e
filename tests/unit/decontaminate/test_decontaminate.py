import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from repoloom.errors import InputError
from repoloom.stages.decontaminate.benchmarks import BenchmarkSource, pin
from repoloom.stages.decontaminate.step import BenchmarkWords
from repoloom.stages.decontaminate.tables import BENCHMARKS

PROBLEM = (
    b'def has_close_elements(numbers, threshold):\n    """Check if any two numbers are closer than threshold."""\n'
)
SHORT = b"return number % 1.0"
CLEAN = b"import os\n\nprint(os.getcwd())\n"


def benchmark_source(name: str, path: Path, fields: Iterable[str] = ()) -> BenchmarkSource:
    return pin(BenchmarkSource(name=name, path=str(path), fields=tuple(fields)))


def test_a_contaminated_file_is_cut_out_and_the_rest_of_its_document_stays(decontaminate: Callable) -> None:
    files = {"a.py": CLEAN, "leak.py": b"x = 1\n" + PROBLEM, "z.py": CLEAN + CLEAN}
    result = decontaminate([PROBLEM], {"other.py": CLEAN}, files, {"only.py": PROBLEM}, {"last.py": CLEAN})
    assert result.kept_paths == {"other.py", "a.py", "z.py", "last.py"}
    assert result.dropped_paths == {"leak.py", "only.py"}
    assert [document["repo"] for document in result.documents] == ["git/0", "git/1", "git/3"]
    for document in result.documents:
        for span in document["spans"]:
            assert document["text"][span["start"] : span["end"]] in (CLEAN, CLEAN + CLEAN)
            assert document["text"][span["head"] : span["start"]] == f"# {span['path']}\n".encode()


def test_a_drop_names_benchmark_item_and_words(decontaminate: Callable) -> None:
    result = decontaminate(
        [b"nothing like it at all", PROBLEM, SHORT], {"leak.py": PROBLEM, "short.py": b"f: " + SHORT}
    )
    long, short = result.dropped
    assert (long["repo"], long["path"], long["rule"], long["value"]) == ("git/0", "leak.py", "benchmark_10gram", 1)
    assert long["detail"].startswith("b 1 text: def has_close_elements(numbers, threshold): ")
    assert long["excerpt"] == PROBLEM.decode()
    assert long["size"] == len(PROBLEM)
    assert (short["path"], short["rule"]) == ("short.py", "benchmark_short")
    assert short["detail"] == "b 2 text: return number % 1.0"
    assert [(hit["path"], hit["item"]) for hit in result.hits] == [("leak.py", "1"), ("short.py", "2")]


def test_without_benchmarks_everything_stays(decontaminate: Callable) -> None:
    result = decontaminate([], {"a.py": PROBLEM}, {"b.py": CLEAN})
    assert result.kept_paths == {"a.py", "b.py"}
    assert not result.dropped


def test_texts_of_no_documents_are_looked_through_by_the_same_rules() -> None:
    rows = [
        {"benchmark": "b", "item": str(n), "field": "text", "text": text} for n, text in enumerate((PROBLEM, SHORT))
    ]
    words = BenchmarkWords(pa.Table.from_pylist(rows, BENCHMARKS))
    found = words.shared([CLEAN, b"f: " + SHORT, b"", b"x = 1\n" + PROBLEM + SHORT])
    assert set(found) == {1, 3}
    assert found[1] == "b 1 text: return number % 1.0"
    assert found[3].startswith("b 0 text: def has_close_elements(numbers, threshold): ")
    assert BenchmarkWords(pa.Table.from_pylist([], BENCHMARKS)).shared([PROBLEM]) == {}


def test_the_path_comment_of_a_file_is_no_part_of_it(decontaminate: Callable) -> None:
    path = "one/two/three/four/five/six/seven/eight/nine/ten.py"
    assert decontaminate([path.encode()], {path: CLEAN}).kept_paths == {path}


def test_a_benchmark_is_read_from_its_file(tmp_path: Path, load: Callable) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text(json.dumps({"task_id": "T/0", "prompt": "p", "code": "c"}))
    assert load([benchmark_source("mine", path), benchmark_source("again", path, ["code"])]).to_pylist() == [
        {"benchmark": "mine", "item": "T/0", "field": "prompt", "text": b"p"},
        {"benchmark": "mine", "item": "T/0", "field": "code", "text": b"c"},
        {"benchmark": "again", "item": "T/0", "field": "code", "text": b"c"},
    ]


def test_a_benchmark_that_changed_or_is_gone_stops_the_run(tmp_path: Path, load: Callable) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text('{"prompt": "p"}')
    source = benchmark_source("mine", path)
    path.write_text('{"prompt": "q"}')
    with pytest.raises(InputError, match="mine changed"):
        load([source])
    path.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load([source])


def test_every_public_benchmark_is_read_and_finds_itself(shared: Path, load: Callable, decontaminate: Callable) -> None:
    paths = sorted(path for path in shared.rglob("*") if path.name.endswith((".json", ".jsonl", ".jsonl.gz")))
    assert len(paths) > 20
    for path in paths:
        table = load([benchmark_source(path.name, path)])
        texts: list[bytes] = table["text"].to_pylist()
        longest = max(texts, key=len)
        result = decontaminate(table, {"copy.py": b"# copied\n" + longest, "clean.py": CLEAN})
        assert result.dropped_paths == {"copy.py"}, path


def test_every_humaneval_and_mbpp_solution_is_found(shared: Path, load: Callable, decontaminate: Callable) -> None:
    sources = [
        benchmark_source("humaneval", shared / "humaneval" / "HumanEval.jsonl.gz"),
        benchmark_source("mbpp", shared / "mbpp" / "mbpp.jsonl"),
    ]
    table: pa.Table = load(sources)
    prompts = [row for row in table.to_pylist() if row["field"] in ("prompt", "code")]
    files = {f"{row['benchmark']}/{row['item']}.py": b"# mine\n" + row["text"] for row in prompts}
    assert len(files) == 164 + 974
    assert decontaminate(table, files, {"clean.py": CLEAN}).kept_paths == {"clean.py"}


def test_the_head_of_every_csharp_file_is_no_hit(shared: Path, load: Callable, decontaminate: Callable) -> None:
    table = load([benchmark_source("multipl-e", shared / "humaneval-multilingual" / "humaneval-cs.jsonl")])
    usual = (
        b"using System;\nusing System.Collections.Generic;\nusing System.Linq;\nusing System.Text;\nclass Mine { }\n"
    )
    assert decontaminate(table, {"Program.cs": usual}).kept_paths == {"Program.cs"}
