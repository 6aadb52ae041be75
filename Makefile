# Everything a newcomer needs: `make demo` and `make test` set themselves up in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Hundreds of processes of the tests would compile the same modules again, each for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup test types quick test-slow test-gpu gpu-report test-external test-faults demo docs docs-site lock audit dist clean
.DEFAULT_GOAL := help

help:
	@echo "make setup          a virtual environment in $(VENV), with muomni in it; LOCKED=1: the versions of constraints.txt"
	@echo "make demo           ask nano, train a small model of words and colours that it does not know, export it"
	@echo "make test           ruff, mypy and every test that needs neither minutes nor a GPU"
	@echo "make test-slow      the tests that take minutes"
	@echo "make test-gpu       the tests that need a CUDA device"
	@echo "make gpu-report     the figures of docs/performance.md that need a CUDA device: tests, MFU, exported graphs"
	@echo "make test-external  the tests that install packages of others"
	@echo "make test-faults    kills, damaged inputs and files, an hour of use: the figures of docs/reliability.md"
	@echo "make docs           write docs/cli.md, docs/hooks.md and the tables of docs/recipes.md anew"
	@echo "make docs-site      build the documentation as a site in site/; broken links are errors"
	@echo "make lock           pin every package of a checkout, with hashes, in constraints.txt"
	@echo "make audit          look the pinned packages up among known vulnerabilities"
	@echo "make dist           the wheel, its list of parts (CycloneDX) and the source archive in dist/, checked as for a release"
	@echo "make clean          remove what tools leave behind; $(VENV) and runs/ stay"

setup: $(STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: muomni needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; \
	  echo "  fix: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "error: $(PYTHON) cannot make a virtual environment" >&2; \
	  echo "  fix: install its venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }

# Without --no-compile, pip compiles thousands of modules that nobody imports; what is imported is compiled then.
$(STAMP): pyproject.toml Makefile | $(BIN)/python
ifdef LOCKED
	$(PIP) install --quiet --no-compile --require-hashes --requirement constraints.txt
	$(PIP) install --quiet --no-compile --no-deps --no-build-isolation --editable .
else
	$(PIP) install --quiet --no-compile --editable '.[train,onnx,voices,chitchat,serve,live,bench,eval,hf,gguf,docs,dev]'
endif
	@touch $@

# The types beside the tests, and long files of tests first: no core is left without work for long.
test: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	@$(MAKE) --no-print-directory --jobs 2 types quick

types:
	$(BIN)/python -m mypy

# A worker that dies ends the run: pytest-xdist would wait for it at the end, for ever.
quick:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --dist loadfile --no-loadscope-reorder --max-worker-restart 0 \
	  -m "not slow and not gpu and not external"

test-slow test-gpu test-external: test-%: setup
	$(BIN)/python -m pytest -q -m $*

gpu-report: setup
	$(BIN)/python -m pytest -q -m gpu
	$(BIN)/muomni bench train omni-100m --batch 32 --length 1024 --device cuda
	$(BIN)/muomni bench train omni-100m compile=true --batch 32 --length 1024 --device cuda
	$(BIN)/muomni export check -m nano --device cuda

test-faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.kills --count 100
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.fuzz --count 100000
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.corruption --count 300
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.soak --minutes 60

demo: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh

docs: setup
	$(BIN)/python docs/reference.py

# The variable silences a notice about the future of MkDocs.
docs-site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# Of every system and Python that muomni supports. Names no index: whichever pip is set up with serves the files.
lock: setup
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --upgrade \
	  --no-emit-index-url --custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

audit: setup
	@$(PIP) install --quiet pip-audit || echo "pip-audit cannot be installed here"
	@$(BIN)/python .ci/audit.py

# The list of parts is that of an environment into which the wheel was installed.
dist: setup
	rm -rf dist build/sbom
	$(PIP) install --quiet build twine cyclonedx-bom
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/python -m pip --disable-pip-version-check install --quiet dist/*.whl
	build/sbom/bin/python -m pip --disable-pip-version-check uninstall --quiet --yes pip setuptools
	$(BIN)/python -W ignore -m cyclonedx_py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file "$$(ls dist/*.whl | sed 's/-py3-none-any.whl/.cdx.json/')" build/sbom/bin/python

clean:
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
