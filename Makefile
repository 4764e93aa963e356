# make help lists the targets. Each one makes the environment it needs in .venv, once.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

BIN    := .venv/bin
STAMP  := .venv/.installed
PYTEST := $(BIN)/python -m pytest
BARS   ?=
OUT    ?= demo-run
ARGS   ?=


.ONESHELL:
.PHONY: help setup venv java demo test test-unit cover check fix bench faults lint-docker clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

setup: $(STAMP) ## make .venv with the package and its tools
	@$(MAKE) java || echo 'Without Java, --engine local still runs.'

$(STAMP): pyproject.toml constraints.txt
	@if command -v uv >/dev/null; then
	  [[ -x $(BIN)/python ]] || uv venv --quiet --python '>=3.11,<3.13' .venv
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	else
	  [[ -x $(BIN)/python ]] || $(MAKE) venv
	  $(BIN)/python -m pip install --quiet --use-pep517 --disable-pip-version-check -c constraints.txt -e '.[dev]'
	fi
	# A worker starts three times as fast from bytecode, which uv does not compile.
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	touch $@

venv:
	@for python in python3.11 python3.12 python3; do
	  if "$$python" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null
	  then exec "$$python" -m venv .venv; fi
	done
	echo 'Python 3.11 or 3.12 with venv was not found; install it: apt install python3.11 python3.11-venv (or brew install python@3.11)' >&2
	exit 1

java:
	@java=$${JAVA_HOME:+$$JAVA_HOME/bin/}java
	version=$$("$$java" -version 2>&1 | sed -nE '1s/.*version "([0-9]+).*/\1/p' || true)
	if [[ $$version != 17 && $$version != 21 ]]; then
	  echo "Java 17 or 21 is needed and $${version:-none} was found; install it: apt install openjdk-17-jre-headless (or brew install openjdk@17)" >&2
	  exit 1
	fi

demo: $(STAMP) java ## the whole chain on generated bars, or on BARS=file.csv.gz
	$(BIN)/streambt demo --out '$(OUT)' $(if $(BARS),--bars '$(BARS)')

test: test-unit java ## every test but the long ones
	$(PYTEST) tests --ignore=tests/unit --ignore=tests/property --ignore=tests/golden

test-unit: $(STAMP) ## the tests that need neither Spark nor a server
	$(PYTEST) --numprocesses logical --dist worksteal tests/unit tests/property tests/golden

# Compiled code leaves no trace: kernels are left out here, and shown by what computes the same
# without them (naive loops, brokers in exact fractions, TA-Lib, ledgers made by hand).
cover: $(STAMP) ## the branches of the core that the tests run, and the least there may be
	$(PYTEST) --numprocesses logical tests/unit tests/property tests/golden --cov

check: lint-docker ## lint, format, types, the import contracts, the image and the compose file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP) ## format, and repair what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) java ## speed and memory beside other backtesters; ARGS=--help tells the options
	$(BIN)/python -m benchmarks $(ARGS)

faults: $(STAMP) java ## the long tests: kill a run at ten random moments and resume it
	FAULT_KILLS=10 $(PYTEST) tests/faults

lint-docker: $(STAMP) ## lint the image and the compose file
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/yamllint -c .yamllint.yaml docker conf .pre-commit-config.yaml

clean: ## remove caches, builds and the demo's output; .venv stays
	rm -rf demo-run build dist spark-warehouse metastore_db derby.log .import_linter_cache
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
