"""The images: the same files whenever they are built, fit for a read-only root, and what they say of themselves."""

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Mapping

import pytest

from cluster import ROOT, output

BUILD = ("docker", "build", "--quiet", "--network=host")
REDIS = "--file=development-redis.Dockerfile"


def files(*options: str) -> Mapping[str, tuple[str, int, int, str]]:
    """What an image holds: of each path the kind, the mode, the owner, and the digest of the content or the link."""
    command = [*BUILD, *options, "--output=type=tar,dest=-", "."]
    held = {}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as build:
        assert build.stdout
        with tarfile.open(fileobj=build.stdout, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                digest = hashlib.sha256(content.read()).hexdigest() if content else member.linkname
                held[member.name] = (str(member.type), member.mode, member.uid, digest)
    assert build.returncode == 0
    return held


@pytest.mark.parametrize("which", ["--target=repoloom", REDIS])
def test_an_image_built_anew_has_the_same_files(which: str) -> None:
    before, after = files(which), files(which, "--no-cache")
    assert len(before) > 1000
    differ = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    assert not differ, "\n".join(f"{path}: {before.get(path)} {after.get(path)}" for path in differ[:100])


def test_the_commands_run_as_nobody_in_particular_and_write_nothing() -> None:
    image = output(*BUILD, "--target=repoloom", ".").strip()
    shut = ("docker", "run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL")
    assert output(*shut, image, "id", "--user").strip() == "1000"
    for program in ("repoloom", "repoloom-service"):
        assert "Usage" in output(*shut, image, program, "--help")
    for program in ("git", "npm", "apt-get", "ssh"):
        output(*shut, image, "sh", "-c", f"command -v {program}")
    assert output(*shut, image, "sh", "-c", "command -v cc || echo no compiler").strip() == "no compiler"
    torch = "from importlib.util import find_spec; print(find_spec('torch'))"
    assert output(*shut, image, "python", "-c", torch).strip() == "None"


@pytest.mark.parametrize("title", ["repoloom", "repoloom-training", "repoloom-inference", "development-redis"])
def test_an_image_says_what_it_is_and_is_asked_how_it_is_where_it_serves(title: str) -> None:
    image = output(*BUILD, REDIS if title == "development-redis" else f"--target={title}", ".").strip()
    told = json.loads(output("docker", "image", "inspect", image))[0]["Config"]
    assert told["User"] == "1000:1000"
    assert told["Labels"]["org.opencontainers.image.title"] == title
    assert told["Labels"]["org.opencontainers.image.description"]
    asked = (told.get("Healthcheck") or {}).get("Test")
    serves = title in ("repoloom", "repoloom-inference")
    assert asked == (["CMD", "python", "-m", "repoloom.telemetry.probe"] if serves else None)
