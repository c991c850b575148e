"""What a store promises, it promises wherever it lies."""

import hashlib
import io
import random
import threading

import pytest

from repoloom.errors import InputError
from repoloom.store import Store, open_store, write

MANY = bytes(random.Random(0).randbytes(40 << 20))  # three requests to S3, the last one short


def test_what_is_written_is_read_listed_and_deleted(store: Store) -> None:
    assert list(store.list("tasks")) == []
    for key in ("tasks/b/1", "tasks/a/2", "tasks/a/10", "other", "tasks-other/1"):
        write(store, key, key.encode())
    assert list(store.list("tasks")) == ["tasks/a/10", "tasks/a/2", "tasks/b/1"]
    assert list(store.list("tasks/a")) == ["tasks/a/10", "tasks/a/2"]
    assert store.read("tasks/b/1") == b"tasks/b/1"
    store.delete("other")
    store.delete("other")
    assert not store.exists("other")
    assert store.exists("tasks/a/2")
    assert not store.exists("tasks/a")


@pytest.mark.parametrize("key", ["nothing", "no/thing"])
def test_what_is_not_there_is_not_found(store: Store, key: str) -> None:
    write(store, "file", b"")
    assert not store.exists(key)
    with pytest.raises(FileNotFoundError):
        store.open(key)
    with pytest.raises(FileNotFoundError):
        store.read(key)


@pytest.mark.parametrize("content", [b"", b"x", MANY[: 16 << 20], MANY[: (16 << 20) + 1], MANY], ids=len)
def test_bytes_come_back_as_they_were_written(store: Store, content: bytes) -> None:
    with store.create("folder/object") as file:
        for start in range(0, len(content), 3_000_000):
            file.write(content[start : start + 3_000_000])
    assert store.exists("folder/object")
    with store.open("folder/object") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(content).digest()
    assert store.read("folder/object") == content


def test_an_object_is_read_from_any_position(store: Store) -> None:
    content = MANY[: 3 << 20]
    write(store, "object", content)
    draw = random.Random(1)
    with store.open("object") as file:
        twin = io.BytesIO(content)
        for _ in range(20):
            whence = draw.choice((io.SEEK_SET, io.SEEK_END))
            offset = draw.randrange(len(content)) - (len(content) if whence else 0)
            assert file.seek(offset, whence) == twin.seek(offset, whence)
            length = draw.randrange(1 << 18)
            assert file.read(length) == twin.read(length)
            assert file.tell() == twin.tell()
        assert file.seek(10, io.SEEK_END) == len(content) + 10
        assert file.read() == b""


def test_an_object_is_seen_only_once_it_is_whole(store: Store) -> None:
    write(store, "object", b"old")
    with store.create("object") as file:
        file.write(MANY)
        assert store.read("object") == b"old"
    assert store.read("object") == MANY


def test_an_object_whose_writer_fails_never_appears(store: Store) -> None:
    def fail() -> None:
        with store.create("folder/object") as file:
            file.write(MANY)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not store.exists("folder/object")
    assert list(store.list("folder")) == []


def test_of_many_writers_of_one_object_one_wins_whole(store: Store) -> None:
    def write_number(number: int) -> None:
        write(store, "object", bytes([number]) * (1 << 20))

    writers = [threading.Thread(target=write_number, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    content = store.read("object")
    assert content == content[:1] * (1 << 20)


def test_names_are_what_they_are(store: Store) -> None:
    keys = sorted(["a b/c", "a+b", "a~b", "q?x#y", "z/é/1", "&=:@,;$", "日本/語", "x" * 200])
    for key in keys:
        write(store, f"names/{key}", key.encode())
    assert sorted(store.list("names")) == sorted(f"names/{key}" for key in keys)
    assert all(store.read(f"names/{key}") == key.encode() for key in keys)


@pytest.mark.parametrize("key", ["", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "a\0b", "//a"])
def test_a_key_that_could_leave_the_prefix_is_refused_by_every_operation(store: Store, key: str) -> None:
    for operation in (store.open, store.read, store.exists, store.delete, lambda key: write(store, key, b"")):
        with pytest.raises(InputError, match="is not a key"):
            operation(key)
    with pytest.raises(InputError, match="is not a key"):
        list(store.list(key))


def test_a_store_sees_nothing_outside_its_prefix(store: Store) -> None:
    other = open_store(f"{store.uri}-other")
    write(other, "object", b"")
    write(store, "object", b"mine")
    assert list(open_store(store.uri + "/folder").list("object")) == []
    assert not open_store(f"{store.uri}/folder").exists("object")
    assert list(store.list("object")) == []
    assert store.read("object") == b"mine"


def test_a_sweep_of_a_place_without_anything_is_nothing(store: Store) -> None:
    store.sweep()
    assert list(store.list("tasks")) == []


def test_a_sweep_leaves_what_is_written_now(store: Store) -> None:
    write(store, "whole", b"1")
    with store.create("alive") as file:
        file.write(MANY)
        store.sweep()
    store.sweep()
    assert store.read("alive") == MANY
    assert store.read("whole") == b"1"
