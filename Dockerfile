# The images of repoloom: what depends on the code comes last, so that a change of code builds one small layer.
#   repoloom             services, workers, operator, pipelines; no torch
#   repoloom-training    training and evaluation
#   repoloom-inference   the inference server
# Versions of Python's packages are pinned, but for what torch's wheel brings, and for what builds source packages; Debian's
# packages, and the base behind its tag, with its pip, are of the day. Neither clock nor hash seed is in the files:
# tests/cluster/test_images.py compares two builds.

# What all run on: Python 3.11 on Debian 12. Its digest says which.
ARG PYTHON=python:3.11-slim-bookworm
# What trains: `cpu`, or `gpu` with flash-attn.
ARG ACCELERATOR=cpu
FROM $PYTHON AS base
RUN groupadd --gid 1000 repoloom \
 && useradd --uid 1000 --gid 1000 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin repoloom \
 && rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- \
 && sed -i 's/^repoloom:!:[0-9]*:/repoloom:!:0:/' /etc/shadow

FROM base AS environment
ENV PATH=/opt/repoloom/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0
# Without what pip is compiled to, which holds times.
RUN python -m venv /opt/repoloom && find /opt/repoloom -name '*.pyc' -delete
COPY --chmod=755 requirements/bytecode.sh /usr/local/bin/bytecode

# repoloom itself as Python knows it: its commands, and a line that says that its code lies in /app.
FROM environment AS project
COPY requirements/build.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-compile --requirement /requirements/build.txt
COPY pyproject.toml README.md LICENSE /app/
RUN pip install --no-compile --no-deps --no-build-isolation --editable /app \
 && mkdir /project \
 && cp -r --parents /opt/repoloom/bin/repoloom* /opt/repoloom/lib/python3.11/site-packages/*repoloom* /project

FROM environment AS repoloom-environment
COPY requirements/cluster.txt /requirements/
# As wheels: a source package would else be installed by its setup.py, with other files, unless the cache has its wheel.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-compile --use-pep517 --requirement /requirements/cluster.txt && bytecode

FROM environment AS inference-environment
COPY requirements/inference.txt /requirements/
# An index of torch's builds, for CPUs or for a CUDA; else pip's own has the say.
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-compile ${TORCH_INDEX:+--extra-index-url $TORCH_INDEX} --requirement /requirements/inference.txt \
 && bytecode

# On top of the one before, of the same versions, so that torch is installed once.
FROM inference-environment AS training-environment-cpu
COPY requirements/training.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-compile --requirement /requirements/training.txt && bytecode

# flash-attn, compiled for that torch by the compiler of torch's own CUDA, which comes from pip too and stays here. On top of
# the least that has torch, since it takes long and whatever changes below has it compiled anew.
FROM inference-environment AS flash-attn
RUN python -c "import torch; (torch.version.cuda or '0') >= '13' or exit(f'torch {torch.__version__} is for no CUDA from 13 on, whose compiler pip brings: see TORCH_INDEX')"
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ python3-dev
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-compile ninja==1.13.2 wheel==0.48.0 "cuda-toolkit[nvcc,cccl]" \
 && ln -s /opt/repoloom/lib/python3.11/site-packages/nvidia/cu[0-9]* /cuda \
 && ln -s /cuda/lib/libcudart.so.* /cuda/lib/libcudart.so \
 && echo "int main() {}" | g++ -x c++ - -L/cuda/lib -lcudart -o /dev/null
COPY requirements/gpu.txt /requirements/
# Compute capabilities, and how many files are compiled at once; by itself as many as flash-attn finds cores and memory for.
ARG FLASH_ATTN_CUDA_ARCHS="80;90;100;120"
ARG MAX_JOBS=
# Without what no training asks for, which would have each kernel compiled in as many forms more.
RUN unused="$(printf -- '-DFLASHATTENTION_DISABLE_%s ' DROPOUT ALIBI SOFTCAP LOCAL)" \
 && CUDA_HOME=/cuda FLASH_ATTENTION_FORCE_BUILD=TRUE CFLAGS="$unused" NVCC_APPEND_FLAGS="$unused" \
    pip wheel --no-deps --no-build-isolation --wheel-dir /wheels --requirement /requirements/gpu.txt

FROM training-environment-cpu AS training-environment-gpu
RUN --mount=type=bind,from=flash-attn,source=/wheels,target=/wheels \
    pip install --no-compile --no-deps /wheels/*.whl && bytecode && python -c "import flash_attn"

FROM training-environment-$ACCELERATOR AS training-environment

FROM base AS runtime
ENV PATH=/opt/repoloom/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
LABEL org.opencontainers.image.vendor="repoloom" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM runtime AS repoloom
# The programs that a crawl starts; apt-get, which reads Debian's sources, is part of the base.
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends git npm openssh-client \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \
           /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
COPY --from=repoloom-environment /opt/repoloom /opt/repoloom
COPY --from=project /project /
# The user's own, so that a development cluster can be given changed files; elsewhere the root is read-only.
COPY --chown=1000:1000 . /app
USER 1000:1000
# By content: a changed file is seen, an unchanged one is not compiled anew at each start.
RUN PYTHONHASHSEED=0 python -m compileall -q -j 1 --invalidation-mode checked-hash /app
HEALTHCHECK CMD ["python", "-m", "repoloom.telemetry.probe"]
LABEL org.opencontainers.image.title="repoloom" \
      org.opencontainers.image.description="repoloom's services, workers, operator and pipelines"

FROM runtime AS repoloom-training
# On a GPU the model's layers are compiled when a training begins, for which Triton calls a C compiler.
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends gcc libc6-dev libgomp1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \
           /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
COPY --from=training-environment /opt/repoloom /opt/repoloom
COPY --from=project /project /
COPY --chown=1000:1000 . /app
USER 1000:1000
RUN PYTHONHASHSEED=0 python -m compileall -q -j 1 --invalidation-mode checked-hash /app
# No HEALTHCHECK: it runs once, and nothing of it can be asked; OUT/training-progress.json tells how far a training is.
LABEL org.opencontainers.image.title="repoloom-training" \
      org.opencontainers.image.description="repoloom's training and evaluation"

FROM runtime AS repoloom-inference
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \
           /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
COPY --from=inference-environment /opt/repoloom /opt/repoloom
COPY --from=project /project /
COPY --chown=1000:1000 . /app
USER 1000:1000
RUN PYTHONHASHSEED=0 python -m compileall -q -j 1 --invalidation-mode checked-hash /app
# Plain HTTP whatever guards the calls; charts and users may say another address.
ENV REPOLOOM_SERVER_METRICS_ADDRESS=127.0.0.1:9090
HEALTHCHECK CMD ["python", "-m", "repoloom.telemetry.probe"]
LABEL org.opencontainers.image.title="repoloom-inference" \
      org.opencontainers.image.description="repoloom's inference server"
