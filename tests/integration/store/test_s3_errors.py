"""What cannot be mended by trying again is said at once, in one line with a way out and no secret."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
from certificates import Authority
from faulty import FaultyProxy
from s3_servers import S3Server, free_port, serve
from tls import tls_before

from repoloom.errors import CorruptDataError, StoreError
from repoloom.store import open_store, s3, write
from repoloom.store.s3 import S3Store

LARGE = bytes(20 << 20)


def _refused(store: S3Store, way_out: str) -> None:
    def write_large() -> None:
        write(store, "large", LARGE)

    for operation in (
        lambda: store.read("object"),
        lambda: store.open("object"),
        lambda: store.exists("object"),
        lambda: list(store.list("folder")),
        lambda: write(store, "object", b"content"),
        lambda: write(store, "object", LARGE[: 15 << 20]),
        write_large,
    ):
        with pytest.raises(StoreError, match=way_out) as refused:
            operation()
        assert "\n" not in str(refused.value)


def test_a_bucket_that_is_missing_is_said_to_be(server: S3Server, here: str) -> None:
    assert here
    _refused(
        S3Store("s3://no-such-bucket/a"), f"^s3://no-such-bucket/.* at http://{server.address}: there is no such bucket"
    )


def test_wrong_credentials_are_said_to_be(server: S3Server, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2" + server.secret_key)
    _refused(S3Store(here), "the server refuses the credentials; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY$")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    _refused(
        S3Store(here), "the server does not know the access key; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY$"
    )


def test_a_server_that_is_not_there_is_waited_for_and_then_named(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(StoreError, match=f"at {endpoint}: given up after 1 s, last the connection was refused; check"):
        S3Store(here, patience=1).read("object")


def test_a_server_behind_tls_is_spoken_to_where_its_authority_is_known_and_else_refused(
    server: S3Server, here: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    port = int(server.address.rpartition(":")[2])
    with tls_before(port, ours.issue("server")) as ours_port, tls_before(port, others.issue("other")) as others_port:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(ours.file))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"https://127.0.0.1:{ours_port}")
        store = S3Store(here)
        write(store, "large", LARGE)
        assert store.read("large") == LARGE
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"https://127.0.0.1:{others_port}")
        _refused(S3Store(here), "the server's certificate is not trusted; give its authority's in AWS_CA_BUNDLE$")


def test_what_is_no_s3_server_is_said_to_be_none(here: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    import functools
    import http.server
    import threading

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))) as web:
        threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{web.server_port}")
        with pytest.raises(StoreError, match="does not answer as an S3 server does; check AWS_ENDPOINT_URL_S3"):
            S3Store(here).read("object")
        web.shutdown()


def test_a_full_scratch_folder_is_said_to_be_one(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource
    import signal

    monkeypatch.setattr("repoloom.store.s3_writer.PART_BYTES", 1 << 16)
    store = S3Store(here)
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(
            StoreError, match=r"cannot keep an object in .* until it is sent: File too large; free some"
        ):
            write(store, "object", LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not store.exists("object")


def test_a_small_object_whose_bytes_were_changed_is_said_to_be_corrupt(server: S3Server, here: str) -> None:
    store = S3Store(here)
    write(store, "object", b"content")
    assert store.read("object") == b"content"
    import io

    name = here.removeprefix("s3://tests/") + "/object"
    digest = server.client().stat_object("tests", name).metadata
    assert digest is not None
    headers = {"x-amz-meta-sha256": digest["x-amz-meta-sha256"]}
    server.client().put_object("tests", name, io.BytesIO(b"CONTENT"), 7, metadata=headers)
    with pytest.raises(CorruptDataError, match=f"{here}/object is corrupt"):
        store.read("object")


def test_an_upload_that_nobody_works_on_is_swept_and_a_young_one_is_not(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On MinIO, which lists the uploads of a whole bucket; rclone's server lists those of one name alone."""
    import s3_servers

    if "minio" not in s3_servers.kinds():
        pytest.skip("no MinIO server here")
    with serve("minio", tmp_path_factory.mktemp("sweep") / "data") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        client = server.client()
        upload = client._create_multipart_upload("tests", "tasks/1", {})
        client._upload_part("tests", "tasks/1", LARGE, None, upload, 1)
        store = S3Store("s3://tests")
        store.sweep()
        assert [found.upload_id for found in client._list_multipart_uploads("tests").uploads] == [upload]
        monkeypatch.setattr(s3, "ABANDONED", timedelta(seconds=-60))
        store.sweep()
        assert client._list_multipart_uploads("tests").uploads == []
        assert not store.exists("tasks/1")


def test_a_writer_whose_upload_was_swept_begins_another(
    server: S3Server, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: an upload that is aborted under a living writer costs time and no data."""
    from repoloom.store.s3_client import Client

    finish = Client.finish_upload
    aborted: list[str] = []

    def abort_first(self: Client, bucket: str, name: str, upload: str, parts: object) -> None:
        if len(aborted) < 2:
            aborted.append(upload)
            server.client()._abort_multipart_upload(bucket, name, upload)
        finish(self, bucket, name, upload, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "finish_upload", abort_first)
    store = S3Store(here)
    write(store, "large", LARGE)
    assert len(aborted) == 2
    assert store.read("large") == LARGE


def test_a_redirect_is_not_followed(server: S3Server, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is signed for one server; another must not get it."""
    import http.server
    import threading

    asked: list[str] = []
    with FaultyProxy(server.address) as target:

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(307)
                self.send_header("Location", f"http://{target.address}{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nobody reads it."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
            threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{web.server_port}")
            started = time.monotonic()
            with pytest.raises(StoreError):
                S3Store(here).read("object")
            assert time.monotonic() - started < 60
            web.shutdown()
        assert asked
        assert target.requests == 0


def test_a_store_is_opened_by_its_address(here: str) -> None:
    assert isinstance(open_store(here + "/"), S3Store)
    assert open_store(here + "/").uri == here
