# Everything a newcomer needs: `make demo` and `make test`. Needs Python 3.11+ and make, nothing else; uses uv if it is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv)
# Test processes. More than there are cores: many tests wait, for instance for a session to time out.
WORKERS ?= 3

.PHONY: install demo train test test-fast lint bench peers lock clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed  ## Create .venv with all locked dependencies: training, tests, lint

$(VENV)/.installed: pyproject.toml requirements.lock
	$(call install-locked,requirements.lock)
	@touch $@ $(VENV)/.demo-installed

$(VENV)/.demo-installed: pyproject.toml requirements-demo.lock requirements-build.lock
	$(call install-locked,requirements-demo.lock -r requirements-build.lock)
	@touch $@

ifdef UV
VENV_COMMAND := uv venv --quiet --allow-existing --seed --python $(PYTHON) $(VENV)
PIP := uv pip install --python $(BIN)/python
else
VENV_COMMAND := $(PYTHON) -m venv $(VENV)
PIP := $(BIN)/python -m pip install --disable-pip-version-check
endif

# Into .venv: what the lock files hold, and this source tree.
define install-locked
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hazardstream needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing $$(grep -c '^[a-z].*==' $(firstword $(1))) packages of $(firstword $(1)) into $(VENV) with $(if $(UV),uv,pip; uv is faster)"
	$(VENV_COMMAND)
	$(PIP) --require-hashes -r $(1)
	$(PIP) --quiet --no-deps --no-build-isolation --editable .
endef

demo: $(VENV)/.demo-installed  ## Broker, model, worker and fleet on this machine; watched live and accounted for
	$(BIN)/hazardstream demo

run-%: install  ## Train, start, replay and check a pipeline: absenteeism, churn, housing or tabular
	$(BIN)/hazardstream run $*

test: install  ## All tests; those of the worker run on a real Apache Kafka that the suite starts
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_OPTIONS)

test-fast: install  ## The tests that need no server and are not slow: about 80 seconds
	$(BIN)/python -m pytest -n 2 -m "not server and not slow"

lint: install  ## Format check, lint, which package may import which, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

train: install  ## The default model, from simulated sites, registered in MLflow
	$(BIN)/hazardstream train

BENCHMARKS := throughput latency scale restore stages
RESULTS := build/benchmarks

bench: install  ## All figures of docs/performance.md but the peers', into build/benchmarks
	@mkdir -p $(RESULTS)
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --json > $(RESULTS)/$$name.json || exit; done

peers: install  ## The worker beside Quix, Faust, Flink, Spark and others, each in an environment of its own
	@mkdir -p $(RESULTS)
	$(BIN)/python -m benchmarks.peers --json > $(RESULTS)/peers.json

PIN := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras

lock:  ## Pin all dependencies again; the lock files of the demo and the images hold subsets of the same versions
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	$(PIN) --all-extras --output-file requirements.lock pyproject.toml
	$(PIN) --constraint requirements.lock --output-file requirements-worker.lock pyproject.toml
	$(PIN) --constraint requirements.lock --extra local --output-file requirements-demo.lock pyproject.toml
	$(PIN) --constraint requirements.lock --extra training --extra replay --output-file requirements-training.lock pyproject.toml
	printf 'hatchling>=1.27\neditables>=0.5\n' | $(PIN) --constraint requirements.lock --output-file requirements-build.lock -
	echo 'awslambdaric>=4' | $(PIN) --constraint requirements.lock --output-file requirements-lambda.lock -

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
