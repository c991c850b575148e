#!/usr/bin/env bash
# Pins the dependencies of pyproject.toml: requirements/data.txt (data path), train.txt (with torch),
# services.txt (data path, services, workers), dev.txt (all of it, with tools).
# torch's own dependencies are left to its wheel, since the CPU and the CUDA builds of one version differ in them.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
compile() {
  uv pip compile -q --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11 \
    "${@:2}" pyproject.toml | sed -E 's/^(torch==[0-9.]+)\+cpu$/\1/; /^(nvidia-|cuda-|triton==)/d' >"requirements/$1.txt"
}
compile data
compile train --extra train -c requirements/torch.in
compile services --extra services --extra local -c requirements/data.txt
compile dev --extra train --extra services --extra local --extra dev -c requirements/train.txt
