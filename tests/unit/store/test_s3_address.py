import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repoloom.errors import InputError
from repoloom.store import open_store, s3_address
from repoloom.store.s3_writer import PART_BYTES, part_bytes

KEYS = [
    "",
    ".",
    "/",
    "/a",
    "a/",
    "a//b",
    "a/./b",
    "..",
    "../x",
    "a/../x",
    "a\\b",
    "..\\x",
    "a/%2e%2e/b",
    "a\0b",
    "a\nb",
]


@pytest.mark.parametrize("key", [*KEYS, "a\x7f", "a\x85b", "a/ /b", "\udcff", "x" * 1025, "é" * 510])
def test_a_key_that_some_server_may_read_otherwise_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="is not a key of a store"):
        s3_address.object_name("prefix", key)


@given(st.text(max_size=20))
@example("a/../b")
def test_a_key_is_refused_or_names_something_below_the_prefix(key: str) -> None:
    try:
        name = s3_address.object_name("prefix", key)
    except InputError:
        return
    assert name == f"prefix/{key}"
    assert not {"", ".", ".."} & set(name.split("/"))


@pytest.mark.parametrize(
    ("uri", "parsed"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://my.bucket-1/a/b", ("my.bucket-1", "a/b")),
        ("s3://bucket/a/b/", ("bucket", "a/b")),
    ],
)
def test_an_address_is_a_bucket_and_a_prefix(uri: str, parsed: tuple[str, str]) -> None:
    assert s3_address.parse(uri) == parsed


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "s3://",
            "s3:///a",
            "s3://ab",
            "s3://Bucket",
            "s3://-ab",
            "s3://a..b",
            "s3://a.-b",
            "s3://192.168.0.1",
            "s3://a_b",
        ),
        *("s3://" + "a" * 64, "s3://bucket:9000/a", "s3://bucket//a", "s3://bucket/a/../b", "s3://bucket/a?b=c"),
        *(
            "s3://bucket/a#b",
            "s3://bucket/%2e%2e",
            "s3://bucket/a\n",
            "s3://bucket\n",
            "s3://bucket/./a",
            "s3://bücket",
        ),
    ],
)
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"names no bucket|has a prefix that cannot be used"):
        s3_address.parse(uri)


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(InputError) as refused:
        s3_address.parse("s3://key:hunter2@bucket/a")
    assert "hunter2" not in str(refused.value)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:9000",
        "ftp://host",
        "http://",
        "http://user:hunter2@host",
        "http://host/path",
        "http://host:port",
        "http://h?a",
    ],
)
def test_an_endpoint_that_is_none_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(InputError, match=r"AWS_ENDPOINT_URL_S3 is no address of a server; set it to") as refused:
        open_store("s3://bucket/a")
    assert "hunter2" not in str(refused.value)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(InputError, match=f"s3:// addresses need credentials; set {name}"):
        open_store("s3://bucket/a")


@pytest.mark.usefixtures("credentials")
def test_no_secret_is_in_what_a_store_shows_of_itself() -> None:
    store = open_store("s3://bucket/a/")
    assert store.uri == "s3://bucket/a"
    assert "hunter2" not in repr(store._requests.connection)  # type: ignore[attr-defined]


@given(st.integers(0, 5 << 40))
def test_any_object_fits_in_as_many_parts_as_s3_takes(size: int) -> None:
    assert -(-size // part_bytes(size)) <= 10_000
    assert part_bytes(size) >= PART_BYTES
    assert part_bytes(size) <= 5 << 30
