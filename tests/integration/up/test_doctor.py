"""`repoloom doctor` names what is wrong and what to do."""

import json
import subprocess
from pathlib import Path

from stack import Stack, free_port, repoloom

from repoloom.up.doctor.finding import Verdict
from repoloom.up.doctor.services import service_findings


def verdicts(found: "subprocess.CompletedProcess[str]") -> dict[str, tuple[str, str]]:
    """Verdict and words by subject."""
    return {line["subject"]: (line["verdict"], line["said"]) for line in json.loads(found.stdout)}


def test_a_stack_that_runs_is_well(stack: Stack) -> None:
    found = repoloom("doctor", "--folder", stack.folder.path, "--json")

    said = verdicts(found)
    assert found.returncode == 0, found.stdout
    assert said["redis"][0] == "ok"
    assert said["redis eviction"] == ("ok", "noeviction")
    assert said["queue repoloom.cpu.up-under-test"][0] == "ok"
    assert said["store s3://repoloom"][0] == "ok"
    assert all(said[f"service {name}"][0] == "ok" for name in ("crawler", "filter", "tokenizer"))


def test_a_queue_that_no_worker_of_this_build_serves(stack: Stack) -> None:
    found = repoloom("doctor", "--json", environment={**stack.env, "REPOLOOM_BUILD": "another"})

    assert verdicts(found)["queue repoloom.cpu.another"][0] == "warn"


def test_a_wrong_password_and_a_wrong_token(stack: Stack, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("loom_not_the_token_of_anybody")
    wrong = {"REPOLOOM_REDIS_PASSWORD": "not-the-password", "REPOLOOM_CLIENT_TOKEN_FILE": str(token)}

    found = repoloom("doctor", "--json", environment={**stack.env, **wrong})

    said = verdicts(found)
    assert found.returncode == 1
    assert said["redis"][0] == "fail"
    assert "refuses the password" in said["redis"][1]
    assert said["service filter"][0] == "fail"
    assert "no token" in said["service filter"][1]
    assert "not-the-password" not in found.stdout
    assert "loom_not_the_token_of_anybody" not in found.stdout


def test_a_redis_a_store_and_a_service_that_are_away() -> None:
    away = f"127.0.0.1:{free_port()}"
    environment = {
        "REPOLOOM_REDIS_URL": f"redis://{away}/0",
        "REPOLOOM_SERVICES": f"filter={away}",
        "AWS_ENDPOINT_URL_S3": f"http://{away}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests-secret",
    }

    found = repoloom("doctor", "--store", "s3://tests/x", environment=environment)

    assert found.returncode == 1
    assert "fail  redis" in found.stdout
    assert "does not answer" in found.stdout
    assert "fail  store s3://tests/x" in found.stdout
    assert "fail  service filter" in found.stdout
    assert "→ check the address, AWS_ENDPOINT_URL_S3" in found.stdout
    assert "Traceback" not in found.stderr


def test_a_word_that_leads_to_no_service_hides_none_of_the_others() -> None:
    away, silent, unknown = f"localhost:{free_port()}", f"filter=127.0.0.1:{free_port()}", "sleeper=127.0.0.1:1"

    found = list(service_findings({"REPOLOOM_SERVICES": f"{away},{unknown},{silent}"}))

    assert [finding.subject for finding in found] == [f"services at {away}", f"services at {unknown}", "service filter"]
    assert all(finding.verdict is Verdict.FAIL and finding.way_out for finding in found)
    assert f"{away} does not answer" in found[0].said
    assert "'sleeper' is none of" in found[1].said


def test_an_authority_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    environment = {"REPOLOOM_SERVICES": f"filter=127.0.0.1:{free_port()}", "REPOLOOM_CLIENT_CA_FILE": str(missing)}

    service, certificate = service_findings(environment)

    assert service.verdict is certificate.verdict is Verdict.FAIL
    assert f"cannot read {missing}" in service.said
    assert "No such file" in certificate.said


def test_without_services_the_advice_is_what_doctor_can_be_told() -> None:
    (found,) = service_findings({})

    assert found.verdict is Verdict.WARN
    assert "--target" not in found.said
    assert "`repoloom up`, or set REPOLOOM_SERVICES" in found.way_out


def test_a_folder_is_a_store_that_is_well_and_one_that_cannot_be_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    well = repoloom("doctor", "--json", "--store", tmp_path / "store", cwd=tmp_path)
    ill = repoloom("doctor", "--json", "--store", tmp_path / "file" / "below", cwd=tmp_path)

    assert verdicts(well)[f"store {tmp_path}/store"][0] == "ok"
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert verdicts(ill)[f"store {tmp_path}/file/below"][0] == "fail"
