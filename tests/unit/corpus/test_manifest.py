import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from repoloom.corpus.ledger import Count, Ledger
from repoloom.corpus.manifest import Cut, Listing, Manifest, Quarantined, canonical_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda values: st.lists(values) | st.dictionaries(st.text(st.characters(codec="utf-8")), values),
    max_leaves=5,
)


def _quarantined(task: str, error: str = "it failed") -> Quarantined:
    return Quarantined(task=task, inputs={"files": ("a",)}, at="repo", kind="error", error=error, attempts=3)


MANIFEST = Manifest(
    step="filter",
    version=1,
    params={"a": 1, "b": [2.5, None]},
    inputs={"files": "sha256:0"},
    tables={"files": Listing(sha256="1" * 64, parts=1, bytes=10, rows=2)},
    ledger=Ledger(entering=Count(items=1, size=2), kept={"files": {"C": Count(items=1, size=2)}}),
    cut=Cut(task_bytes=1, tasks=3),
    quarantined=(_quarantined("t1"), _quarantined("t2")),
)


@given(JSON)
def test_canonical_json_is_json_of_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON), st.randoms(use_true_random=False))
def test_canonical_json_knows_no_order_of_keys(value: dict[str, object], random: Random) -> None:
    shuffled = dict(random.sample(list(value.items()), len(value)))
    assert canonical_json(shuffled) == canonical_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_canonical_json_refuses_what_is_no_json(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


def test_the_digest_of_a_manifest_survives_being_stored() -> None:
    assert Manifest.model_validate_json(MANIFEST.model_dump_json(indent=1)).digest() == MANIFEST.digest()


def test_how_a_task_failed_is_no_part_of_the_digest() -> None:
    other = tuple(
        failure.model_copy(update={"error": "0x7f", "at": "", "kind": "crash", "attempts": 9})
        for failure in MANIFEST.quarantined
    )
    assert MANIFEST.model_copy(update={"quarantined": other}).digest() == MANIFEST.digest()


def test_how_work_was_cut_is_no_part_of_the_digest() -> None:
    assert MANIFEST.model_copy(update={"cut": Cut(task_bytes=2, tasks=9)}).digest() == MANIFEST.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"step": "filter2"},
        {"version": 2},
        {"params": {"a": 1, "b": [2.5]}},
        {"inputs": {"files": "sha256:1"}},
        {"inputs": {"documents": "sha256:0"}},
        {"tables": {}},
        {"tables": {"files": MANIFEST.tables["files"].model_copy(update={"sha256": "2" * 64})}},
        {"ledger": Ledger()},
        {"quarantined": (_quarantined("t1"),)},
        {"quarantined": (_quarantined("t2"), _quarantined("t1"))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_else_is_part_of_the_digest(change: dict[str, object]) -> None:
    assert MANIFEST.model_copy(update=change).digest() != MANIFEST.digest()


def test_a_manifest_with_keys_of_another_age_is_refused() -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate({**MANIFEST.model_dump(), "made_at": "now"})
