# fx_mm with its tools, from the folder `wheelhouse` that `make wheelhouse`
# collected for the Python of BASE (see docs/installation.md):
#
#   make wheelhouse PYTHON=3.11 TESTS=0
#   docker build -t fx_mm .                                            # CPU
#   docker build -t fx_mm --build-arg FX_MM_CUDA=1 \
#       --build-arg BASE=nvidia/cuda:13.0.2-devel-ubuntu24.04 .        # CUDA
#
# The second has Python 3.12, and compiles mmcv's CUDA operators.
ARG BASE=debian:bookworm-slim
FROM ${BASE}

# OpenCV needs the last two. BASE decides the versions.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends g++ make python3-dev python3-venv \
        libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/fx_mm
COPY LICENSE MANIFEST.in Makefile NOTICE README.md model-index.yml \
    pyproject.toml setup.py ./
COPY configs configs
COPY fx_mm fx_mm
COPY requirements requirements
COPY tools tools

# --system-torch with a BASE that has a torch
ARG SETUP_OPTIONS=''
ARG FX_MM_CUDA=0
RUN --mount=type=bind,source=wheelhouse,target=/wheelhouse \
    FX_MM_CUDA=${FX_MM_CUDA} FX_MM_CACHE=/tmp/fx_mm \
    bash tools/setup_env.sh --offline /wheelhouse ${SETUP_OPTIONS} \
    && rm -rf /tmp/fx_mm

ENV PATH=/opt/fx_mm/.venv/bin:$PATH
CMD ["python", "-m", "fx_mm.utils.collect_env"]
