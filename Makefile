# Every target does its own set-up: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
PEERS  ?= .venv-peers
# The CPU build; an unpinned torch would fetch gigabytes of CUDA. The package itself asks for no exact version.
TORCH  ?= torch==2.13.0

.PHONY: setup demo test check docs bench blocks scale faults crash fuzz simulate drill ranks history pages pictures ratios proto vectors compat packaging release unchanged format clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $(STAMP)

demo: setup  ## train, be killed, resume, prove that nothing was lost
	$(BIN)/holdfast demo

# Where Python may write no bytecode, the suite's thousands of processes would compile what they import.
test: setup  ## the whole test-suite, on two cores
	$(BIN)/python -m compileall -q -j 0 src tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup  ## what CI checks besides the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## the site of the documentation, in site/; a link that leads nowhere ends it
	$(BIN)/python -m website

bench: setup  ## speed here beside the physical limits and the peers
	$(BIN)/holdfast bench

blocks: setup  ## what the checksums of blocks cost a save; on a quiet machine
	$(BIN)/python tests/bench/blocks.py

faults: setup $(PEERS)/.ready  ## the fault matrix, with peers beside; FAULTS="--json FILE", "--only NAME", …
	PYTHONPATH=tests:tests/crash $(BIN)/python -m faults $(FAULTS)

crash: setup  ## the long version of the crash, damage, encryption and property tests
	HOLDFAST_FAULTS=full $(BIN)/python -m pytest tests/crash tests/encryption tests/property

history: setup  ## lists and refs on a store of ten thousand checkpoints, timed
	$(BIN)/python tests/unit/history/speed_of_many.py

ratios: setup  ## how small the state of a real run gets, beside ZipNN, zstd and Blosc2
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check blosc2 && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps zipnn
	$(BIN)/python tests/bench/ratios.py --write docs/guides/storage.md
	$(BIN)/python tests/bench/deltas.py --write docs/guides/storage.md

# Seconds for each target.
FUZZ_SECONDS ?= 30

fuzz: setup  ## look for inputs that break a parser; FUZZ_SECONDS=600 looks longer
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

pages: setup  ## first views of stores of ten thousand checkpoints in Chromium, timed
	$(BIN)/python tests/web/speed_of_pages.py

pictures: setup  ## take the pictures of pages that the documentation shows anew
	HOLDFAST_PICTURES=write $(BIN)/python -m pytest tests/web/test_pictures.py

simulate: setup  ## false alarms and delays of watches, from 1,000 runs each
	HOLDFAST_SIMULATE=full $(BIN)/python -m pytest tests/unit/policy/test_watch.py

ranks: setup  ## saves and restores at all world sizes up to eight; hundreds of hosts lost
	HOLDFAST_RANKS=full $(BIN)/python -m pytest tests/distributed tests/unit/engine/peers
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check "ray[train]>=2.44" && HOLDFAST_RANKS=full $(BIN)/python -m pytest tests/examples -k ray

# To be told what to leave out: SCALE="--kinds hsdp --leaves 10000".
SCALE ?=

scale: setup  ## plans, parts and commits of up to 16,384 ranks with 100,000 leaves, into docs/scale.md
	$(BIN)/python tests/bench/scale.py --write docs/scale.md $(SCALE)

drill: setup  ## the drill on scripts of every framework; needs lightning, transformers, keras and jax
	HOLDFAST_DRILL=full $(BIN)/python -m pytest tests/drill

# The peers that do not go with our own packages; without them the matrix says that they are missing.
$(PEERS)/.ready:
	-$(PYTHON) -m venv $(PEERS)
	-$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" torch_checkpointing
	-$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check orbax-checkpoint jax
	@touch $@

proto: setup  ## regenerate the descriptor of the manifest
	$(BIN)/python -m grpc_tools.protoc -Isrc --descriptor_set_out=src/holdfast/format/manifest.binpb src/holdfast/format/manifest.proto

vectors: setup  ## regenerate the golden vectors; a diff means that the format has changed
	$(BIN)/python tests/vectors/generate.py

compat: setup  ## write this version's stores, for every later version to read
	$(BIN)/python tests/compat/write_stores.py

packaging: setup  ## the wheel on every Python on the path and with the oldest dependencies; the import timed
	HOLDFAST_PACKAGING=full $(BIN)/python -m pytest tests/packaging
	$(BIN)/python tests/packaging/import_time.py

release: unchanged check test packaging  ## check all, build into dist/, say what is left; uploads nothing
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	@sed -n '/^### By hand/,/^#* [^B]/{/^#/!p}' CONTRIBUTING.md

# What is built is what is committed.
unchanged:
	@test -z "$$(git status --porcelain)" || { git status --short; echo "Commit this, or put it away."; exit 1; }

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(PEERS) build dist site .cache *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
