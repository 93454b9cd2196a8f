SHELL := /bin/bash
PYTHON := .venv/bin/python

.PHONY: help setup demo test test-oldest test-newest test-mpi docs-test docs dist bench lint clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## make .venv and install everything; quick when nothing changed
	@bash scripts/setup.sh

demo: setup ## run the main job on real flight data
	.venv/bin/outgrow run examples/flights/job.yaml --overwrite

test: setup ## all tests; those of the Spark engine once more on a standalone cluster and on Spark Connect
	@bash scripts/test.sh

test-oldest: setup ## all tests with the oldest versions that pyproject.toml allows, in .venv-oldest
	@bash scripts/test_versions.sh oldest

test-newest: setup ## the same with the newest that there are, in .venv-newest; BASE=python3.13 for another Python
	@bash scripts/test_versions.sh newest

test-mpi: setup ## every estimator on the ranks of mpirun, which must be there (apt-get install openmpi-bin); RANKS=3
	@bash scripts/test_mpi.sh

docs-test: setup ## only the examples of the documentation
	$(PYTHON) -m pytest tests/test_docs.py

docs: setup ## the site of the documentation, in out/site; a link or an anchor that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict -q

dist: setup ## a wheel and a source archive in dist/, checked
	$(PYTHON) -m build --outdir dist . && $(PYTHON) -m twine check --strict dist/*

bench: setup ## outgrow beside its peers; writes bench/results/
	$(PYTHON) -m bench

lint: setup ## formatting, lint and types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

clean: ## remove what runs and tests leave behind, but not .venv
	rm -rf out build dist spark-warehouse metastore_db derby.log .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
