# MLflow's server, for a PostgreSQL and a folder of artifacts.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS dependencies
# pip reads them from the environment; without a value they are not in it.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# The project's name and what it needs, without its code, which changes more often.
RUN touch README.md LICENSE && python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --no-cache-dir -c constraints.txt '.[mlflow]'

FROM ${PYTHON_IMAGE}
# The artifacts, so that a new volume belongs to the user.
RUN useradd --uid 10001 --no-create-home app && install -d -o app /var/lib/mlflow
# Job execution is for LLM judges; it would start four more processes.
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false GIT_PYTHON_REFRESH=quiet
WORKDIR /var/lib/mlflow
USER app
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1", \
     "--artifacts-destination", "/var/lib/mlflow", "--serve-artifacts"]
COPY --from=dependencies /venv /venv
