.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# The first that is found, with what makes a virtual environment: Debian and Ubuntu package that apart.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13; do \
	if $$python -c 'import ensurepip, venv' 2>/dev/null; then echo $$python; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# What is installed here is found before anything installed by hand.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# pip leaves the compiling to the first import. Without leave to write bytecode each process would compile PyTorch
# and MLflow again, for 10 to 20 seconds.
unexport PYTHONDONTWRITEBYTECODE
# pip would refuse to install into the environment.
export PIP_USER := no
# `make repro promote` means one after the other, even if MAKEFLAGS says -j4.
.NOTPARALLEL:
# No part of the stack phones home; BentoML takes the word `true` only.
export DO_NOT_TRACK := true
export BENTOML_DO_NOT_TRACK := true

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[36m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: python
python:
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 with venv was found." \
	"On Debian or Ubuntu: apt-get install python3-venv. Elsewhere: make PYTHON=/path/to/python"; exit 2; }

$(INSTALLED): pyproject.toml constraints.txt | python
	@echo "Installing into $(VENV): 2.4 GB, about two minutes the first time"
	@# PostgreSQL runs as another account if the caller is root, and must be able to read its programs.
	umask 022; test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# Compiling every module of every package takes as long as installing them; Python compiles what it imports.
	umask 022; $(BIN)/python -m pip install -qq --no-compile -c constraints.txt -e '.[pipelines,bentos,api,local,dev,docs]'
	@touch $@

.PHONY: install
install: $(INSTALLED) ## Install everything into .venv, pinned by constraints.txt

.PHONY: demo
demo: ## Everything: install, ingest, repro, promote, up, load 500 reviews, ask
	@began=$$(date +%s); $(MAKE) --no-print-directory install; \
	exec python -m deploy.local demo --install-seconds $$(( $$(date +%s) - began ))

# Tests mostly wait for processes, so there is one more of them than a small machine has cores.
TEST_PROCESSES ?= 3

.PHONY: test
test: install ## Run every test: real PostgreSQL, MLflow and Bento processes
	pytest --numprocesses $(TEST_PROCESSES)

.PHONY: quick
quick: install ## Run the tests that start no process, in under a minute
	pytest -m 'not process'

.PHONY: check
check: install ## Lint, formatting, types, import rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports

.PHONY: fix
fix: install ## Format, and mend what ruff can
	ruff check --fix .
	ruff format .

.PHONY: docs
docs: install ## Build the documentation into site/; any warning is an error
	python -m docs.generate
	zensical build --strict

.PHONY: docs-serve
docs-serve: docs ## Show the documentation at http://127.0.0.1:8001, and rebuild it on changes
	zensical serve --dev-addr 127.0.0.1:8001

.PHONY: ingest
ingest: install ## Fetch the reviews into data/
	python -m pipelines.ingest

# git gives its reason: no checkout, or one of another owner.
.PHONY: checkout
checkout:
	@git rev-parse --git-dir >/dev/null || { echo "DVC needs a git checkout. In an unpacked archive:" \
	"git init --quiet && git add --all && git commit --quiet --message Unpacked"; exit 2; }

.PHONY: repro
repro: checkout install ## Run the pipeline: prepare, train, export, evaluate, register
	dvc repro

.PHONY: sweep
sweep: checkout install ## Search for better params (sweep.yaml), then register the best run; again goes on
	python -m pipelines.sweep

.PHONY: promote
promote: install ## Make the best registered model the served one
	python -m bentos.sentiment.promote --alias challenger

.PHONY: up
up: install ## Start the stack, or what is missing of it, and wait until it serves
	python -m deploy.local up

.PHONY: secrets
secrets: ## Write into .env the passwords that docker compose needs, where they are missing
	@python3 -m deploy.env

.PHONY: status
status: install ## Show the services of the stack
	python -m deploy.local status

.PHONY: observe
observe: install ## Watch the running stack with Debian's Prometheus: figures and alerts, until Ctrl-C
	python -m deploy.local observe

.PHONY: down
down: ## End every process of the stack; its data stays in var/
	@if test -x $(BIN)/python; then $(BIN)/python -m deploy.local down; fi

# `make backup STACK=compose` is for docker-compose.yml, and needs nothing that `install` brings.
STACK ?= local
BACKUP = python3 -m deploy.backup --stack $(STACK)

.PHONY: backup
backup: $(if $(filter local,$(STACK)),install) ## Keep reviews, registry and artifacts in backups/; the stack goes on
	@$(BACKUP) dump

.PHONY: restore
restore: $(if $(filter local,$(STACK)),install) ## Fill an empty stack: make restore FROM=backups/...
	@test -n "$(FROM)" || { echo "which? make restore FROM=backups/..."; ls -d backups/*/ 2>/dev/null; exit 2; }
	@$(BACKUP) restore "$(FROM)"

.PHONY: clean
clean: checkout down ## Delete runs, models, reviews and results; .venv and downloads stay
	rm -rf var results data .dvc/cache .dvc/tmp
	git checkout --quiet -- results # the metrics and plots of the last commit
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

PEERS := var/peers/venv

$(PEERS)/.installed: pyproject.toml constraints.txt | python
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -qq --no-compile -c constraints.txt -e '.[peers]'
	@touch $@

.PHONY: peers
peers: $(PEERS)/.installed ## Install what the serving benchmark compares with: 2.2 GB, beside .venv

.PHONY: benchmark
benchmark: install peers ## Measure serving beside its peers: 45 minutes on a quiet machine
	python -m benchmarks.serving

.PHONY: lock
lock: install ## Write the installed versions to constraints.txt and the Bento's requirements
	@{ echo '# Every resolved version, for Python 3.11 to 3.13; `make lock` writes it anew. pip reads it with -c.'; \
	pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v ' @ '; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt
	@python -m tests.bentos.requirements
