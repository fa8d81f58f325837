# The Bento, with locked requirements that exclude torch.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS dependencies
# pip reads these from the environment; an ARG without a value stays unset.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
WORKDIR /build
COPY bentos/sentiment/requirements.txt ./
RUN python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --no-cache-dir -r requirements.txt

FROM ${PYTHON_IMAGE}
# A new volume inherits the owner of its mount point, the model store.
RUN useradd --uid 10001 --no-create-home app && install -d -o app /var/lib/bentoml
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    BENTOML_HOME=/var/lib/bentoml BENTOML_DO_NOT_TRACK=true DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true \
    GIT_PYTHON_REFRESH=quiet
WORKDIR /app
USER app
EXPOSE 3000
CMD ["python", "-m", "bentoml", "serve", "bentos.sentiment.service:Sentiment", "--host", "0.0.0.0", "--port", "3000"]
COPY --from=dependencies /venv /venv
COPY bentos bentos
