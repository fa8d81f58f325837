# The MLflow server, which stores metadata in PostgreSQL and artifacts in a folder.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS dependencies
# pip reads these from the environment; an ARG without a value stays unset.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# Dependencies only: code changes more often and must not invalidate this layer.
RUN touch README.md LICENSE && python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --no-cache-dir -c constraints.txt '.[mlflow]'

FROM ${PYTHON_IMAGE}
# A new volume inherits the owner of its mount point, the artifact folder.
RUN useradd --uid 10001 --no-create-home app && install -d -o app /var/lib/mlflow
# Job execution serves LLM judges and would start four more processes.
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_AUTH_CONFIG_PATH=/etc/mlflow-auth.ini MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false GIT_PYTHON_REFRESH=quiet
WORKDIR /var/lib/mlflow
USER app
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1", "--app-name", "basic-auth", \
     "--artifacts-destination", "/var/lib/mlflow", "--serve-artifacts"]
COPY --from=dependencies /venv /venv
COPY deploy/docker/mlflow-auth.ini /etc/
