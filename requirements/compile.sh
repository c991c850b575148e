#!/usr/bin/env bash
# Pins the dependencies of pyproject.toml: requirements/data.txt (data path), train.txt (with torch),
# services.txt (data path, services, workers), dev.txt (all of it, with tools); of the images: cluster.txt (services,
# workers, operator, pipelines), training.txt, inference.txt.
# torch's own dependencies are left to its wheel, since the CPU and the CUDA builds of one version differ in them.
# gpu.txt is kept by hand: what flash-attn asks for is only known where a torch for CUDA is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
compile() {
  uv pip compile -q --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11 \
    "${@:2}" pyproject.toml | sed -E 's/^(torch==[0-9.]+)\+cpu$/\1/; /^(nvidia-|cuda-|triton==)/d' >"requirements/$1.txt"
}
compile dev --extra train --extra services --extra local --extra operator --extra pipelines --extra distributed --extra inference --extra dev \
  -c requirements/torch.in
compile data -c requirements/dev.txt
compile train --extra train -c requirements/dev.txt
compile services --extra services --extra local -c requirements/dev.txt
compile cluster --extra services --extra operator --extra pipelines -c requirements/dev.txt
compile training --extra train --extra distributed --extra services --extra pipelines -c requirements/dev.txt
compile inference --extra train --extra inference --extra services -c requirements/dev.txt
