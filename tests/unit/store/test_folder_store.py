import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repoloom.errors import InputError, StoreError
from repoloom.store import folder, open_store, write
from repoloom.store.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "prefix")


def _files(store: FolderStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("key", ["", ".", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "a\0b", "//a"])
def test_a_key_that_could_leave_the_prefix_is_refused_by_every_operation(store: FolderStore, key: str) -> None:
    for operation in (store.open, store.read, store.exists, store.delete, lambda key: write(store, key, b"")):
        with pytest.raises(InputError, match="is not a key"):
            operation(key)
    with pytest.raises(InputError, match="is not a key"):
        list(store.list(key))


@given(st.text(st.characters(codec="utf-8"), max_size=20))
@example("a//b/./c")
def test_a_key_is_refused_or_names_something_below_the_prefix(key: str) -> None:
    store = FolderStore("/prefix")
    try:
        path = store._path(key)
    except InputError:
        return
    assert Path(os.path.normpath(path)) == path
    assert path.is_relative_to("/prefix")
    assert path != Path("/prefix")


def test_what_is_written_is_read_listed_and_deleted(store: FolderStore) -> None:
    assert list(store.list("tasks")) == []
    for key in ("tasks/b/1", "tasks/a/2", "tasks/a/10", "other"):
        write(store, key, key.encode())
    assert list(store.list("tasks")) == ["tasks/a/10", "tasks/a/2", "tasks/b/1"]
    assert store.read("tasks/b/1") == b"tasks/b/1"
    with store.open("other") as file:
        assert file.seek(2) == 2
        assert file.read() == b"her"
    store.delete("other")
    store.delete("other")
    assert not store.exists("other")


@pytest.mark.parametrize("key", ["nothing", "file/below a file"])
def test_what_is_not_there_is_not_found(store: FolderStore, key: str) -> None:
    write(store, "file", b"")
    assert not store.exists(key)
    with pytest.raises(FileNotFoundError):
        store.open(key)
    with pytest.raises(FileNotFoundError):
        store.read(key)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_what_cannot_be_looked_into_is_not_taken_for_empty(store: FolderStore) -> None:
    write(store, "tasks/a", b"")
    with pytest.raises(StoreError) as caught, no_descriptor_left():
        list(store.list("tasks"))
    assert str(caught.value) == f"cannot list {store.root}/tasks: Too many open files"


@pytest.mark.parametrize("ask", [FolderStore.open, FolderStore.read], ids=["open", "read"])
def test_an_object_that_cannot_be_opened_is_an_error_of_the_store(
    store: FolderStore, ask: Callable[[FolderStore, str], object]
) -> None:
    write(store, "object", b"")
    with pytest.raises(StoreError) as caught, no_descriptor_left():
        ask(store, "object")
    assert str(caught.value) == f"cannot read {store.root}/object: Too many open files"


def test_an_object_that_cannot_be_asked_for_is_not_taken_for_missing(store: FolderStore) -> None:
    write(store, "object", b"")
    with pytest.raises(StoreError, match=r"cannot read .*: File name too long"):
        store.exists("x" * 300)


def test_a_disk_that_fails_while_an_object_is_read_is_an_error_of_the_store(store: FolderStore) -> None:
    write(store, "object", b"x" * 100_000)
    folder_descriptor = os.open(store.root, os.O_DIRECTORY)
    try:
        for read in (lambda file: file.read(), lambda file: file.read(10), lambda file: file.readinto(bytearray(10))):
            with store.open("object") as file:
                os.dup2(folder_descriptor, file.fileno())  # a read of a folder fails as one of a broken disk does
                with pytest.raises(StoreError, match=rf"^cannot read {store.root}/object: Is a directory$"):
                    read(file)
    finally:
        os.close(folder_descriptor)


def test_an_object_is_seen_only_once_it_is_whole(store: FolderStore) -> None:
    write(store, "object", b"old")
    with store.create("object") as file:
        file.write(b"new" * 100_000)
        file.flush()
        assert store.read("object") == b"old"
        assert list(store.list("object")) == []
    assert store.read("object") == b"new" * 100_000
    assert _files(store) == [store.root / "object"]


def test_an_object_whose_writer_fails_never_appears_and_leaves_nothing(store: FolderStore) -> None:
    def fail() -> None:
        with store.create("folder/object") as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not store.exists("folder/object")
    assert _files(store) == []


@pytest.fixture
def small_files() -> Iterator[None]:
    """A process that may write no file above 10,000 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.usefixtures("small_files")
def test_a_write_that_is_refused_names_the_object_and_keeps_the_old_one(store: FolderStore) -> None:
    write(store, "object", b"old")
    with pytest.raises(StoreError, match=r"cannot write .*/object: File too large"):
        write(store, "object", b"new" * 10_000)
    assert store.read("object") == b"old"
    assert _files(store) == [store.root / "object"]


def test_a_folder_in_the_place_of_an_object_is_an_error_that_says_so(store: FolderStore) -> None:
    write(store, "a/b", b"")
    with pytest.raises(StoreError, match=r"cannot write .*/a: "):
        write(store, "a", b"")
    with pytest.raises(StoreError, match=r"cannot write .*/a/b/c: "):
        write(store, "a/b/c", b"")


def test_what_a_writer_leaves_is_swept_once_it_is_dead_wherever_it_ran(store: FolderStore) -> None:
    program = """
import sys
from repoloom.store.folder import FolderStore
with FolderStore(sys.argv[1]).create("object"):
    print("begun", flush=True)
    input()
"""
    command = [sys.executable, "-c", program, str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"begun\n"
        (alive,) = _files(store)
        alive.with_name(f"another-host-{os.getpid()}-0").touch()
        store.sweep()
        swept = _files(store)
        writer.kill()
    assert swept == [alive]
    store.sweep()
    assert _files(store) == []


def test_what_is_swept_before_it_is_locked_is_begun_anew(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(file: BinaryIO, operation: int) -> None:
        monkeypatch.undo()
        store.sweep()
        assert _files(store) == []
        fcntl.flock(file, operation)

    monkeypatch.setattr(folder, "fcntl", SimpleNamespace(flock=too_late, LOCK_EX=fcntl.LOCK_EX))
    write(store, "object", b"whole")
    assert store.read("object") == b"whole"
    assert _files(store) == [store.root / "object"]


def test_what_is_whole_is_not_swept_before_it_is_in_its_place(store: FolderStore) -> None:
    def name() -> str:
        store.sweep()
        return "object"

    with store.create(name) as file:
        file.write(b"whole")
    assert store.read("object") == b"whole"


def test_each_folder_that_is_made_is_synced_once_into_the_one_above(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(folder, "_sync_folder", synced.append)
    write(store, "a/b/first", b"")
    write(store, "a/b/second", b"")
    root = store.root
    assert synced == [root.parent, root, root, root / "a", root / "a" / "b", root / "a" / "b"]


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_a_folder_is_opened_by_its_path_or_address(tmp_path: Path, address: str) -> None:
    assert open_store(address.format(tmp_path)).uri == str(tmp_path)


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="there is no store for s4:// addresses"):
        open_store("s4://bucket/prefix")


@pytest.mark.parametrize("address", ["s3:/bucket/prefix", "s3:bucket/prefix"])
def test_a_mistyped_bucket_is_not_taken_for_a_folder(address: str) -> None:
    with pytest.raises(InputError, match="did you mean s3://bucket/prefix"):
        open_store(address)
