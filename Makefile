# Everything this project does, a word each. `make` alone lists the words; CI (.ci/run) calls the same.
#
# PYTHON              the Python that environments are made with (3.11 or newer)
# ARGS                for `make run`: a sentence with <mask>, or the arguments of `robertakit run`; for a bench, its own
# TORCH_INSTALL_ARGS  for `make test`: more arguments for pip, such as PyTorch's index of CPU builds
# TEXT                for `make pretrain-demo`: folders or files of English text (plain, .gz, .xz, .zst, JSON lines, Parquet)
# PYTEST_ARGS         more arguments for pytest, such as -k NAME

PYTHON ?= python3
WORKERS ?= 2

CORE := .venv/core/bin/python
DEV := .venv/dev/bin/python
TRAIN := .venv/train/bin/python
# A demo's worth of the project's pre-training text where that is at hand; else what every machine has.
TEXT ?= $(wildcard ../shared/data/pretrain/factbook.txt.xz)
DEMO_TEXT = $(or $(TEXT),runs/demo-text/*.txt)
DEMO_FILES = $(foreach place,$(DEMO_TEXT),"$(place)$(if $(wildcard $(place)/.),/*)",)
export PYTHONPATH := $(CURDIR)/src
export ARGS TORCH_INSTALL_ARGS
# Two workers share the cores already; libraries that start threads of their own only get in each other's way.
PYTEST = OMP_NUM_THREADS=1 $(DEV) -m pytest -n $(WORKERS) --dist loadfile
# What needs another framework is skipped, on CI too.
TEST_ALONE = OMP_NUM_THREADS=1 FRAMEWORK=$(@:test-%=%) .venv/$(@:test-%=%)/bin/python -m pytest -n $(WORKERS) \
	--dist loadfile $(PYTEST_ARGS)
TEST_PEERS = FRAMEWORK=torch OMP_NUM_THREADS=1 .venv/$(1)/bin/python -m pytest -m peers -n $(WORKERS) --dist loadfile \
	$(PYTEST_ARGS)
MAKE_ENVIRONMENT = @command -v $(PYTHON) >/dev/null || { \
	echo "robertakit: there is no $(PYTHON); install Python 3.11 or newer, or name one with PYTHON=/path/to/python." >&2; \
	exit 1; }; $(PYTHON) scripts/environment.py

.DEFAULT_GOAL := help
.PHONY: help run env-core env-dev test test-all test-torch test-tensorflow test-jax test-peers lint format types check pretrain-demo bench-startup bench-torch bench-frameworks bench-pretraining dist freeze clean

help: ## this list
	@echo "make WORD, where WORD is one of:"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{ printf "  %-16s %s\n", $$1, $$2 }'

run: .venv/core/ready ## fill <mask> with the embedded model: ARGS="The capital of France is <mask>.", or lines on stdin
	@$(CORE) scripts/demo.py

env-core: .venv/core/ready ## make .venv/core: the core install, no framework
env-dev: .venv/dev/ready ## make .venv/dev: what tests and checks need, all three frameworks included

test: .venv/dev/ready ## set up what the tests need, and run them
	$(PYTEST) $(PYTEST_ARGS)

test-all: .venv/dev/ready ## all tests, the slow ones too
	$(PYTEST) -m "not peers" $(PYTEST_ARGS)

test-torch: .venv/torch/ready ## the tests in an environment that has PyTorch alone
	$(TEST_ALONE)

test-tensorflow: .venv/tensorflow/ready ## the tests in an environment that has TensorFlow alone
	$(TEST_ALONE)

test-jax: .venv/jax/ready ## the tests in an environment that has JAX alone
	$(TEST_ALONE)

test-peers: .venv/peers-4/ready .venv/peers-5/ready ## compare with transformers 4 and 5, each in its environment
	$(call TEST_PEERS,peers-4)
	$(call TEST_PEERS,peers-5)

lint: .venv/dev/ready ## style: ruff's rules and its format
	$(DEV) -m ruff check .
	$(DEV) -m ruff format --check .

format: .venv/dev/ready ## put the code into ruff's format
	$(DEV) -m ruff check --fix .
	$(DEV) -m ruff format .

types: .venv/dev/ready ## mypy, strict, on src/
	$(DEV) -m mypy

check: lint types test ## what a change must pass before it is offered

pretrain-demo: .venv/train/ready ## from text to a model that fills masks in under ten minutes: TEXT="folder or files"
	@$(if $(TEXT),,$(TRAIN) scripts/demo_text.py runs/demo-text)
	@$(TRAIN) -m robertakit pretrain recipes/demo.toml --folder runs/demo \
		--set 'sources=[{ name = "text", files = [$(DEMO_FILES)] }]' $(ARGS)
	@$(TRAIN) -m robertakit run --model runs/demo/model "The capital of France is <mask>." "It returns a <mask> of strings."

bench-startup: .venv/core/ready ## seconds of `import robertakit`, of --help, and to the first answer
	@$(CORE) benchmarks/startup.py

bench-torch: .venv/peers-4/ready ## tokens per second, training steps and memory beside transformers: half an hour
	@.venv/peers-4/bin/python benchmarks/torch_speed.py $(ARGS)

bench-frameworks: .venv/dev/ready .venv/reference/ready ## JAX and TensorFlow beside PyTorch and the reference's classes
	@$(DEV) benchmarks/frameworks_speed.py --reference .venv/reference/bin/python $(ARGS)

bench-pretraining: .venv/peers-4/ready ## masked-LM steps, memory and processes beside transformers' Trainer: an hour
	@.venv/peers-4/bin/python benchmarks/pretraining_speed.py $(ARGS)

dist: .venv/dev/ready ## build the wheel and the sdist into dist/
	rm -rf dist
	$(DEV) -m build --outdir dist .

freeze: .venv/dev/ready ## write the frozen surfaces anew (command-line options), to be read before they are committed
	$(DEV) tests/test_contract_cli.py

clean: ## remove environments, builds and caches
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment's stamp. environment.py compares what is wanted with what is there; newer files alone install nothing.
.venv/core/ready .venv/dev/ready .venv/torch/ready .venv/train/ready .venv/tensorflow/ready .venv/jax/ready: .venv/%/ready: pyproject.toml constraints/tested.txt scripts/environment.py
	$(MAKE_ENVIRONMENT) $*

.venv/peers-4/ready .venv/peers-5/ready .venv/reference/ready: .venv/%/ready: pyproject.toml constraints/%.txt scripts/environment.py
	$(MAKE_ENVIRONMENT) $*
