"""A worker serves what lies below its roots, however the address is spelled, and nothing else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.manifest import Part
from repoloom.engine.queue.roots import Roots
from repoloom.engine.task import Share, Task
from repoloom.errors import InputError


def task(root: str, *inputs: str, key: str = "a.parquet") -> Task:
    part = Part(key=key, sha256="0" * 64, bytes=1, rows=1)
    shares = {f"table{at}": Share(root=uri, parts=(part,)) for at, uri in enumerate(inputs)}
    return Task(step="probe.copy", version=1, params={}, inputs=shares, root=root)


@pytest.mark.parametrize("uri", ["s3://bucket/corpus", "s3://bucket/corpus/", "s3://bucket/corpus/run/filter"])
def test_what_lies_below_is_served(uri: str) -> None:
    Roots(addresses=("s3://bucket/corpus/",)).check(task(uri, uri))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/corpus2",
        "s3://bucket/other",
        "s3://other/corpus",
        "s3://bucket/corpus/../other",
        "s3://bucket/corpus/./x",
        "s3://bucket/corpus//x",
        "s3://bucket/corpus/%2e%2e/other",
        "s3://bucket/corpus/x?versionId=1",
        "s3://bucket/corpus\\..\\other",
        "s3://bucket/corpus/\n",
        "S3://bucket/corpus",
        "file:///bucket/corpus",
        "/bucket/corpus",
        "bucket/corpus",
        "",
        "/",
    ],
)
def test_what_lies_elsewhere_or_is_oddly_spelled_is_refused(uri: str) -> None:
    roots = Roots(addresses=("s3://bucket/corpus",))
    for leaving in (task(uri), task("s3://bucket/corpus", uri)):
        with pytest.raises(InputError):
            roots.check(leaving)


def test_a_link_out_of_a_folder_leads_nowhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    roots = Roots(addresses=(str(root),))
    roots.check(task(str(root / "new/run"), f"file://{root}/x"))
    for uri in (root / "link/x", outside, tmp_path, f"{root}2", f"{root}/../outside", f"{root}/x\0"):
        with pytest.raises(InputError):
            roots.check(task(str(uri)))


@pytest.mark.parametrize("key", ["/etc/passwd", "../x", "a/../../x", "a\0b"])
def test_a_key_that_leaves_its_dataset_is_refused(key: str) -> None:
    with pytest.raises(InputError):
        Roots(addresses=("/data",)).check(task("/data/out", "/data/in", key=key))


@given(st.text(max_size=40))
def test_whatever_an_address_holds_the_answer_is_yes_or_a_clear_no(uri: str) -> None:
    roots = Roots(addresses=("s3://bucket/corpus", "/nowhere/at/all"))
    try:
        roots.check(task(uri))
    except InputError:
        return
    assert uri.removeprefix("file://").startswith(("s3://bucket/corpus", "/nowhere"))


def test_the_environment_names_the_roots() -> None:
    named = Roots.from_environment({"REPOLOOM_STORE_ROOTS": "s3://bucket/corpus, /data"})
    assert named == Roots(addresses=("s3://bucket/corpus", "/data"))
    for wrong in ({}, {"REPOLOOM_STORE_ROOTS": " ,"}, {"REPOLOOM_STORE_ROOTS": "data"}):
        with pytest.raises(InputError):
            Roots.from_environment(wrong)
