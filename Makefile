# `make` lists the targets. Each brings into .venv the groups of requirements.txt that it needs.

PYTHON ?= python3
RECIPE := course
RUN := .venv/bin/python

# What may stand on the command line; anything else is a slip (`epochs=1`) and must not be ignored.
VARIABLES := PYTHON RECIPE EPOCHS RESUME ARGS LAB CPU STUDIO
# A shell may export CPU, or ARGS, for reasons of its own: only the command line speaks to us.
$(foreach name,EPOCHS RESUME ARGS LAB CPU STUDIO,$(eval $(name) :=))
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
ifneq ($(filter-out $(VARIABLES),$(given)),)
$(error no variable $(filter-out $(VARIABLES),$(given)) here; there are $(VARIABLES), in capitals)
endif

LESSONS := train notebooks classroom
UNITS := $(LESSONS) cloud test
ALL := $(UNITS) site bench
with = @command -v "$(PYTHON)" > /dev/null || { echo "error: no $(PYTHON) here: install Python \
	3.11 to 3.14, or name one, make PYTHON=/path/to/python3.14" >&2; exit 1; }; \
	"$(PYTHON)" tools/setup.py $(1) $(if $(filter-out 0 no,$(STUDIO)),--studio) \
	$(if $(filter-out 0 no,$(CPU)),--cpu=$(filter-out 1,$(CPU)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup train lint check test lab kernel notebooks exercises reproduce report site bench lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'and what they take: EPOCHS=1 RECIPE=fast RESUME=1 ARGS="--lr 0.01" LAB="--port 9000" CPU=1'

setup: ## make .venv for the lessons, or mend it after the checkout has moved; CPU=1 leaves CUDA out
	$(call with,$(LESSONS))

train: ## train, evaluate, draw; EPOCHS=1 is the quick look, RESUME=1 goes on after Ctrl-C
	$(call with,train)
	$(strip $(RUN) -m mnist_utils.train --recipe $(RECIPE) \
		$(if $(EPOCHS),--epochs $(EPOCHS) --out runs/quick) $(if $(filter-out 0 no,$(RESUME)),--resume) $(ARGS))

lab: ## open the notebooks, and your exercises, in JupyterLab; LAB="--no-browser" passes on
	$(call with,$(LESSONS))
	@$(RUN) -m tools.exercises --work
	$(strip $(RUN) -m jupyterlab \
		--LabApp.default_url='/lab/tree/notebooks/01_data.ipynb?file-browser-path=/notebooks/work' \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(LAB))

lint: ## check style
	$(call with,$(UNITS))
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check

check: lint ## before a commit: style, pairs, unit tests (some 90 seconds)
	$(RUN) -m tools.pairs --check
	$(RUN) -m pytest tests -m "not slow" $(ARGS)

test: ## prove it
	$(call with,$(ALL))
	$(RUN) -m pytest $(ARGS)

kernel: ## offer .venv as a kernel; in Studio, or with STUDIO=1, over the torch that is there
	$(call with,$(LESSONS))
	$(RUN) -m ipykernel install --user --name mnist-course --display-name "MNIST course"
	@$(RUN) -c 'import shutil, sys; from jupyter_core.paths import jupyter_data_dir as data; \
		shutil.copytree(*(top + "/labextensions/anywidget" \
		for top in (sys.prefix + "/share/jupyter", data())), dirs_exist_ok=True)'

notebooks: ## rebuild the .ipynb from the .py; ARGS=--all executes what did not change, too
	$(call with,$(UNITS))
	$(RUN) -m tools.pairs $(ARGS)

exercises: ## make the student's notebooks anew from notebooks/solutions/
	$(call with,$(LESSONS))
	$(RUN) -m tools.exercises

reproduce: ## measure every recipe and seed again that results/ lacks (hours; resumable)
	$(call with,$(LESSONS))
	$(RUN) -m tools.reproduce

report: ## render README's figures and pictures, the ledger and the lab from results/
	$(call with,$(LESSONS))
	$(RUN) -m tools.ledger
	$(RUN) -m classroom.lab
	$(RUN) -m tools.film

site: ## render the course as a site into site/, with every stored output
	$(call with,$(LESSONS) site)
	$(RUN) -m sphinx -q -W -b html -c tools/site -d build/doctrees . site
	@echo "open site/index.html"

bench: ## time augmentation and training side by side (leave the machine alone)
	$(call with,$(LESSONS) bench)
	$(RUN) -m tools.bench

lock: ## resolve requirements.txt into requirements.lock and pyproject.toml again
	$(call with,train)
	$(RUN) -m tools.lock

clean: ## remove .venv and every cache; runs/ stays
	rm -rf .venv .venv.tmp .venv.lock *.egg-info .pytest_cache .ruff_cache .hypothesis build site jupyter_execute
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
