"""Processes that begin with torch and DeepSpeed imported, which takes longer than what the tests have them do."""

import multiprocessing

READY = multiprocessing.get_context("forkserver")
READY.set_forkserver_preload(["repoloom.recipe.model_path", "repoloom.training.zero"])
