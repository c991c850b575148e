"""The file `env` is read as a shell reads it, and an environment that says where things are is believed."""

import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.errors import InputError
from repoloom.rpc.catalog import Name
from repoloom.rpc.settings import ChannelSettings
from repoloom.up.find import find_services, full_name
from repoloom.up.folder import AlreadyRunningError, Folder
from repoloom.up.plan import services_of
from repoloom.up.ports import choose
from repoloom.up.surroundings import UP, read_env, surroundings, without_stack, write_env

VALUES = st.dictionaries(
    st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True),
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=20),
    max_size=4,
)


@given(values=VALUES)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]) -> None:
    folder = Folder(tmp_path_factory.mktemp("env"))

    write_env(folder, values)

    assert read_env(folder) == values


def test_a_shell_reads_the_same(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write_env(folder, {"ODD": "a 'b' $(touch owned) `c` \\ \"d\" # e"})

    found = subprocess.run(["sh", "-c", f'. {folder.env}; printf %s "$ODD"'], capture_output=True, text=True)

    assert found.stdout == read_env(folder)["ODD"]


def test_a_folder_is_one_stacks_alone_and_free_again_after_it(tmp_path: Path) -> None:
    with Folder(tmp_path / "up").held():
        assert Folder(tmp_path / "up").holder() is not None
        with pytest.raises(AlreadyRunningError), Folder(tmp_path / "up").held():
            pass

    assert Folder(tmp_path / "up").holder() is None
    with Folder(tmp_path / "up").held():
        pass


def test_secrets_stay(tmp_path: Path) -> None:
    folder = Folder(tmp_path)

    made, token = folder.secrets(), folder.token.read_text()

    assert folder.secrets() == made
    assert folder.token.read_text() == token
    assert token.strip() not in folder.callers.read_text()


def test_a_stack_that_runs_is_found_where_the_environment_says_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "up")
    with folder.held():
        write_env(folder, {"REPOLOOM_REDIS_URL": "redis://there:1/0", UP: str(folder.path), "REPOLOOM_BUILD": "mine"})

        assert surroundings(folder.path, {"HOME": "/"})["REPOLOOM_REDIS_URL"] == "redis://there:1/0"
        told = {"REPOLOOM_REDIS_URL": "redis://elsewhere:1/0"}
        assert surroundings(folder.path, told) == told

    assert surroundings(folder.path, {"HOME": "/"}) == {"HOME": "/"}
    own = {"HOME": "/", "REPOLOOM_BUILD": "mine"}
    assert without_stack({**own, **read_env(folder)}) == own


def test_to_ask_who_holds_a_folder_keeps_nobody_from_holding_it(tmp_path: Path) -> None:
    folder, over = Folder(tmp_path / "up"), threading.Event()

    def ask() -> None:
        while not over.is_set():
            folder.holder()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(300):
            with folder.held():
                assert folder.holder() == os.getpid()
    finally:
        over.set()
        asking.join()
    assert folder.holder() is None


def test_ports_follow_the_base_and_free_ones_differ() -> None:
    free = choose(["a", "b", "c"], 0)

    assert len(set(free.values())) == 3
    base = int(free["a"].rpartition(":")[2]) - 1
    assert choose(["a"], base) == {"a": f"127.0.0.1:{base + 1}"}


def test_services_are_named_by_words() -> None:
    assert services_of("all") == tuple(Name)
    assert services_of("none") == ()
    assert services_of("tokenizer, filter") == ("filter", "tokenizer")
    with pytest.raises(InputError, match="'sleeper' is none of"):
        services_of("filter,sleeper")


def test_services_are_found_by_name() -> None:
    assert find_services((), {"REPOLOOM_SERVICES": "filter=127.0.0.1:7002"}) == {
        "filter": ChannelSettings(target="127.0.0.1:7002")
    }
    with pytest.raises(InputError, match="repoloom up"):
        find_services((), {})
    with pytest.raises(InputError, match="'sleeper' is none of"):
        find_services(["sleeper=127.0.0.1:1"], {})
    assert full_name("dependency_sorter") == "repoloom.dependency_sorter.v1.DependencySorterService"
