"""The crawl of one source through the real step, and registries that live in a folder or on the loopback."""

import functools
import http.server
import io
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from memory import MemoryReader, MemorySink
from pydantic import TypeAdapter

from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.sources import Source, to_json
from repoloom.stages.crawl.steps import SOURCES, Crawl

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


@pytest.fixture
def crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MemorySink]:
    """Crawls the source that its arguments describe; its scratch folder must be gone afterwards."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)

    def run(**fields: Any) -> MemorySink:
        source = SOURCE.validate_python(fields)
        sink = MemorySink()
        try:
            task = pa.table([[source.repository], [to_json(source)]], schema=SOURCES)
            Crawl(Limits()).run({"sources": MemoryReader(task)}, sink)
        finally:
            assert list(scratch.iterdir()) == []
        return sink

    return run


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves folders over HTTP on the loopback; gives their addresses."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    def start(folder: Path) -> str:
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def pack() -> Callable[[dict[str, bytes]], bytes]:
    """Packs files into a .tar.gz."""

    def run(files: dict[str, bytes]) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return packed.getvalue()

    return run
