# Two commands for everybody: make demo, make test. Each installs what it needs into .venv and nothing elsewhere.
PYTHON ?= python3
MODELS ?=
FACES ?=

VENV := .venv
BIN := $(VENV)/bin
KINDS := py c h json onnx fgb pub md toml
SOURCES := $(shell find sdk converters edge_runtime examples/access_terminal $(patsubst %,-name '*.%' -o,$(KINDS)) -false) setup.cfg setup.py pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help demo reference test arm emulate onnx-tf budgets torture check lint types sanitize bench train wheels clean

help:
	@echo 'make demo    convert models, sign a bundle, enroll rendered people, recognise them, print the signed decisions'
	@echo '             (with real ones: MODELS=folder of ONNX models, FACES=folder of photographs)'
	@echo 'make test    build the wheel, install it, run every test against it'
	@echo 'make wheels  wheels of x86_64, aarch64 and armv7l in wheelhouse/, for packages (minutes the first time; TARGETS="aarch64": only that one)'
	@echo 'make arm     emulated ARM machines in .arm (1 minute, 420 MB), on which make test runs the kernels and the pipeline'
	@echo 'make emulate only the tests on them'
	@echo 'make budgets instructions of kernels and models on emulated cores against their budgets (some minutes)'
	@echo 'make onnx-tf an environment for facegate convert --via onnx-tf, 1.4 GB; the tests use it if it is there'
	@echo 'make torture kill a gate 520 times, take its power 300 times, let every write fail: about an hour'
	@echo 'make check   lint, types, and the C kernels under ASan and UBSan'
	@echo 'make bench   facegate beside its peers on the same images and weights'
	@echo 'make reference  build the reference bundle from the trained models (for maintainers)'
	@echo 'make train   render faces and train the reference models on them: about four hours on two cores'
	@echo 'make clean   remove what the other commands made'

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo 'facegate needs Python 3.10 or newer; say which: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'this Python cannot make a virtual environment; on Debian and Raspberry Pi OS: sudo apt install python3-venv'; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { echo 'the headers of this Python are missing; on Debian and Raspberry Pi OS: sudo apt install python3-dev'; exit 1; }
	@command -v "$${CC:-cc}" >/dev/null || { echo 'no C compiler found; on Debian and Raspberry Pi OS: sudo apt install gcc libc6-dev'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	@touch $@

# The wheel is what a user gets, so the wheel is what is tried and tested.
dist/made: $(SOURCES) | $(VENV)/made
	@rm -rf dist build && mkdir dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	@touch $@

$(VENV)/convert: dist/made
	$(BIN)/pip install --quiet --progress-bar off "$$(echo dist/facegate-*.whl)[convert]"
	$(BIN)/pip install --quiet --no-deps --force-reinstall dist/facegate-*.whl
	@touch $@

$(VENV)/dev: dist/made
	$(BIN)/pip install --quiet --progress-bar off "$$(echo dist/facegate-*.whl)[dev]"
	$(BIN)/pip install --quiet --no-deps --force-reinstall dist/facegate-*.whl
	@touch $@ $(VENV)/convert

# 32-bit ARM has no LiteRT: the engine behind it there is the last tflite-runtime, which wants numpy 1 and Python 3.9-3.11. All
# else is in the versions of Debian 12, the oldest that facegate runs with (docs/armv7l.md): some tests are made with them, too.
DEBIAN12 := numpy==1.24.2 pillow==9.4.0 cffi==1.15.1 cryptography==38.0.4 click==8.1.3
OLDEST := $(addprefix tests/edge_runtime/test_,frame.py keys.py bundle.py kernels_*.py) \
  tests/sdk/store $(addprefix tests/sdk/test_,backup_stream.py enroller.py recognizer.py credentials.py cli_people.py)

.venv-tflite/made: dist/made
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))'; then \
	  $(PYTHON) -m venv .venv-tflite && \
	  .venv-tflite/bin/pip install --quiet $(DEBIAN12) tflite-runtime==2.14.0 pytest hypothesis && \
	  .venv-tflite/bin/pip install --quiet --no-deps --force-reinstall dist/facegate-*.whl; \
	else mkdir -p .venv-tflite; echo 'tflite-runtime has no wheel for this Python: its tests will be skipped'; fi
	@touch $@

# onnx-tf needs a TensorFlow of 2023 and an onnx older than the converter's, so Python 3.11 and an environment of its own.
PYTHON311 ?= $(or $(shell command -v python3.11),$(PYTHON))

.venv-onnx-tf/made: setup.cfg | dist/made
	@$(PYTHON311) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo 'onnx-tf runs on Python 3.11; say where it is: make onnx-tf PYTHON311=...'; exit 1; }
	@rm -rf .venv-onnx-tf
	$(PYTHON311) -m venv .venv-onnx-tf
	.venv-onnx-tf/bin/pip install --quiet --progress-bar off "$$(echo dist/facegate-*.whl)[onnx-tf]"
	@touch $@

onnx-tf: .venv-onnx-tf/made
	@echo "its Python: FACEGATE_ONNX_TF_PYTHON=$$PWD/.venv-onnx-tf/bin/python"

demo: $(VENV)/convert
ifeq ($(strip $(MODELS)$(FACES)),)
	@$(BIN)/python examples/kiosk/demo.py
else
	@MODELS='$(MODELS)' FACES='$(FACES)' $(BIN)/python examples/kiosk/photographs.py
endif

# What it makes goes into the next wheel.
reference: $(VENV)/convert
	@$(BIN)/python converters/build_reference.py --output sdk/facegate

test: $(VENV)/dev .venv-tflite/made
	@if [ -x .venv-tflite/bin/python ]; then FACEGATE_TFLITE_PYTHON=$$PWD/.venv-tflite/bin/python; export FACEGATE_TFLITE_PYTHON; fi; \
	if [ -e .venv-onnx-tf/made ]; then FACEGATE_ONNX_TF_PYTHON=$$PWD/.venv-onnx-tf/bin/python; export FACEGATE_ONNX_TF_PYTHON; fi; \
	oldest=; if [ -x .venv-tflite/bin/python ]; then \
	  echo 'with the versions of Debian 12:'; .venv-tflite/bin/python -m pytest -q $(OLDEST) || oldest=failed; echo 'with the newest versions:'; fi; \
	$(BIN)/python -m pytest -q && { [ -z "$$oldest" ] || { echo 'failed with the versions of Debian 12: see above'; exit 1; }; }

# The tests use it if it is there, with the wheel of `make wheels`. FACEGATE_EMULATION=0 leaves it out: they say so.
arm: $(VENV)/convert
	@$(BIN)/python tests/emulated/machine.py make
	@$(BIN)/python tests/emulated/package_cache.py

emulate: $(VENV)/dev wheels arm
	$(BIN)/python -m pytest -q tests/emulated

# What is counted is what is shipped. After a change that is meant: .venv/bin/python tests/emulated/budgets.py update
budgets: $(VENV)/convert wheels arm
	@$(BIN)/python tests/emulated/budgets.py check

torture: $(VENV)/dev
	FACEGATE_KILLS=$(or $(KILLS),520) FACEGATE_LOSSES=300 FACEGATE_FAULTS=1 FACEGATE_SEED=$(or $(SEED),1) \
	  $(BIN)/python -m pytest -q -s tests/system/test_crash_tools.py tests/system/test_power_loss.py \
	  tests/system/test_failing_writes.py tests/system/test_sealed_rows.py tests/system/test_erasure_leaves_nothing.py

check: lint types sanitize

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev
	MYPYPATH=sdk:converters:edge_runtime $(BIN)/mypy
	MYPYPATH=converters/facegate_convert/_package/installer $(BIN)/mypy --config-file= --strict --python-version 3.10 -p facegate_installer
	@# An example's folder has another name than the package that it is installed as.
	@mkdir -p build/types && ln -sfn ../../examples/access_terminal build/types/facegate_terminal
	MYPYPATH=sdk:converters:edge_runtime:build/types $(BIN)/mypy -p facegate_terminal

sanitize: $(VENV)/dev
	PYTHON=$(BIN)/python sh edge_runtime/csrc/sanitize.sh

bench: $(VENV)/dev
	$(BIN)/pip install --quiet opencv-python-headless faiss-cpu usearch
	$(BIN)/python tests/benchmarks/bench_search.py
	MODELS='$(or $(MODELS),../shared/models)' FACES='$(or $(FACES),../shared/faces)' $(BIN)/python tests/benchmarks/bench_pipeline.py
	MODELS='$(or $(MODELS),../shared/models)' FACES='$(or $(FACES),../shared/faces)' $(BIN)/python tests/benchmarks/accuracy.py

# The models are committed: this is how they were made. TRAIN_FLAGS='--share 0.01 --minutes 1' is a trial of some minutes. A torch that
# is there already is used: a build for CPUs alone (PIP_EXTRA_INDEX_URL) saves gigabytes.
train: $(VENV)/dev
	$(BIN)/pip install --quiet --progress-bar off "$$(echo dist/facegate-*.whl)[train]"
	$(BIN)/python -m facegate_train all --output converters/facegate_convert/reference $(TRAIN_FLAGS)

# One compiler for all of them, from hashes, in .venv-wheels. COMMIT=HEAD builds what is committed, not what lies there.
wheels:
	@$(PYTHON) edge_runtime/wheels/build.py $(TARGETS) $(if $(COMMIT),--commit $(COMMIT))

clean:
	rm -rf .arm wheelhouse .venv .venv-wheels .venv-tflite .venv-onnx-tf dist build demo-out *.egg-info edge_runtime/facegate_edge/*.so edge_runtime/facegate_edge/_native.c .pytest_cache .mypy_cache .ruff_cache .hypothesis
