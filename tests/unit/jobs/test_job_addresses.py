"""No address that is allowed leads out of the root."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.errors import ForbiddenError
from repoloom.jobs.addresses import within

_PIECES = st.sampled_from(["data", "a", "..", ".", "", ".jobs", "x y", "%2e%2e", "\\", "\0", "~", "é"])


@given(
    st.lists(_PIECES, max_size=6),
    st.sampled_from(["/srv/root", "/srv/rootless", "/srv", "", "s3://b", "file:///srv/root"]),
)
def test_what_is_allowed_lies_below_the_root(pieces: list[str], beginning: str) -> None:
    uri = "/".join([beginning, *pieces])
    try:
        allowed = within("/srv/root", uri, "output")
    except ForbiddenError:
        return
    assert os.path.normpath(allowed) == allowed
    assert allowed == "/srv/root" or allowed.startswith("/srv/root/")
    assert not any(part.startswith(".") for part in allowed.split("/"))


@pytest.mark.parametrize("uri", ["/srv/root", "/srv/root/", "/srv/root/a/b", "file:///srv/root/a", "/srv/root/a b/é"])
def test_plain_addresses_are_allowed(uri: str) -> None:
    assert within("/srv/root", uri, "output") == uri.removeprefix("file://").removesuffix("/")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/prefix/a",
        "s3://bucket/prefix2/a",
        "s3://bucket/prefix/../a",
        "s3://bucket/prefix/.jobs/filter",
        "s3://bucket/prefix//a",
        "s3://bucket/prefix/%2e%2e/a",
        "s3://bucket",
        "s3://user:secret@bucket/prefix/a",
        "/bucket/prefix/a",
        "S3://bucket/prefix/a",
        "",
    ],
)
def test_of_a_bucket_only_the_prefix_is_allowed(uri: str) -> None:
    assert within("s3://bucket/prefix", "s3://bucket/prefix/a", "output") == "s3://bucket/prefix/a"
    with pytest.raises(ForbiddenError, match=r"^inputs\.3: "):
        within("s3://bucket/prefix", uri, "inputs.3")


def test_a_link_must_not_lead_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "data").mkdir(parents=True)
    outside.mkdir()
    (root / "in").symlink_to("data")
    (root / "out").symlink_to(outside)
    (root / "gone").symlink_to(outside / "not/there")
    assert within(str(root), f"{root}/in/new", "output") == f"{root}/in/new"
    for name in ("out", "out/new", "gone", "gone/new"):
        with pytest.raises(ForbiddenError, match="by a link"):
            within(str(root), f"{root}/{name}", "output")


def test_a_root_that_is_a_link_itself_holds_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    assert within(str(tmp_path / "root"), f"{tmp_path}/root/a", "output") == f"{tmp_path}/root/a"
