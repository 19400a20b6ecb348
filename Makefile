# make demo: everything, from nothing to a release and a report. make test: the tests. Both create .venv themselves.
VENV := .venv
BIN := $(VENV)/bin
CORES ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-random test-slow test-slurm test-faults lint bench clean

demo: $(VENV)/.installed
	$(BIN)/snakemake --cores $(CORES)

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses $(CORES) --dist loadfile

test-random: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses $(CORES) --dist loadfile -p randomly

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow --ignore tests/faults

test-slurm: $(VENV)/.installed-dev
	$(PIP) --editable ".[dev,slurm]"
	$(BIN)/python -m pytest tests/slurm

test-faults: $(VENV)/.installed-dev
	$(PIP) --editable ".[dev,slurm]"
	BRAINLDM_FAULTS_TABLE=docs/reliability.md $(BIN)/python -m pytest tests/faults

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	@long=$$(git ls-files '*.py' '*.smk' Snakefile | xargs wc -l | awk '$$2 != "total" && $$1 > 300'); \
	  if [ -n "$$long" ]; then echo "files above 300 lines:"; echo "$$long"; exit 1; fi

bench: $(VENV)/.installed
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf results logs .snakemake

$(VENV)/.installed: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	@echo "installing brainldm and what it needs into $(VENV) (a minute or two) ..."
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable ".[dev]"
	@touch $@
