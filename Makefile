# `make run` and `make test` do all that a fresh machine with Python 3.11+, make and git needs.

PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")
BIN := .venv/bin

.PHONY: run test lint format

run: .venv/installed
	@$(BIN)/snakemake --cores $(CORES) $(ARGS)

test: .venv/installed
	@$(BIN)/python -m pytest -n $(CORES) --dist loadgroup $(ARGS)

lint: .venv/installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile rules

format: .venv/installed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile rules
	@$(BIN)/python scripts/keys.py README.md config/schema.yaml

# The environment is made again, from nothing, whenever a pin changes.
.venv/installed: requirements.txt constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Strata needs Python 3.11 or newer; this is ' + sys.version.split()[0] + '. Name another: make PYTHON=python3.12 run')"
	@echo "Setting up .venv (once; a few minutes) ..."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@
