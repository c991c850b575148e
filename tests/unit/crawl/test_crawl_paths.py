import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.stages.crawl.entry import Refusal
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.paths import normalise, printable, refuse, repository_name


@given(st.binary())
def test_any_path_becomes_one_printable_line(path: bytes) -> None:
    text = printable(path)
    assert text.isprintable() or not text
    assert len(text.splitlines()) <= 1
    text.encode("utf-8")


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_different_paths_stay_different(first: bytes, second: bytes) -> None:
    assert (printable(first) == printable(second)) == (first == second)


@given(st.text(max_size=12), st.text(max_size=12))
def test_different_repository_names_stay_different(first: str, second: str) -> None:
    def canonical(name: str) -> str:
        return "/".join(part for part in name.split("/") if part)

    assert (repository_name(first) == repository_name(second)) == (canonical(first) == canonical(second))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"src/main.c", "src/main.c"),
        ("日本/ä b.py".encode(), "日本/ä b.py"),
        (b"a\nb", "a\\x0ab"),
        (b"latin-\xe9.c", "latin-\\xe9.c"),
        (b"back\\slash", "back\\x5cslash"),
        ("right-to-left\u202e.c".encode(), "right-to-left\\xe2\\x80\\xae.c"),
    ],
)
def test_what_cannot_be_printed_is_escaped_by_its_bytes(raw: bytes, text: str) -> None:
    assert printable(raw) == text


@pytest.mark.parametrize("path", [b"./a.c", b"a//b.c", b"a/./b.c", b".//a"])
def test_empty_components_are_left_out(path: bytes) -> None:
    assert normalise(path) == path.replace(b"./", b"").replace(b"//", b"/").lstrip(b"/")


@pytest.mark.parametrize(
    "path",
    [
        b"/etc/passwd",
        b"../a",
        b"a/../../b",
        b"..",
        b"",
        b"a/",
        b"/",
        b"a" * 2000,
        b"a/" * 100 + b"a",
    ],
)
def test_a_path_that_leaves_its_repository_or_could_act_is_refused(path: bytes) -> None:
    refusal = refuse(normalise(path), Limits())
    assert refusal is not None
    assert refusal.rule == "unsafe_path"


@pytest.mark.parametrize("path", [b".git", b".git/config", b"a/.GIT/hooks/x"])
def test_what_lies_in_a_git_folder_is_refused(path: bytes) -> None:
    assert refuse(path, Limits()) == Refusal("git_folder")


@pytest.mark.parametrize("path", [b"a..b/c", b"...", b".github/x.yml", b"a/.gitignore", b"src/x.git/y"])
def test_an_odd_but_harmless_path_is_taken(path: bytes) -> None:
    assert refuse(path, Limits()) is None
