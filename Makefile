# The two commands of README. Each works on a fresh machine by itself: it makes its own virtual
# environment first. Set PYTHON to choose the interpreter (3.11 or later).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test fuzz lint docs clean

demo: $(VENV)/.installed
	$(BIN)/prognosis compare --cohort simulated --n-patients 150 --cv 5 --epochs 12 --out report/
	@echo "open report/index.html"

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# An hour of fresh hostile input, or as long as FUZZ_MINUTES says; the tests have a seeded minute.
FUZZ_MINUTES ?= 60
fuzz: $(VENV)/.installed-test
	FUZZ_MINUTES=$(FUZZ_MINUTES) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz -n 2

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Without a network once it is installed; every warning is an error.
docs: $(VENV)/.installed-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W -n --keep-going -q -j 2 docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean:
	rm -rf $(VENV) report docs/_build docs/reference docs/tutorials/*.ipynb

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@
