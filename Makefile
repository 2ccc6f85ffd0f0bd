# `make demo` and `make test` set up everything they need in .venv, from the package registries alone.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE
export HF_HUB_OFFLINE ?= 1

.PHONY: help demo test lint type compare docs clean

help:  ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/core.done  ## rebuild four photos from 1, 2, 4, ... tokens, and make new ones: demo.png, generated.png
	$(BIN)/openflextok demo --steps 20 --out demo.png
	$(BIN)/openflextok generate --label Banana --label Royal-Gala --label Aubergine --label Lime \
		--count 1 --preview --steps 20 --out generated.png

test: lint type $(VENV)/dev.done  ## lint, types, layers and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/dev.done  ## style, banned imports, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -c "import importlib.util as u, sys; sys.exit('torchvision must not be installed' if u.find_spec('torchvision') else 0)"

type: $(VENV)/dev.done  ## static types of src
	$(BIN)/pyright --pythonpath $(BIN)/python

compare: $(VENV)/dev.done  ## train and measure FlexTok and its relatives at one small size: hours; goes on where it was
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/compare.py runs/compare

docs: $(VENV)/docs.done  ## build the documentation into site/; broken links fail
	$(BIN)/zensical build --strict

clean:  ## remove the environment and build outputs
	rm -rf $(VENV) site demo.png generated.png

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.done: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/dev.done: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/core.done

$(VENV)/docs.done: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
