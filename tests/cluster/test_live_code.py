"""A changed file is live in the pods without a new image."""

import shutil
import subprocess
import time
from pathlib import Path

from cluster import ROOT, Namespace, output, wait_for

SECONDS = 30.0  # on two cores that nine pods share
TREE = ("charts", "libs", "pipelines", "requirements", "services")
FILES = ("Dockerfile", ".dockerignore", "skaffold.yaml", "pyproject.toml", "README.md", "LICENSE")
ASK = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/healthz').read())"


def test_a_changed_file_is_live_within_seconds(tmp_path: Path) -> None:
    for folder in TREE:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    output("kubectl", "create", "namespace", "repoloom-live")
    live = Namespace("repoloom-live")
    log = tmp_path / "log"
    command = ["skaffold", "dev", f"--namespace={live.name}", "--tail=false", "--port-forward=off"]
    with log.open("w") as out, subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out) as dev:
        try:
            wait_for("skaffold watches", 600, lambda: "Watching for changes" in log.read_text())
            code = tmp_path / "libs/repoloom/telemetry/endpoint.py"
            changed = code.read_text().replace("status.phrase.encode()", 'b"changed"')
            began = time.monotonic()
            code.write_text(changed)
            wait_for("the change", SECONDS, lambda: "changed" in _answer(live))
            print(f"live after {time.monotonic() - began:.1f} s")
        finally:
            dev.terminate()
    output("kubectl", "delete", "namespace", live.name)


def _answer(live: Namespace) -> str:
    asked = subprocess.run(
        ["kubectl", "--namespace", live.name, "exec", "deployment/repoloom-filter", "--", "python", "-c", ASK],
        text=True,
        capture_output=True,
    )
    return asked.stdout
