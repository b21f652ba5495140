# Two commands matter: `make demo` shows the product on real data, `make test` runs everything CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types walls unit browser bench site clean

demo: $(STAMP)
	$(BIN)/pennyweight optimize recipes/digits_cnn.py recipes/breast_cancer_forest.py --report report.html
	$(BIN)/pennyweight explain digits_cnn.pw
	$(BIN)/pennyweight run digits_cnn.pw

test: lint types walls unit site

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

walls: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/python -m pytest

# The dashboard in a real Chromium: the system's, or one that npm brings; takes the pictures of docs/howto/dashboard.md.
browser: $(STAMP)
	$(BIN)/python -m pip install --quiet --group browser
	PENNYWEIGHT_PICTURES=docs/howto $(BIN)/python -m pytest -m browser -n 0 tests/web

site: $(STAMP)
	$(BIN)/zensical build --strict --clean

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m bench.$(NAME) $(ARGS)

# torch goes first and pinned: what depends on it would otherwise bring a CUDA build of several gigabytes.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	touch $(STAMP)

clean:
	rm -rf $(VENV) site dist build
