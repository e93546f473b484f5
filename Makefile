# `make help` lists the targets. VENV=/path uses an existing environment instead of making .venv:
# only detr_d2 itself is installed into it, and only if it is not there.

VENV ?=
ENV_DIR := $(if $(VENV),$(VENV),.venv)
PY := $(ENV_DIR)/bin/python
# Modules that an existing environment must have for the target.
NEEDED_TOOLS :=

.PHONY: help env demo explain recipe overfit test mutants lint format clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  VENV=/path uses an existing environment; PYTHON=/path makes .venv with that Python."

env: ## Make the environment .venv (Python 3.10 to 3.12) unless it is there
ifeq ($(VENV),)
	@python=$$(PYTHON="$(PYTHON)" sh tools/env/find_python.sh) && "$$python" tools/env/make_env.py
else
	@test -x "$(PY)" || { echo "VENV=$(VENV): there is no $(PY)" >&2; exit 1; }
	@"$(PY)" tools/env/use_env.py $(NEEDED_TOOLS)
endif

demo: env ## Render a data set, train both stages, evaluate, show predictions: output/demo
	"$(PY)" tools/examples/run_demo.py

explain: env ## Explain the demo's model on one image, page and pictures: output/explain
	"$(PY)" tools/examples/run_explain.py

recipe: env ## Own masks, labelled stuff, both stages on the demo's weights: output/recipe
	@test -f output/demo/panoptic/model_ema.pth || "$(PY)" tools/examples/run_demo.py
	"$(PY)" tools/examples/run_recipe.py

overfit: env ## Train on the three real images of the test data: output/overfit
	"$(PY)" tools/examples/run_overfit.py

test: NEEDED_TOOLS := pytest
test: env ## Run the tests
	"$(PY)" -m pytest

mutants: NEEDED_TOOLS := pytest
mutants: env ## Change the code in 60 places, one at a time, and count what the tests notice
	"$(PY)" tools/env/mutants.py --count 60

lint: NEEDED_TOOLS := ruff mypy
lint: env ## Check style and types
	"$(PY)" -m ruff check .
	"$(PY)" -m ruff format --check .
	"$(PY)" -m mypy

format: NEEDED_TOOLS := ruff
format: env ## Put the code into the one format
	"$(PY)" -m ruff check --fix .
	"$(PY)" -m ruff format .

clean: ## Remove caches and build files; .venv and output stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find detr_d2 tools tests datasets -name __pycache__ -type d -prune -exec rm -rf {} +
