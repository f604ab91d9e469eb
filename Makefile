# `make` or `make help` prints what there is. Needs Python 3.11 or later with pip.

SHELL := /bin/sh
# The first of these that is there and new enough.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done || true)
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Processes that share the tests. Many tests wait for servers: more of them than cores is quicker.
JOBS ?= 4
# Further arguments for pytest, e.g. make unit ARGS='-k join -x'
ARGS ?=
# The workflow that `make up` runs once everything is up.
RUN ?= examples/tour.yaml

ifeq ($(strip $(PYTHON)),)
PYTHON := python3
endif

export VENV
# The tests start hundreds of processes, which would each compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## Print this
	@echo "Celeriac: make TARGET"
	@echo
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='|' read -r target text; do printf '%-14s %s\n' "$$target" "$$text"; done

.PHONY: up
up: venv ## Set up everything, start Celeriac here, run an example and keep serving
	$(BIN)/celeriac up --run $(RUN)

.PHONY: test
test: venv-dev ## Set up everything and run all checks and tests (what the automatic checks run)
	@$(MAKE) --no-print-directory check unit integration conformance chaos

.PHONY: check
check: lint types contracts ## Look without running: lint, types, import contracts

.PHONY: lint
lint: venv-dev ## Check style and order of imports (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: format
format: venv-dev ## Put the code into the common form (ruff)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: types
types: venv-dev ## Check types (mypy, strict in the core)
	$(BIN)/mypy

.PHONY: contracts
contracts: venv-dev ## Check who imports whom (import-linter, contracts in setup.cfg)
	$(BIN)/lint-imports --config setup.cfg

.PHONY: unit
unit: venv-dev ## Tests that need nothing: seconds
	$(PYTEST) tests/unit tests/simulation -n $(JOBS) $(ARGS)

.PHONY: simulate
simulate: venv-dev ## Random workflows under random schedules, for longer (ARGS="--seconds 600")
	$(BIN)/python -m tests.simulation $(ARGS)

.PHONY: integration
integration: venv-dev ## Tests on real servers, which they start themselves
	$(PYTEST) tests/integration -n $(JOBS) --maxschedchunk 1 $(ARGS)

.PHONY: conformance
conformance: venv-dev ## Recorded behaviour against a running Celeriac, over HTTP
	$(PYTEST) tests/conformance -n $(JOBS) $(ARGS)

.PHONY: chaos
chaos: venv-dev ## Kill processes and servers while work is in flight
	$(PYTEST) tests/chaos -n 2 $(ARGS)

.PHONY: coverage
coverage: venv-dev ## Unit and integration tests, and which lines they ran
	$(BIN)/coverage erase
	$(PYTEST) tests/unit tests/integration -n $(JOBS) --cov --cov-report= $(ARGS)
	$(BIN)/coverage report

.PHONY: bench
bench: venv-dev ## Measure, beside raw Celery on the same machine
	$(BIN)/python -m bench $(ARGS)

.PHONY: docs
docs: venv ## Write anew what stands in docs/ but comes from the code
	$(BIN)/python -m tools.configuration

.PHONY: lock
lock: ## Write both lock files anew, from the bounds in setup.cfg
	$(PYTHON) tools/environment.py --lock

.PHONY: dist
dist: venv-dev ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

.PHONY: venv
venv: ## Only set up what running needs
	@$(PYTHON) tools/environment.py

.PHONY: venv-dev
venv-dev: ## Only set up what the tests need
	@$(PYTHON) tools/environment.py --dev

.PHONY: clean
clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache htmlcov .coverage .coverage.*
	find app workers tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
