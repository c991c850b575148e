from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from repoloom.errors import InputError
from repoloom.rpc.callers import Caller, CallersFile, certificate_names, new_caller

_part = st.sampled_from(["filter", "dedup", "online", "batch"])
_scope = st.one_of(st.just("*"), st.builds("{}:{}".format, _part, _part | st.just("*")))


@given(st.lists(_scope), _part, _part)
def test_a_caller_may_what_one_of_its_scopes_covers(scopes: list[str], service: str, face: str) -> None:
    caller = Caller(name="x", scopes=tuple(scopes), token="sha256:" + "0" * 64)
    wanted = any(scope in ("*", f"{service}:*", f"{service}:{face}") for scope in scopes)
    assert caller.may(f"{service}:{face}") is wanted


def test_a_new_entry_lets_its_token_in_and_does_not_hold_it(tmp_path: Path) -> None:
    file = tmp_path / "callers.yaml"
    token, entry = new_caller("ci", ["filter:online"], datetime(2999, 1, 1, tzinfo=UTC))
    other, other_entry = new_caller("ops", ["*"])
    file.write_text(entry + other_entry)
    callers = CallersFile(file)
    found = callers.find([("authorization", f"Bearer {token}")], {})
    assert found is not None
    assert (found.name, found.scopes) == ("ci", ("filter:online",))
    assert token.startswith("loom_")
    assert token not in file.read_text()
    assert token != other


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("", ["*"]), ("a b", ["*"]), ("x" * 65, ["*"]), ("x", ["filter"]), ("x", ["a:b:c"]), ("x", ["*:*"])],
)
def test_an_entry_that_could_not_be_read_is_not_made(name: str, scopes: list[str]) -> None:
    with pytest.raises(InputError, match="caller"):
        new_caller(name, scopes)


@pytest.mark.parametrize(
    "text",
    [
        "just text",
        "- name: [",
        "- {name: x, scopes: ['*']}",
        "- {name: x, scopes: ['*'], token: hunter2-hunter2}",
        "- {name: x, scopes: ['*'], token: 'sha256:00', certificate: y}",
        "- {name: x, scopes: ['*'], certificate: y, more: z}",
        "- {name: x, scopes: ['*'], certificate: y, expires: 2030-01-01T00:00:00}",
    ],
)
def test_a_file_that_is_no_list_of_callers_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "callers.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"callers\.yaml") as caught:
        CallersFile(file)
    assert "hunter2" not in str(caught.value)


def test_an_empty_file_lets_nobody_in(tmp_path: Path) -> None:
    file = tmp_path / "callers.yaml"
    file.write_text("")
    assert CallersFile(file).find([("authorization", "Bearer x")], {}) is None


def test_a_common_name_counts_only_without_alternative_names() -> None:
    assert certificate_names({"x509_common_name": [b"a"]}) == {"a"}
    named = {"x509_common_name": [b"a"], "x509_subject_alternative_name": [b"b", b"c"]}
    assert certificate_names(named) == {"b", "c"}
    assert certificate_names({}) == frozenset()


def test_an_entry_is_ordinary_yaml() -> None:
    _, entry = new_caller("ci", ["filter:*"])
    (listed,) = yaml.safe_load(entry)
    assert listed["name"] == "ci"
    assert listed["scopes"] == ["filter:*"]
    assert listed["token"].startswith("sha256:")
