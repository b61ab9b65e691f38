# make demo      the whole way on the embedded default, into ./demo-workspace
# make test      lint, types and tests
# make test-all  the slow tests too
# make site      the documents as a site, into ./site

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all lint site

demo: $(READY)
	$(BIN)/pocketvlm demo --folder demo-workspace

test: lint
	$(BIN)/pytest -m "not slow"

test-all: lint
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

site: $(READY)
	$(BIN)/mkdocs build --strict

$(READY): requirements.txt pyproject.toml
	@echo "Setting up $(VENV): llama.cpp is compiled once, about 7 minutes on 2 cores; later it is cached."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --requirement requirements.txt
	$(BIN)/python -m pip install --no-deps --editable .
	@touch $(READY)
