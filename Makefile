# Everything runs in .venv, which the first target that needs it makes: Python 3.11 or later and make are enough.
# Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_BENCHMARKS := $(VENV)/.installed-benchmarks
INSTALLED_DOCS := $(VENV)/.installed-docs
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Of the interpreters on the path, and of those that pyenv keeps, the newest that runs; by hand: make NEWEST=python3.14 newest
NEWEST ?= $(shell for python in $$(ls -d $(HOME)/.pyenv/versions/3.*/bin/python3 2>/dev/null) python3.20 python3.19 \
    python3.18 python3.17 python3.16 python3.15 python3.14 python3.13 python3.12 python3.11 $(PYTHON); do \
    "$$python" -c 'import ensurepip, sys, sysconfig; \
        print("%03d.%03d.%03d" % sys.version_info[:3], sys.executable)' 2>/dev/null; \
    done | sort | tail -n 1 | cut -d " " -f 2)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help test gallery smoke seeds long slow benchmarks docs dist newest lock clean check-python

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

test: $(INSTALLED) ## lint, format, types, floors, then the tests of at most a second or two each
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2

gallery: $(INSTALLED) ## every study at the quick budget; the index is gallery-out/index.html
	$(BIN)/undertow reproduce --budget quick --out gallery-out

# Most of it is compilation, of programs that run for seconds at most: without optimizations it takes half as long.
smoke: export XLA_FLAGS := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
    --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
smoke: $(INSTALLED) ## every study in seconds: does it run at all
	rm -rf build/smoke
	$(BIN)/undertow reproduce --budget smoke --jobs 2 --out build/smoke

seeds: $(INSTALLED) ## every study under five other seeds (hours); the table goes to docs/seeds.md
	for seed in 1 2 3 4 5; do \
	    $(BIN)/undertow reproduce --budget quick --seed $$seed --out build/seeds/$$seed || [ $$? -eq 1 ] || exit 1; \
	done
	$(BIN)/python docs/write_seeds.py build/seeds docs/seeds.md

long: $(INSTALLED) ## whole trainings and the examples of the studies: tests of seconds, which `make test` leaves out
	$(BIN)/python -m pytest -n 2 -m "long and not slow and not reproduction"

slow: $(INSTALLED) ## the tests that take minutes: published claims at their source's scale, processes that are killed
	$(BIN)/python -m pytest -n 2 -m "slow or reproduction"

benchmarks: $(INSTALLED_BENCHMARKS) ## speed against what one would have used instead (installs PyTorch)
	$(BIN)/python -m benchmarks

docs: $(INSTALLED_DOCS) ## the documentation, every example executed, in build/docs/html
	$(BIN)/python -m sphinx -W --keep-going --quiet -d build/docs/doctrees docs build/docs/html
	@echo "The documentation is in build/docs/html/index.html"

dist: $(INSTALLED) ## source distribution and wheel in dist, installed in an empty environment and run from there
	rm -rf dist build/dist
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/python -m venv build/dist
	build/dist/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd build && dist/bin/undertow --version
	cd build && dist/bin/undertow reproduce primer-rich-get-richer --budget smoke --out dist/gallery
	rm -rf build/dist

newest: ## the fast tests on the newest Python here and the newest packages, without constraints.txt
	rm -rf build/newest
	$(NEWEST) -m venv build/newest
	build/newest/bin/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	build/newest/bin/python -c 'import sys, jax; print("Python", sys.version.split()[0], "JAX", jax.__version__)'
	build/newest/bin/python -m pytest -n 2

lock: check-python ## write constraints.txt anew, from the newest versions that fit together
	rm -rf build/lock
	"$(PYTHON)" -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check -e ".[dev,docs]"
	( echo "# Exact versions of everything that \`.[dev,docs]\` installs. Written by \`make lock\`."; \
	  build/lock/bin/python -m pip --disable-pip-version-check freeze --exclude-editable ) > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/lock

clean: ## remove everything that was made here, .venv and gallery-out too
	rm -rf $(VENV) build dist gallery-out .pytest_cache .hypothesis .ruff_cache .import_linter_cache .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv that works is kept and brought up to date; one that does not is made afresh. The stamp comes last, so an
# interrupted installation is taken up again.
$(INSTALLED): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory check-python
	@echo "Setting up $(VENV): some minutes the first time."
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || "$(PYTHON)" -m venv --clear $(VENV)
	$(PIP_INSTALL) -c constraints.txt -e ".[dev]"
	@touch $@

# The exact version stands here, because constraints.txt is for what everyone installs. On Linux the
# default build brings gigabytes of GPU libraries; pip takes a build for the CPU where its settings name one.
$(INSTALLED_BENCHMARKS): $(INSTALLED)
	$(PIP_INSTALL) -c constraints.txt -e ".[benchmarks]" torch==2.13.0
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(PIP_INSTALL) -c constraints.txt -e ".[docs]"
	@touch $@

check-python:
	@"$(PYTHON)" -c 'import sys' 2>/dev/null || { \
	    echo "error: no Python found as '$(PYTHON)'. Undertow needs Python 3.11 or later;" \
	         "name one by hand with: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "error: '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1). Undertow needs Python 3.11 or later;" \
	         "name one by hand with: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "error: '$(PYTHON)' cannot make virtual environments: its modules venv and ensurepip are missing." \
	         "On Debian and Ubuntu they are in a package of their own: apt-get install" \
	         "$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
