# `make` lists the targets. Each sets up .venv from requirements.lock first, if that is not done.

PYTHON ?= python3
RECIPE ?= course
EPOCHS ?=
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup train test lab kernel lint notebooks reproduce report bench lock

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv (about 3 minutes, 7 GB)

train: $(READY) ## train, evaluate, draw; EPOCHS=1 is the quick look, RECIPE=reference the source's
	$(RUN) -m mnist_utils.train --recipe $(RECIPE) $(if $(EPOCHS),--epochs $(EPOCHS) --out runs/quick)

test: $(READY) ## prove it
	$(RUN) -m pytest

lab: $(READY) ## open the notebooks in JupyterLab
	$(VENV)/bin/jupyter lab notebooks

kernel: $(READY) ## offer .venv to Jupyter and SageMaker Studio as the kernel "MNIST course"
	$(RUN) -m ipykernel install --user --name mnist-course --display-name "MNIST course"

lint: $(READY) ## check style
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

notebooks: $(READY) ## rebuild the .ipynb from the .py, execute them in place
	$(RUN) -m mnist_utils.pairs

reproduce: $(READY) ## measure every recipe and seed again that results/ lacks (hours; resumable)
	$(RUN) -m mnist_utils.reproduce

report: $(READY) ## render README's figures, its pictures and the claims ledger from results/
	$(RUN) -m mnist_utils.ledger

bench: $(READY) ## time augmentation, training and inference side by side (leave the machine alone)
	$(RUN) -m mnist_utils.bench

lock: $(READY) ## resolve requirements.txt into requirements.lock again
	$(RUN) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
		--custom-compile-command "make lock" requirements.txt --output-file requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old or missing: install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
