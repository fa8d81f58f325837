# The API, its worker, its migrations and its key management.
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
    && python -m pip --python /venv/bin/python install --no-cache-dir -c constraints.txt '.[api]'

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --no-create-home app
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER app
EXPOSE 8000
# Each connection may buffer 64 KiB; connections beyond the limit are answered 503. The time to shut down is longer
# than the slowest request, and shorter than stop_grace_period.
CMD ["uvicorn", "--factory", "api.main:create_app", "--host", "0.0.0.0", "--port", "8000", \
     "--limit-concurrency", "512", "--timeout-graceful-shutdown", "12"]
COPY --from=dependencies /venv /venv
COPY alembic.ini ./
COPY alembic alembic
COPY api api
