# The commands of a developer; `make help` lists them. Needs Python 3.11 to 3.13, make and git, on Linux.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

# The first Python that this program knows and that can make a virtual environment.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/ready
CODE := cli.py commands audits preservation storage_backends
ALL := $(CODE) tests demo $(wildcard benchmarks)
# The fast tests about the tree itself, which `check` runs so that `test` need not.
HOUSE := tests/test_documentation.py tests/test_packaging.py tests/test_tidy.py
PYTEST := $(BIN)/python -m pytest -q
# Neighbours stay together, as they share what is costly to make, until a worker has nothing left to do.
PARALLEL := -n 2 --dist worksteal --durations=15
# These look at what reaches a real disk; the others are as true in memory, where nobody waits for fsync.
DEVICE := tests/test_backend_disk.py tests/test_backend_disk_files.py tests/test_audit.py
# All that CI tries; tests/sizes.py says what a plain `make test` tries of it.
WHOLE := MOCBAN_TESTS=all
IN_MEMORY := $(if $(wildcard /dev/shm/.),TMPDIR=/dev/shm)
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host

.PHONY: help setup demo test check format lint types imports house bench bench-ledger bench-tape bench-formats test-damage test-crash test-tamper \
	test-corpora test-slow test-pathways test-tape-vm changelog lock signatures clean

help: ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make .venv with mocban and every tool at its pinned version

$(READY): requirements.lock requirements-build.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'No Python 3.11, 3.12 or 3.13 with venv was found (Debian: python3-venv).' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing pinned packages into .venv ...'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-build.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-build-isolation -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## the main job on a sample dossier, in demo-repository/
	@$(BIN)/python demo/demo.py

test: $(READY) ## every test but the slow ones and those of `make check`; a sample of the long ones but for CI=true
	$(PYTEST) $(PARALLEL) -m 'not slow' $(DEVICE)
	$(IN_MEMORY) $(PYTEST) $(PARALLEL) -m 'not slow' $(addprefix --ignore=,$(HOUSE) $(DEVICE)) tests

check: format lint types imports house ## form, lint, types, imports, documentation, house rules

format: $(READY) ## is the code formatted? (`make format FIX=1` formats it)
	$(BIN)/ruff format $(if $(FIX),,--check) $(ALL)

lint: $(READY) ## ruff, every rule
	$(BIN)/ruff check $(if $(FIX),--fix) $(ALL)

types: $(READY) ## mypy, strict
	$(BIN)/mypy

imports: $(READY) ## rooms and doors
	$(BIN)/lint-imports --no-cache

house: $(READY)
	$(PYTEST) $(HOUSE)

bench: $(READY) ## speed against cat, bagit, restic and cp; see docs/performance.md
	$(BIN)/python benchmarks/bench.py

bench-ledger: $(READY) ## ten million events: verified, asked, kept (long)
	$(BIN)/python benchmarks/ledger.py

bench-formats: $(READY) ## identification against FIDO's own API and libmagic on the real test data
	$(BIN)/python benchmarks/formats.py

bench-tape: $(READY) ## image cartridges against dd; a model of recalls on LTO-9
	$(BIN)/python benchmarks/tape_stream.py
	$(BIN)/python benchmarks/tape_recall.py

test-damage: $(READY) ## every byte of every copy damaged in turn (long)
	$(WHOLE) $(IN_MEMORY) $(PYTEST) $(PARALLEL) -m damage

test-crash: $(READY) ## every verb killed at every system call that changes files (long)
	$(WHOLE) MOCBAN_CRASH=all $(IN_MEMORY) $(PYTEST) $(PARALLEL) -m crash

test-tamper: $(READY) ## the ledger tampered with in every way, 200 times each (long)
	$(WHOLE) MOCBAN_TAMPER=all $(IN_MEMORY) $(PYTEST) $(PARALLEL) -m tamper

test-corpora: $(READY) ## the real test data; fails where it is not at hand
	@test -d "$${MOCBAN_CORPORA:-../shared/corpora}" || { \
		echo 'The test data is not here; MOCBAN_CORPORA says where it is.' >&2; exit 1; }
	$(WHOLE) $(PYTEST) -m corpora -rs | tee .corpora.out; status=$${PIPESTATUS[0]}; \
		grep -q '^SKIPPED' .corpora.out && { echo 'A test of the real data was skipped.' >&2; status=1; }; \
		rm -f .corpora.out; exit $$status

test-slow: $(READY) ## what takes too long for every change
	$(WHOLE) $(PYTEST) $(PARALLEL) -m slow

test-pathways: $(READY) ## every pathway with every saboteur (long)
	$(WHOLE) $(IN_MEMORY) $(PYTEST) $(PARALLEL) -rs $(wildcard tests/test_pathways*.py)

test-tape-vm: $(READY) ## tape on the real Linux driver, in an emulated machine (long; root; by hand before a release)
	$(BIN)/python tests/tape_vm/run.py

changelog: $(READY) ## gather changelog.d into CHANGELOG.md (VERSION=x.y.z)
	@test -n '$(VERSION)' || { echo 'Say which: make changelog VERSION=x.y.z' >&2; exit 1; }
	$(BIN)/towncrier build --yes --version $(VERSION)

lock: $(READY) ## pin every package anew, at today's versions
	$(COMPILE) --upgrade --extra dev --output-file requirements.lock pyproject.toml
	printf 'setuptools\nsetuptools-scm\nwheel\n' | \
		$(COMPILE) --upgrade --constraint requirements.lock --output-file requirements-build.lock -

signatures: $(READY) ## pack the signatures that are shipped with FIDO anew, after a change of FIDO or of the converter
	$(BIN)/python -c 'import zlib; from preservation.formats.engine import READY, shipped_bundle; \
		open(READY, "wb").write(zlib.compress(shipped_bundle().to_bytes(), 9))'

clean: ## remove what this Makefile and the tools made, but not .venv
	rm -rf build dist demo-repository *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
