# Everything that a developer types. Each target installs what it needs and says so; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
WORKERS ?= 2

.PHONY: help demo test test-fast test-long lint bench engine engine-stop clean

help:  ## list what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(PYTHON)  ## train, build, run, ask: the whole road on this machine, cleaned up after
	@scripts/demo.sh

test: $(PYTHON) engine lint  ## all tests; a missing engine is a failure
	$(PYTHON) -m pytest -n $(WORKERS) -m "not long"

test-fast: $(PYTHON) lint  ## the tests that need no engine
	$(PYTHON) -m pytest -n $(WORKERS) -m "not long and not docker"

test-long: $(PYTHON) engine  ## what takes longer than CI may: large models, soak
	$(PYTHON) -m pytest -n $(WORKERS) -m long

lint: $(PYTHON)  ## style, types
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

bench: $(PYTHON)  ## each performance claim as a ratio, measured now
	@for benchmark in benchmarks/[!m]*.py; do echo "== $$benchmark"; $(PYTHON) $$benchmark $(BENCH); done

engine: $(PYTHON)  ## a Docker engine and the base image, installed where none answers
	@scripts/engine.sh start

engine-stop:  ## end the engine that `make engine` started
	@scripts/engine.sh stop

clean:  ## remove what make made in this folder
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dist

$(PYTHON): pyproject.toml
	@scripts/python.sh
