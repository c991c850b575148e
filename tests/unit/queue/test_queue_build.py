"""The build is what the environment says, or a fingerprint of what shapes bytes."""

import pytest

from repoloom.engine.queue.build import NAME, build
from repoloom.errors import InputError

fresh = build.__wrapped__


def test_a_fingerprint_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    assert fresh() == fresh()
    assert len(fresh()) == 12


def test_another_release_of_a_library_that_writes_bytes_is_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    ours = fresh()
    monkeypatch.setattr("repoloom.engine.queue.build.version", lambda name: f"another {name}")
    assert fresh() != ours


@pytest.mark.parametrize(("said", "holds"), [("sha256-0a1b", True), ("a b", False), ("a/b", False), ("x" * 81, False)])
def test_an_image_may_say_what_it_is(monkeypatch: pytest.MonkeyPatch, said: str, holds: bool) -> None:
    monkeypatch.setenv(NAME, said)
    if holds:
        assert fresh() == said
        return
    with pytest.raises(InputError):
        fresh()
