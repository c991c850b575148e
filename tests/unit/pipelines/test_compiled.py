"""The compiled pipelines are those of the code, and say of every task what Kubeflow has to know."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from repoloom_pipelines import components
from repoloom_pipelines.pipelines import Name
from repoloom_pipelines.running import compile_to
from repoloom_pipelines.settings import Pods, Settings, Toleration, Volume

_COMPILED = Path(__file__).parents[3] / "pipelines" / "compiled"


@pytest.mark.parametrize("name", Name)
def test_the_checked_in_pipeline_is_what_the_code_compiles_to(name: Name, tmp_path: Path) -> None:
    compile_to(name, Settings(), tmp_path / "compiled.yaml")
    assert (tmp_path / "compiled.yaml").read_text() == (_COMPILED / f"{name}.yaml").read_text(), (
        "run `repoloom pipeline compile --out pipelines/compiled`"
    )


def test_what_reads_outside_of_the_store_is_never_answered_from_the_cache() -> None:
    tasks = _tasks(_COMPILED / "whole.yaml")
    never = {name for name, task in tasks.items() if not task["cachingOptions"].get("enableCache")}
    assert never == {"claim", "crawl", "decontaminate", "report", "train"}


def test_every_cached_task_knows_the_recipe_the_store_its_claim_and_what_it_goes_on_from() -> None:
    for name, task in _tasks(_COMPILED / "whole.yaml").items():
        if task["cachingOptions"].get("enableCache"):
            inputs = task["inputs"]["parameters"]
            assert {"recipe", "store", "claimed"} <= set(inputs), name
            (given,) = set(inputs) & {"given", "corpus", "weights"}
            assert inputs[given]["taskOutputParameter"]["producerTask"] in task["dependentTasks"], name


def test_a_stage_is_given_the_claim_by_the_stage_before_it() -> None:
    for name, task in _tasks(_COMPILED / "whole.yaml").items():
        inputs = task["inputs"]["parameters"]
        before = inputs.get("given", {}).get("taskOutputParameter", {}).get("producerTask")
        if before:
            handed = {"producerTask": before, "outputParameterKey": "claim"}
            assert inputs["claimed"]["taskOutputParameter"] == handed, name
    for name in ("train", "evaluate"):
        inputs = _tasks(_COMPILED / "whole.yaml")[name]["inputs"]["parameters"]
        assert inputs["claimed"]["taskOutputParameter"]["producerTask"] == "pack"


def test_without_caching_no_task_is_answered_from_the_cache(tmp_path: Path) -> None:
    compile_to(Name.WHOLE, Settings(caching=False), tmp_path / "whole.yaml")
    assert not any(task["cachingOptions"].get("enableCache") for task in _tasks(tmp_path / "whole.yaml").values())


def test_the_report_is_written_however_the_run_ends() -> None:
    for name in Name:
        report = _tasks(_COMPILED / f"{name}.yaml")["report"]
        assert report["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_the_stages_follow_each_other_under_their_own_names() -> None:
    tasks = _tasks(_COMPILED / "corpus.yaml")
    order, at = [], "pack"
    while at != "claim":
        order.append(at)
        given = tasks[at]["inputs"]["parameters"]["given"]
        at = given["taskOutputParameter"]["producerTask"] if "taskOutputParameter" in given else "claim"
    assert tuple(reversed(order)) == tuple(components.STAGES)


def test_the_pods_look_as_the_settings_say(tmp_path: Path) -> None:
    training = Pods(
        image="registry/training:2",
        cpu="16",
        memory="64Gi",
        accelerator="nvidia.com/gpu",
        shared_memory="8Gi",
        node_selector={"pool": "gpu"},
        tolerations=(Toleration(key="gpu", effect="NoSchedule"),),
        volumes=(Volume(claim="models", path="/models"),),
        timeout_seconds=60,
        retries=9,
    )
    settings = Settings(
        data=Pods(image="registry/repoloom:2"), training=training, store_secret="mine", image_pull_secrets=("pull",)
    )
    compile_to(Name.WHOLE, settings, tmp_path / "whole.yaml")
    spec, platform = yaml.safe_load_all((tmp_path / "whole.yaml").read_text())
    executors = spec["deploymentSpec"]["executors"]
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    assert {executors[f"exec-{stage}"]["container"]["image"] for stage in components.STAGES} == {"registry/repoloom:2"}
    container = executors["exec-train"]["container"]
    assert container["image"] == "registry/training:2"
    assert container["resources"]["accelerator"] == {
        "count": "1",
        "resourceCount": "1",
        "resourceType": "nvidia.com/gpu",
        "type": "nvidia.com/gpu",
    }
    pod = pods["exec-train"]
    assert pod["activeDeadlineSeconds"] == "60"
    assert pod["emptyDirMounts"] == [
        {"volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "8Gi"}
    ]
    assert pod["nodeSelector"]["labels"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["pvcMount"][0]["mountPath"] == "/models"
    assert [secret["secretName"] for secret in pod["secretAsEnv"]] == ["mine"]
    assert [secret["secretName"] for secret in pods["exec-filter"]["secretAsEnv"]] == ["mine", "repoloom-redis"]
    assert _tasks(tmp_path / "whole.yaml")["train"]["retryPolicy"]["maxRetryCount"] == 9


def test_no_task_installs_anything_in_its_pod() -> None:
    assert "pip install" not in json.dumps(list(yaml.safe_load_all((_COMPILED / "whole.yaml").read_text())))


def _tasks(path: Path) -> dict[str, Any]:
    """The tasks that run pods, those inside of the exit handler too."""
    spec, _ = yaml.safe_load_all(path.read_text())

    def find(dag: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, task in dag["tasks"].items():
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                yield from find(component["dag"])
            else:
                yield name, task

    return dict(find(spec["root"]["dag"]))
