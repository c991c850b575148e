"""A changed file is live in the pods without a new image."""

import json
import subprocess
import time
from pathlib import Path

from cluster import Namespace, output, wait_for

LIMIT = 60.0  # seconds; how long it took is printed
ASK = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/healthz').read())"


def test_a_changed_file_is_live_within_seconds(namespace: Namespace, tmp_path: Path) -> None:
    history = output("helm", "history", "repoloom", "--namespace", namespace.name, "--max=1", "--output=json")
    output("git", "checkout-index", "--all", f"--prefix={tmp_path}/")
    log = tmp_path / "log"
    command = ["skaffold", "dev", "--profile=local,e2e", f"--namespace={namespace.name}"]
    command += ["--tail=false", "--port-forward=off", "--cleanup=false"]
    with log.open("w") as out, subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out) as dev:

        def watches() -> bool:
            assert dev.poll() is None, log.read_text()[-4000:]
            return "Watching for changes" in log.read_text()

        try:
            wait_for("skaffold watches", 600, watches)
            # skaffold gives a change up where a pod of the same image does not take it, as those that end here do not.
            wait_for("the former pods have ended", 180, lambda: not _ending(namespace))
            code = tmp_path / "services/repoloom_services/filter.py"
            changed = code.read_text() + 'print("this is new", flush=True)\n'
            began = time.monotonic()
            code.write_text(changed)
            wait_for("the change", LIMIT, lambda: "this is new" in _said(namespace) and bool(_answer(namespace)))
            print(f"live after {time.monotonic() - began:.1f} s")
            wait_for("skaffold is done", LIMIT, lambda: log.read_text().count("Watching for changes") >= 2)
            assert "sync error" not in log.read_text(), "a pod did not take the file"
        finally:
            dev.terminate()
            dev.wait()
            before = str(json.loads(history)[0]["revision"])
            output("helm", "rollback", "repoloom", before, "--namespace", namespace.name, "--wait", "--timeout=5m")


def _ending(namespace: Namespace) -> list[str]:
    pods = namespace.get("pods")["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]


def _said(namespace: Namespace) -> str:
    return namespace.kubectl("logs", "deployment/repoloom-filter", "--tail=100")


def _answer(namespace: Namespace) -> str:
    asked = subprocess.run(
        ["kubectl", "--namespace", namespace.name, "exec", "deployment/repoloom-filter", "--", "python", "-c", ASK],
        text=True,
        capture_output=True,
    )
    return asked.stdout
