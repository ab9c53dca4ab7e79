# `make demo` and `make test` do everything on a machine that has Python >= 3.11, and nothing else.
#
#   make demo     environment, then train, attack and certify four small networks: runs/demo
#   make test     environment, lint, types, tests, doctests; then the engine's tests on Python 3.12
#   make lint     ruff (rules and format) and pyright
#   make format   let ruff repair what it can
#   make clean    remove environments and caches
#
#   PYTHON=...    interpreter of .venv, 3.11 or later; PYTHON312=... interpreter of .venv312
#   JOBS=2        test processes;  PYTEST="-k conv"  further options of the tests

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo test test-main test-newest lint format clean

comma := ,

# The first of these that runs, is new enough and can make virtual environments.
probe = for p in $(1); do "$$p" -c 'import sys, venv, ensurepip; sys.exit(not $(2))' >/dev/null 2>&1 && { echo "$$p"; break; }; done; true
ifndef PYTHON
PYTHON := $(shell $(call probe,python3.11 python3 python3.12 python3.13 $(wildcard $(HOME)/.pyenv/versions/3.11*/bin/python),sys.version_info >= (3$(comma) 11)))
endif
ifndef PYTHON312
PYTHON312 := $(shell $(call probe,python3.12 $(wildcard $(HOME)/.pyenv/versions/3.12*/bin/python),sys.version_info[:2] == (3$(comma) 12)))
endif
JOBS ?= 2
PYTEST ?=

BIN := .venv/bin
PIP_INSTALL := -m pip install --quiet --quiet --disable-pip-version-check
TESTS_NEWEST := tests/kernels tests/graph tests/bounds $(addprefix tests/attacks/test_,pgd.py objectives.py direction.py autoattack.py) tests/relax/test_joins.py tests/regions/test_linear.py tests/soundness/test_sampled.py
# Of the sampled networks, a few with the kinds of layer that others build on; activation records are plain arithmetic.
NEWEST_ONLY := not test_sampled or conv_residual or conv_strided or skip or max_pool or attention
# Node comes with the pinned requirements, and pyright need not ask whether there is a newer pyright.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: .venv/.installed
	$(BIN)/jaxcert demo

test: test-main test-newest

test-main: lint
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --timeout 300 --durations 15 tests $(PYTEST)
	JAX_PLATFORMS=cpu JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest -n $(JOBS) --timeout 120 --doctest-modules jaxcert -p no:cacheprovider

ifneq ($(PYTHON312),)
test-newest: test-main .venv312/.installed
	@echo "Engine tests on Python 3.12 with the newest jax (without slow ones and data)"
	JAX_PLATFORMS=cpu .venv312/bin/python -m pytest -n $(JOBS) --dist worksteal --timeout 300 -m "not slow and not data" -k "$(NEWEST_ONLY)" $(TESTS_NEWEST) $(PYTEST)
else
test-newest: test-main
	@echo "NOT RUN: no Python 3.12 found, so the engine's tests did not run with the newest jax (set PYTHON312=...)."
	@case "$${CI:-}" in 1|true) echo "In CI this part is required."; exit 1;; esac
endif

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/.installed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv312 .pytest_cache .ruff_cache .hypothesis .cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp stands for a finished installation: without it (an interrupted one) the environment is made anew.
.venv/.requirements: requirements/py311.txt
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with the venv module found: install one or set PYTHON=/path/to/python."; exit 1; }
	@echo "Creating .venv with $(PYTHON) and installing the pinned requirements (a minute or two)"
	"$(PYTHON)" -m venv --clear .venv
	$(BIN)/python $(PIP_INSTALL) -r requirements/py311.txt
	@touch $@

.venv/.installed: .venv/.requirements pyproject.toml
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv312/.installed: requirements/py312.txt
	@echo "Creating .venv312 with $(PYTHON312) and installing the pinned requirements"
	"$(PYTHON312)" -m venv --clear .venv312
	.venv312/bin/python $(PIP_INSTALL) -r requirements/py312.txt
	@touch $@
