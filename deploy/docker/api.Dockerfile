# The API, its worker, its migrations and the command for its keys.
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
    && python -m pip --python /venv/bin/python install --no-cache-dir -c constraints.txt '.[api]'

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --no-create-home app
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER app
EXPOSE 8000
# Longer than an answer may take; whoever stops the container waits longer still.
CMD ["uvicorn", "--factory", "api.main:create_app", "--host", "0.0.0.0", "--port", "8000", \
     "--timeout-graceful-shutdown", "12"]
COPY --from=dependencies /venv /venv
COPY alembic.ini ./
COPY alembic alembic
COPY api api
