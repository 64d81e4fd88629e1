# `make` lists the targets. Each sets up .venv from requirements.lock first, if that is not done.

PYTHON ?= python3
RECIPE ?= course
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python

# What may stand on the command line; anything else is a slip (`epochs=1`) and must not be ignored.
VARIABLES := PYTHON RECIPE EPOCHS RESUME ARGS LAB STUDIO
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
ifneq ($(filter-out $(VARIABLES),$(given)),)
$(error no variable $(filter-out $(VARIABLES),$(given)) here; there are $(VARIABLES), in capitals)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup train lint check test lab kernel notebooks exercises reproduce report site bench lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'and what they take: EPOCHS=1 RECIPE=fast RESUME=1 ARGS="--lr 0.01" LAB="--port 9000"'

setup: $(READY) ## make .venv, or mend it after the checkout has moved (about 4 minutes, 7 GB)

train: $(READY) ## train, evaluate, draw; EPOCHS=1 is the quick look, RESUME=1 goes on after Ctrl-C
	$(strip $(RUN) -m mnist_utils.train --recipe $(RECIPE) \
		$(if $(EPOCHS),--epochs $(EPOCHS) --out runs/quick) $(if $(filter-out 0 no,$(RESUME)),--resume) $(ARGS))

lint: $(READY) ## check style
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check

check: lint ## before a commit: style, pairs, unit tests (some 90 seconds)
	$(RUN) -m tools.pairs --check
	$(RUN) -m pytest tests -m "not slow" $(ARGS)

test: $(READY) ## prove it
	$(RUN) -m pytest $(ARGS)

lab: $(READY) ## open the notebooks, and your exercises, in JupyterLab; LAB="--no-browser" passes on
	@$(RUN) -m tools.exercises --work
	$(strip $(RUN) -m jupyterlab \
		--LabApp.default_url='/lab/tree/notebooks/01_data.ipynb?file-browser-path=/notebooks/work' \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(LAB))

kernel: $(READY) ## offer .venv as a kernel; in Studio, or with STUDIO=1, over the torch that is there
	$(RUN) -m ipykernel install --user --name mnist-course --display-name "MNIST course"
	@$(RUN) -c 'import shutil, sys; from jupyter_core.paths import jupyter_data_dir as data; \
		shutil.copytree(*(top + "/labextensions/anywidget" \
		for top in (sys.prefix + "/share/jupyter", data())), dirs_exist_ok=True)'

notebooks: $(READY) ## rebuild the .ipynb from the .py; ARGS=--all executes what did not change, too
	$(RUN) -m tools.pairs $(ARGS)

exercises: $(READY) ## make the student's notebooks anew from notebooks/solutions/
	$(RUN) -m tools.exercises

reproduce: $(READY) ## measure every recipe and seed again that results/ lacks (hours; resumable)
	$(RUN) -m tools.reproduce

report: $(READY) ## render README's figures and pictures, the ledger and the lab from results/
	$(RUN) -m tools.ledger
	$(RUN) -m classroom.lab

site: $(READY) ## render the course as a site into site/, with every stored output
	$(RUN) -m sphinx -q -W -b html -c tools/site -d build/doctrees . site
	@echo "open site/index.html"

bench: $(READY) ## time augmentation and training side by side (leave the machine alone)
	$(RUN) -m tools.bench

lock: $(READY) ## resolve requirements.txt into requirements.lock again
	$(RUN) -m pip install --quiet uv
	$(RUN) -m uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
		--custom-compile-command "make lock" requirements.txt --output-file requirements.lock
	$(RUN) -m uv pip compile --quiet --universal --python-version 3.12 --no-annotate \
		--custom-compile-command "make lock" --constraint tools/studio/image.txt \
		tools/studio/requirements.txt --output-file tools/studio/requirements.lock

clean: ## remove .venv and every cache; runs/ stays
	rm -rf $(VENV) $(VENV).tmp *.egg-info .pytest_cache .ruff_cache .hypothesis build site jupyter_execute
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made for another folder, .venv is made or mended anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
$(READY): requirements.lock $(wildcard tools/studio/requirements.lock) tools/setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old or missing: install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) tools/setup.py $(if $(STUDIO),--studio)
