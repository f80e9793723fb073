# One word runs everything. Needs Python 3.11 and a C compiler; everything else is installed into .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# uv reads UV_FIND_LINKS as pip reads PIP_FIND_LINKS: a local wheel of torch is taken where there is one.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: setup test lint audit demo bench gallery clean

setup: $(VENV)/.installed $(VENV)/swift/.installed

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9

# Compiled once: where nothing may be written beside it, each process would compile all it imports.
$(VENV)/.installed: $(VENV)/bin/uv pyproject.toml requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --constraint requirements.lock --group dev --editable '.[service,workers,trainer,cluster,telemetry,tensorboard,backbones,export]'
	touch $@

# The S3 server of the tests and of the demo: its own environment, its own pins.
$(VENV)/swift/.installed: $(VENV)/bin/uv tests/s3/requirements.lock
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(VENV)/swift
	VIRTUAL_ENV=$(VENV)/swift $(BIN)/uv pip install --quiet --requirement tests/s3/requirements.lock
	touch $@

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered --cov-fail-under=85

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Asks PyPI for known vulnerabilities of every pinned package. Strict: a package that the index knows
# nothing of fails the audit. An index without advisories would look clean: it is told apart first.
audit: setup
	$(BIN)/python -m tools.audit
	$(BIN)/uv tool run pip-audit==2.10.1 --strict --no-deps --disable-pip \
		--requirement requirements.lock --requirement deploy/ray.lock \
		--requirement tests/s3/requirements.lock

demo: setup
	$(BIN)/python -m benchmarks.demo

bench: setup
	$(BIN)/python -m benchmarks

gallery: setup
	$(BIN)/python -m tools.gallery

clean:
	rm -rf $(VENV) out
