# Two commands do everything in a fresh clone: `make demo` and `make test`. They need python3 (>= 3.11) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
BASE := smollm2-135m-instruct
SETUP := pyproject.toml constraints.txt
# Where it is set, as in many containers, each of the commands that tests start compiles the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick lint docs dist mutants figures clean

demo: $(VENV)/installed-demo ## run the whole ring on the embedded backend
	$(BIN)/python examples/quickstart.py

test: lint ## everything: style, types, tests, real training; prints the branches that no test reaches
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov --cov-report term $(PYTEST_ARGS)

quick: lint ## the inner loop: style, types, and the tests that neither train nor take long
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m 'not slow and not train' $(PYTEST_ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 src

figures: $(VENV)/installed-test ## what the house looks like, in numbers; nothing fails by them
	$(BIN)/python benchmarks/house_figures.py

mutants: $(VENV)/installed-test ## change the code a little, 200 times, and see whether a test notices; goes on where it stopped
	$(PIP) --quiet --editable '.[mutation]'
	$(BIN)/python benchmarks/mutants.py --count 200

docs: $(VENV)/installed-test ## look at the documentation on http://127.0.0.1:8090
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:8090

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ragtune needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-demo: $(SETUP) | $(VENV)/bin/python
	@echo "Installing ragtune and PyTorch into $(VENV) (about 0.4 GB of downloads with PyTorch's CPU build; see the README)"
	$(PIP) --editable '.[local,plots]'
	$(BIN)/ragtune fetch $(BASE)
	@touch $@

$(VENV)/installed-test: $(SETUP) | $(VENV)/bin/python
	@echo "Installing ragtune with its test tools into $(VENV)"
	$(PIP) --editable '.[local,gguf,plots,privacy,dedup,excel,documents,evaluation,ray,docs,dev]'
	$(BIN)/ragtune fetch $(BASE)
	@touch $@

dist: $(VENV)/installed-test ## wheel and sdist in dist/, each tried in an empty environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	for made in dist/*.whl dist/*.tar.gz; do \
	  rm -rf dist/empty && $(PYTHON) -m venv dist/empty && \
	  dist/empty/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $$made && \
	  (cd dist && empty/bin/ragtune --version && empty/bin/python -I -c "import ragtune as rt; print(len(rt.__all__), 'names')") || exit 1; \
	done
	rm -rf dist/empty
	ls -l dist

clean: ## remove what make made
	rm -rf $(VENV) site dist build runs out .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
