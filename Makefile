# make demo   from bulk silicon to a certified potential, by real DFT
# make test   every test of every package
# make lint   ruff, formatting, mypy --strict
# `make help` lists the rest.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready
RUN_READY := $(VENV)/.run-ready
# What `make demo` needs; and what only development and tests do (esper brings torch).
RUN_PACKAGES := packages/rootstock packages/pyacemaker
DEV_PACKAGES := packages/ai-how packages/esper
PACKAGES := $(RUN_PACKAGES) $(DEV_PACKAGES)
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile

.PHONY: help install demo test test-fast lint format docs lock clean setup

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(RUN_READY)  ## set up, then run examples/silicon.yaml in runs/silicon
	$(BIN)/pyacemaker run examples/silicon.yaml --workdir runs/silicon

test: $(READY)  ## set up, then run every test
	$(BIN)/pytest $(PYTEST_ARGS)

test-fast: $(READY)  ## the tests that run no external program
	$(BIN)/pytest -m "not real" $(PYTEST_ARGS)

lint: $(READY)  ## ruff, formatting and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(addsuffix /src,$(PACKAGES))

format: $(READY)  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

install: $(RUN_READY)  ## what campaigns need, in .venv (no torch)

setup: $(READY)  ## that, clusters, networks that grow (torch), and what tests need, in .venv

lock: $(UV)  ## pin every dependency anew in constraints.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
	    --upgrade requirements-dev.in --output-file constraints.txt
	sed -i '/^-e /d' constraints.txt

clean:  ## remove .venv and what tests and builds left
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "make: $(PYTHON) is older than 3.11; name another with PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "make: $(PYTHON) cannot make environments; install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

# What the main job needs, and no more. Compiled at once: uv leaves that to the first start, which
# then takes seconds longer (and every start does where PYTHONDONTWRITEBYTECODE is set).
$(RUN_READY): $(UV) constraints.txt $(addsuffix /pyproject.toml,$(RUN_PACKAGES))
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt \
	    $(foreach package,$(RUN_PACKAGES),--editable ./$(package))
	@touch $@

# And what development and tests need. uv does not read pip's settings: a folder of wheels that
# pip is told of on this machine (with a torch without CUDA, say) is named to it here.
FIND_LINKS = $(or $(PIP_FIND_LINKS),$(shell $(BIN)/pip config get global.find-links 2>/dev/null))

$(READY): $(RUN_READY) requirements-dev.in $(addsuffix /pyproject.toml,$(DEV_PACKAGES))
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt \
	    $(foreach place,$(FIND_LINKS),--find-links $(place)) --requirement requirements-dev.in
	@touch $@
