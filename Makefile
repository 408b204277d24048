# Everything that a developer types. Each target installs what it needs and says so; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
VENV := .venv/made
WORKERS ?= 3

.PHONY: help demo test test-fast test-long lint bench engine engine-stop browser clean

help:  ## list what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(VENV)  ## train, build, run, ask: the whole road on this machine, cleaned up after
	@scripts/demo.sh

test: $(VENV) engine browser lint  ## all tests; a missing engine is a failure, and so is a missing browser
	$(PYTHON) -m pytest -n $(WORKERS) -m "not long"

test-fast: $(VENV) browser lint  ## the tests that need no engine
	$(PYTHON) -m pytest -n $(WORKERS) -m "not long and not docker"

test-long: $(VENV) engine browser  ## what takes longer than CI may: large models, soak
	$(PYTHON) -m pytest -n $(WORKERS) -m long

lint: $(VENV)  ## style, types
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

bench: $(VENV)  ## each performance claim as a ratio, measured now
	@for benchmark in benchmarks/[!m]*.py; do echo "== $$benchmark"; $(PYTHON) $$benchmark $(BENCH); done

engine: $(VENV)  ## a Docker engine and the base image, installed where none answers
	@scripts/engine.sh start

engine-stop:  ## end the engine that `make engine` started
	@scripts/engine.sh stop

browser: $(VENV)  ## a Chromium for the tests of the page, installed where there is none
	@scripts/browser.sh

clean:  ## remove what make made in this folder
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dist

$(VENV): pyproject.toml
	@scripts/python.sh
