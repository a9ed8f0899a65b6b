# `make run` and `make test` do all that a fresh machine with Python 3.11+, make and git needs.

PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")
BIN := .venv/bin
# Named for the pins: the environment is made again, from nothing, whenever one of them changes.
INSTALLED := .venv/installed-$(shell cat pyproject.toml constraints.txt | grep '==' | cksum | cut -d ' ' -f 1)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
MENU := awk -F'|' '{ printf "  %-14s %s\n", $$1, $$2 }'

.PHONY: help run real test check lint format docs

help: ## this page
	@echo "make ..."
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | $(MENU)
	@echo "snakemake --cores N ... (after \`make run\` or \`make check\`, with . .venv/bin/activate)"
	@[ ! -x $(BIN)/snakemake ] || $(BIN)/snakemake --list 2>/dev/null | sed -n 's/^\([a-z_]*\) (\(.*\))$$/\1|\2/p' | $(MENU)

run: $(INSTALLED) ## the default study, into results/
	@$(BIN)/snakemake --cores $(CORES) $(ARGS)

real: $(INSTALLED) ## two real models on the paper's tasks, into results/real/; wants the internet, or mirrors
	@$(BIN)/snakemake --cores $(CORES) --configfile config/real.yaml $(ARGS)

test: $(INSTALLED) ## all tests
	@$(BIN)/python -m pytest -n $(CORES) --dist loadgroup $(ARGS)

check: lint ## while working: lint, types, and the tests that start no workflow
	@$(BIN)/python -m pytest -n $(CORES) --dist worksteal -m "not workflow" $(ARGS)

lint: $(INSTALLED) ## style, types, and the arrows between the library's parts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile rules
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED) ## what can be mended by itself: style, and the generated parts of docs/
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile rules
	@$(BIN)/python scripts/write_docs.py

docs: $(INSTALLED) ## the pages of docs/ as a site, into site/
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

$(INSTALLED):
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Strata needs Python 3.11 or newer; this is ' + sys.version.split()[0] + '. Name another: make PYTHON=python3.12 run')"
	@echo "Setting up .venv (once; a few minutes) ..."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes --no-deps --requirement hashes.txt
	@$(PIP) --no-build-isolation --constraint constraints.txt --editable ".[workflow,test,quantised]"
	@touch $@
