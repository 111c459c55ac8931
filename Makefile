# make setup | demo | test | lint: each works as the first command on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.8
TEST_JOBS ?= 3

.PHONY: setup demo recipe-style-adapter jdiff test test-slow lint lock clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed; make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# The main job: sample data, targets of a teacher, a training run, its pictures, their scores, a report.
demo: setup
	$(BIN)/python -m toolkit.pack
	$(BIN)/python -m toolkit.pairs --num_pairs=480 --balance=style --out=manifests/pairs/demo
	$(BIN)/python -m toolkit.pairs --num_pairs=120 --balance=style --out=manifests/pairs/demo --split=val
	$(BIN)/python -m toolkit.teach --protocol=reinhard --name=demo-targets \
	  --plan=manifests/pairs/demo/pseudo_pairs_train.parquet,manifests/pairs/demo/pseudo_pairs_val.parquet
	$(BIN)/python -m train.run --main=demo-targets --name=demo --overwrite
	$(BIN)/python -m train.stylize --run=runs/demo
	$(BIN)/python -m eval.run --run=runs/demo
	$(BIN)/python -m eval.report --run=runs/demo

# Raw data, pairs, a teacher's targets, training and scores, at three sizes; LIMIT=24 rehearses it.
recipe-style-adapter: setup
	$(MAKE) -f train/methods/style_adapter/recipe.mk PYTHON=$(BIN)/python

# Few-shot styles of a folder: prior pictures, a LoRA each, their prompts, scores; SRC=DIR STYLES=n CARDS=1,2.
jdiff: setup
	$(MAKE) -f train/methods/dreambooth_lora/recipe.mk PYTHON=$(BIN)/python

# One thread for each job: more would wait for each other. Three jobs, for tests of processes wait a lot;
# files in their order, for those of whole commands (e2e) take longest and must not come last.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(TEST_JOBS) --no-loadscope-reorder

# Minutes rather than seconds: the proofs that repeat a whole training run.
test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Resolves the pinned list anew. torch and torchvision are a pair: their builds must match.
lock: setup
	printf 'torch==2.15.0\ntorchvision==0.29.2\n' > build-pins.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --extra dev --constraint build-pins.txt pyproject.toml --output-file requirements.lock.new
	rm build-pins.txt
	mv requirements.lock.new requirements.lock

clean:
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache
