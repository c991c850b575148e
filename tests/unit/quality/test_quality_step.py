"""The quality step on tables of documents."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryReader, MemorySink

from repoloom.corpus.tables import DOCUMENTS, DROPPED
from repoloom.stages.quality import STEPS
from repoloom.stages.quality.step import SCORES, Quality, QualityParams

GOOD = b"def add(first, second):\n    return first + second\n"
BROKEN = b"$$$ )( ??? !!! def =\n"
EMPTY_OF_CODE = b"# one word and another\n" * 9 + b"#"

File = tuple[str, str, bytes]
Tables = dict[str, pa.Table]


def documents(*files_of: list[File]) -> pa.Table:
    rows = []
    for number, files in enumerate(files_of):
        text, spans = b"", []
        for path, language, content in files:
            head = len(text)
            text += f"# {path}\n".encode()
            start = len(text)
            text += content
            spans.append(
                {
                    "path": path,
                    "language": language,
                    "blob": "b",
                    "sha256": "s",
                    "size": len(content),
                    "head": head,
                    "start": start,
                    "end": len(text),
                }
            )
            text += b"\n"
        rows.append(
            {
                "repo": "r",
                "revision": "v",
                "document": number,
                "domain": "code",
                "license": "",
                "text": text,
                "spans": spans,
            }
        )
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def run(table: pa.Table, params: QualityParams | None = None, batch_rows: int = 3) -> Tables:
    sink = MemorySink()
    Quality(params or QualityParams()).run({"documents": MemoryReader(table, batch_rows)}, sink)
    return {name: sink.table(name).combine_chunks() for name in Quality.writes}


def test_the_stage_is_one_step() -> None:
    assert (Quality,) == STEPS


def test_a_file_that_does_not_parse_leaves_its_document() -> None:
    tables = run(documents([("a.py", "Python", GOOD), ("b.py", "Python", BROKEN), ("c.py", "Python", GOOD)]))
    assert tables["documents"]["text"].to_pylist() == [b"# a.py\n" + GOOD + b"\n# c.py\n" + GOOD + b"\n"]
    (dropped,) = tables["dropped"].to_pylist()
    assert (dropped["path"], dropped["rule"], dropped["threshold"]) == ("b.py", "syntax", 0.1)
    assert dropped["value"] > 0.1
    assert dropped["size"] == len(BROKEN)


def test_a_file_that_hardly_is_code_is_dropped_with_the_reason() -> None:
    (dropped,) = run(documents([("a.py", "Python", EMPTY_OF_CODE)]))["dropped"].to_pylist()
    assert (dropped["rule"], dropped["value"], dropped["threshold"]) == ("score", 0.0, 0.2)
    assert dropped["detail"] == "comments 1"


def test_a_document_without_files_left_vanishes() -> None:
    tables = run(documents([("a.py", "Python", BROKEN)], [("b.py", "Python", GOOD)]))
    assert tables["documents"]["document"].to_pylist() == [1]


def test_what_cannot_be_parsed_is_of_unknown_syntax_and_stays() -> None:
    large = b"".join(b"name_%d = other_%d\n\n" % (n, n) for n in range(9000)) + BROKEN
    files = [("a.st", "Smalltalk", GOOD), ("b.md", "Markdown", BROKEN), ("c.py", "Python", large)]
    tables = run(documents(files))
    assert tables["dropped"].num_rows == 0
    assert tables["scores"]["syntax"].to_pylist() == ["unknown"] * 3
    assert tables["scores"]["error_share"].to_pylist() == [None] * 3


def test_a_file_that_the_parser_gives_up_is_invalid() -> None:
    tables = run(documents([("a.yml", "YAML", b"- " * 60_000), ("b.yml", "YAML", b"a: 1\n")]))
    (dropped,) = tables["dropped"].to_pylist()
    assert (dropped["rule"], dropped["value"], dropped["detail"]) == ("syntax", None, "the parser gave up")
    assert tables["scores"]["syntax"].to_pylist() == ["invalid", "valid"]


def test_each_file_has_its_row_in_scores_whether_it_stays_or_not() -> None:
    tables = run(documents([("a.py", "Python", GOOD), ("b.py", "Python", BROKEN)], [("c.py", "Python", EMPTY_OF_CODE)]))
    assert tables["scores"]["path"].to_pylist() == ["a.py", "b.py", "c.py"]
    assert tables["scores"]["syntax"].to_pylist() == ["valid", "invalid", "valid"]
    assert tables["scores"]["score"].to_pylist()[::2] == [1.0, 0.0]


def test_thresholds_are_parameters() -> None:
    table = documents([("b.py", "Python", BROKEN), ("c.py", "Python", EMPTY_OF_CODE)])
    assert run(table, QualityParams(max_error_share=1, min_score=0))["dropped"].num_rows == 0


FILES = st.tuples(
    st.sampled_from(["a.py", "b.py"]), st.just("Python"), st.sampled_from([GOOD, BROKEN, EMPTY_OF_CODE, b"", b"x\n"])
)


@settings(max_examples=20)
@given(st.lists(st.lists(FILES, min_size=1, max_size=3), min_size=1, max_size=4), st.integers(1, 3))
def test_the_ledger_balances_and_batches_do_not_matter(files_of: list[list[File]], batch_rows: int) -> None:
    table = documents(*files_of)
    tables = run(table, batch_rows=batch_rows)
    assert tables["documents"].schema == DOCUMENTS
    assert tables["dropped"].schema == DROPPED
    assert tables["scores"].schema == SCORES
    kept = [span["size"] for spans in tables["documents"]["spans"].to_pylist() for span in spans]
    entering = [len(content) for files in files_of for *_, content in files]
    assert sorted(kept + tables["dropped"]["size"].to_pylist()) == sorted(entering)
    assert run(table, batch_rows=100) == tables
