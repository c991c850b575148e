"""How much of a file its grammar cannot read."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repoloom.corpus.languages import LANGUAGES
from repoloom.stages.quality import parsing
from repoloom.stages.quality.isolated import error_shares
from repoloom.stages.quality.parsing import Limits
from repoloom.stages.quality.syntax import error_share, grammar_of, parser

GRAMMARS = sorted({language.grammar for language in LANGUAGES if language.grammar})


def test_no_grammar_is_used_that_reads_other_trees_in_other_processes() -> None:
    assert "cmake" not in GRAMMARS  # `@A@` at the start of a line: 28 nodes under one build of Python, 6 under another


@pytest.mark.parametrize("path", ["x.tsx", "x.mli", "x.fsi"])
def test_kinds_of_files_have_grammars_of_their_own(path: str) -> None:
    grammar = grammar_of(path, "TypeScript")
    assert grammar is not None
    assert grammar != "typescript"
    assert parser(grammar)


def test_a_language_without_grammar_has_none() -> None:
    assert grammar_of("a.py", "Python") == "python"
    assert grammar_of("a.st", "Smalltalk") is None


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        ("python", b"def f(x):\n    return x\n"),
        ("c", b"int main(void) { return 0; }\n"),
        ("java", b"class A { int f() { return 1; } }\n"),
        ("go", b"package a\n\nfunc F() int { return 1 }\n"),
        ("tsx", b"const a = <p>{1}</p>;\n"),
        ("json", b'{"a": [1, 2]}\n'),
        ("python", b""),
    ],
)
def test_what_is_read_whole_has_no_errors(grammar: str, text: bytes) -> None:
    assert error_share(text, grammar) == 0


@pytest.mark.parametrize(
    ("grammar", "text", "bytes_in_error"),
    [
        ("python", b"x = 1\n$\n", 1),
        ("python", b"x = 1\n$$$ y = 2\n", 3),
        ("c", b"int f(void) { return 0 }\n", 1),  # the missing semicolon
    ],
)
def test_the_share_is_of_bytes_in_no_construct(grammar: str, text: bytes, bytes_in_error: int) -> None:
    assert error_share(text, grammar) == bytes_in_error / len(text)


def test_functions_inside_an_unclosed_brace_are_still_read() -> None:
    functions = b"int f(void) { return 0; }\n" * 100
    share = error_share(b"struct x {{{ (\n" + functions, "c")
    assert share is not None
    assert 0 < share < 0.1


def test_another_language_is_nearly_all_error() -> None:
    prose = b"This is, you see: no code! It's what people write; they don't (ever) mean it so.\n" * 9
    share = error_share(prose, "java")
    assert share is not None
    assert share > 0.3


@example(b"<(", "c")  # more tokens are missed than it has bytes
@given(st.binary(max_size=200), st.sampled_from(["python", "c", "json", "javascript"]))
def test_any_bytes_have_a_share(text: bytes, grammar: str) -> None:
    share = error_share(text, grammar)
    assert share is not None
    assert 0 <= share <= 1


@pytest.mark.parametrize("unit", [b"(", b"[", b"{", b"f(", b"<div>", b"if (x) {\n"])
@pytest.mark.parametrize("grammar", ["python", "c", "javascript", "html"])
def test_deep_nesting_costs_no_stack(grammar: str, unit: bytes) -> None:
    share = error_share(unit * (30_000 // len(unit)), grammar)
    assert share is None or share >= 0


@pytest.mark.parametrize(("grammar", "unit"), [("dart", b"["), ("bash", b"<"), ("erlang", b'"')])
def test_a_file_that_is_read_over_and_over_is_given_up(grammar: str, unit: bytes) -> None:
    assert error_share(unit * 100_000, grammar) is None


def test_many_files_are_read_as_each_alone() -> None:
    files = [(b"x = 1\n", "python"), (b"int x = ;", "c"), (b"{", "json"), (b"x = $\n", "python")]
    assert error_shares(files) == [error_share(*file) for file in files]
    assert error_shares([]) == []


def test_a_grammar_that_dies_takes_only_its_file_with_it() -> None:
    deadly = (b"- " * 65_536, "yaml")
    assert error_shares([(b"a: 1\n", "yaml"), deadly, (b"b: 2\n", "yaml"), deadly]) == [0.0, None, 0.0, None]


def test_a_grammar_that_takes_all_memory_dies_alone() -> None:
    files = [(b"f(" * 65_536, "c"), (b"int x;\n", "c")]
    assert error_shares(files, Limits(memory=16 << 20)) == [None, 0.0]


def test_a_grammar_that_never_ends_is_ended() -> None:
    files = [(b"<<E\n" * 32_768, "haskell"), (b"x = 1\n", "haskell")]
    assert error_shares(files, Limits(seconds=1)) == [None, 0.0]


def test_a_child_ended_from_outside_is_an_error() -> None:
    before = psutil.Process().children()

    def kill() -> None:
        while not (born := [child for child in psutil.Process().children() if child not in before]):
            time.sleep(0.01)
        born[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ChildProcessError, match="ended with status -9"):
        error_shares([(b"<<E\n" * 32_768, "haskell")], Limits(seconds=30))
    killer.join()


def test_a_child_that_died_while_it_was_not_needed_is_replaced() -> None:
    assert error_shares([(b"x = 1\n", "python")]) == [0.0]
    assert _parsers()
    for child in _parsers():
        child.kill()
        child.wait()
    assert error_shares([(b"x = 1\n", "python")]) == [0.0]


def test_a_grammar_is_not_told_what_opens_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for child in _parsers():
        child.kill()
        child.wait()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert error_shares([(b"x = 1\n", "python")]) == [0.0]
    [child] = _parsers()
    assert "AWS_SECRET_ACCESS_KEY" not in child.environ()


def test_a_fault_of_our_own_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ChildProcessError, match="ended with status 1"):
        error_shares([(b"x", "no such grammar")], Limits(seconds=59))  # a child that nobody had before
    assert "no such grammar" in capfd.readouterr().err


def test_threads_ask_at_once() -> None:
    files = [(b"x = 1\n", "python"), (b"x = $\n", "python")] * 50
    expected = error_shares(files)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(error_shares, [files] * 8)) == [expected] * 8


def _parsers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if parsing.__name__ in child.cmdline()]
