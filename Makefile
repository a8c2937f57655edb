# Everything a person does with this repository. `make` alone lists it.
# Names given on the command line reach the programs: make test ARGS=-x, make demo DATA=folder.

VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.synthmri-ready
UV ?= $(shell command -v uv || echo $(VENV)/bin/uv)
export PYTHON UV

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status logs test test-unit lint fmt types bench bench-gpu openapi lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) $(EXTRAS:%=$(VENV)/.synthmri-%) ## Install everything into .venv (Python 3.11 or 3.12: PYTHON=...; more: EXTRAS=radiomics)

$(READY): requirements/all.lock pyproject.toml deploy/setup.sh
	@sh deploy/setup.sh $(VENV)
	@touch $@

$(VENV)/.synthmri-%: requirements/%.lock $(READY)
	@$(UV) pip install --quiet --python $(PY) --require-hashes -r $<
	@touch $@

demo: setup ## The whole story in a few minutes, pictures in demo-output/ (DATA=folder for your own MRIs)
	@$(PY) -m deploy.embedded.demo $(if $(DATA),--data '$(DATA)') $(ARGS)

up: setup ## Start the platform on this machine (SYNTHMRI_PORT, SYNTHMRI_DATA_DIR)
	@$(PY) -m deploy.embedded up

down: setup ## Stop what `make up` started; the data stay
	@$(PY) -m deploy.embedded down

status: setup ## What runs, since when, in how much memory
	@$(PY) -m deploy.embedded status

logs: setup ## The end of every log (ARGS="gateway -f" follows one)
	@$(PY) -m deploy.embedded logs $(ARGS)

test: setup ## All tests (ARGS="-k sampling" and the like are passed on)
	@$(PY) -m pytest $(ARGS)

test-unit: setup ## The tests that need no server
	@$(PY) -m pytest -m "not e2e and not services and not slow and not data" $(ARGS)

lint: setup ## Style, format and the dependency rules
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports

fmt: setup ## Put the code in the house format
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

types: setup ## mypy, strict
	@$(VENV)/bin/mypy

bench: setup ## The measurements behind the numbers in the README, into bench-output/
	@$(PY) -m pytest tests/bench --timeout 1200 -s $(ARGS)

bench-gpu: setup ## The study's loop against ours on an NVIDIA GPU, into bench-output/ (ARGS="--minutes 8")
	@$(PY) -m tests.bench.gpu $(ARGS)

openapi: setup ## Save the merged OpenAPI document of the running platform to openapi.json
	@$(PY) -m deploy.embedded openapi openapi.json

lock: ## Resolve the dependencies again into requirements/*.lock (UPGRADE=1 for newer versions)
	@sh deploy/lock.sh

clean: ## Remove caches and reports; the data folder and .venv stay
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis demo-output bench-output dist *.egg-info
