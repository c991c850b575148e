# repoloom: `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
OUT ?= out
BIN := .venv/bin
# Some machines set it, and each of the thousands of processes that tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
# uv installs several times as fast as pip; what pip is configured to use, uv is told to use.
UV = UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}" \
     VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv --no-progress pip

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: .venv/installed-train  ## Run the whole path, from public repositories to a model (OFFLINE=1: without a network)
	$(BIN)/repoloom run pipelines/recipes/$(if $(OFFLINE),offline,demo).yaml --out $(OUT)/$(if $(OFFLINE),offline,demo)

install: .venv/installed-train  ## Make .venv with repoloom in it

test: .venv/installed-dev  ## Run the tests
	@$(BIN)/python tests/preflight.py
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=25

lint: .venv/installed-dev  ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python proto/generate.py --check

proto: .venv/installed-dev  ## Generate the Python code of proto/
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python proto/generate.py

bench: .venv/installed-dev  ## Measure each stage, end to end, memory, and training
	$(BIN)/python tests/benchmarks/data_path.py

bench-services: .venv/installed-dev  ## Measure the services under load, against the batch
	PYTHONPATH=tests/unit $(BIN)/python tests/benchmarks/services_load.py

bench-scale: .venv/installed-dev  ## Measure how the heavy stages spread from one worker to two
	$(BIN)/python tests/benchmarks/scale_out.py

bench-gpu: .venv/installed-dev  ## Measure training and inference on this machine's GPU, against transformers
	$(BIN)/python tests/benchmarks/gpu.py

test-gpu: .venv/installed-dev  ## Run the tests that need a GPU
	$(BIN)/python -m pytest -n 0 tests/gpu

images:  ## Build the images with Docker (needs no cluster)
	for image in repoloom repoloom-training repoloom-inference; do docker build --network=host --target $$image --tag $$image:dev . || exit; done

charts: .venv/installed-dev  ## Check the charts: lint, their templates (needs helm)
	helm lint --strict charts/repoloom --values charts/repoloom/development.yaml
	helm lint --strict charts/inference --values tests/cluster/charts/inference.yaml
	$(BIN)/python -m pytest -n 0 -c tests/cluster/pytest.ini tests/cluster/charts

e2e: charts  ## Install everything on the cluster of KUBECONFIG and run data through it (needs docker, helm, kubectl, skaffold)
	$(BIN)/python -m pytest -n 0 -c tests/cluster/pytest.ini tests/cluster --ignore=tests/cluster/charts --durations=25

pin:  ## Pin the dependencies anew (needs uv)
	requirements/compile.sh

clean:  ## Remove what was built and installed
	rm -rf .venv build out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "repoloom needs Python 3.11 or newer, and $(PYTHON) is not: sudo apt-get install python3 (Debian 12, Ubuntu 24.04), or make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing: sudo apt-get install python3-venv"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing: sudo apt-get install git"; exit 1; }
	@echo "Making .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

.venv/installed-%: requirements/%.txt pyproject.toml | .venv/bin/uv
	@echo "Installing requirements/$*.txt"
	@$(UV) install --quiet -r requirements/$*.txt
	@$(UV) install --quiet --no-deps -e .
	@touch $@

.PHONY: help demo install test lint proto bench bench-services bench-scale bench-gpu test-gpu images charts e2e pin clean
