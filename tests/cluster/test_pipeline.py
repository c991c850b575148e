"""The Kubeflow pipeline in a pod, its stages done by the cluster's workers: the bytes of all other ways."""

import json

from corpus import FOLDER

from cluster import Namespace

LIMIT = 400.0  # seconds, on two cores that do everything else too


def test_the_whole_pipeline_makes_the_laptops_bytes_and_a_model(namespace: Namespace, laptop: str) -> None:
    command = ("repoloom", "pipeline", "run-local", f"{FOLDER}/recipe.yaml", "--store", namespace.store("pipeline"))
    namespace.start("pipeline", namespace.image("training"), *command, "--json")
    assert json.loads(namespace.said("pipeline", LIMIT))["digest"] == laptop
