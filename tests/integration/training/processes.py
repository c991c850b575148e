"""Processes that begin with torch imported, which takes longer than what the tests have them do."""

import multiprocessing

READY = multiprocessing.get_context("forkserver")
READY.set_forkserver_preload(["torch._dynamo", "repoloom.recipe.model_path"])
