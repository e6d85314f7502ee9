# `make run` and `make test` do everything, set-up included, on a Debian 12 or Ubuntu 24.04 machine with Rust.

# Outside the clone, so that every clone and every CI run finds it warm.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/engagement-ml/target
PROGRAMS = $(CARGO_TARGET_DIR)/release

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests build run pipeline pipeline-test lint test bench bench-quick mlflow-test shapes year check-pages faults fuzz fuzz-targets memcheck wheel dist release image image-test audit clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: ## Install what building needs (or name the command that does)
	@scripts/setup

setup-tests: setup
	@scripts/setup tests

build: setup ## Build train and predict
	cargo build --release --locked -p train -p predict

run: build ## Train on the sample, pass the gate, score 30,000 customers
	@scripts/run-sample $(PROGRAMS)

pipeline: setup-tests ## Run the whole state machine on this machine: the sample, or SQL=… DATA=… ID=… TARGET=… for your own tables; SHARDS=2 for two tasks that learn and two that score
	cargo build --release --locked --workspace --bins
	@scripts/run-pipeline $(PROGRAMS)

pipeline-test: setup-tests ## Every scenario of the whole state machine: gate, Spot, functions that fail, checks that fail, aborts
	cargo build --release --locked --workspace --bins
	PROGRAMS=$(PROGRAMS) PIPELINE=all scripts/test-deployment -k test_local

lint: setup
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps --document-private-items

test: setup-tests lint ## Run every check and every test, a real S3 server included
	cargo test --release --locked --workspace --no-run
	cargo build --release --locked --workspace --bins
	@PROGRAMS=$(PROGRAMS) scripts/test-suites

bench: build ## Measure train and predict beside Python and write docs/benchmarks.md (hours and 25 GB; SIZE=huge for 30 M rows)
	benches/run --size $(or $(SIZE),full)
	benches/accuracy/run --train $(PROGRAMS)/train --write docs/accuracy.md

bench-quick: build ## The same on small tables in a few minutes, into a temporary folder
	benches/run --size quick
	benches/accuracy/run --train $(PROGRAMS)/train concrete

mlflow-test: build ## Export models of real tables and try them with the real mlflow and onnxruntime (1.2 GB to install; SPARK=1 for spark_udf)
	PROGRAMS=$(PROGRAMS) scripts/test-mlflow

shapes: build setup-tests ## Score tables of every writer and shape: the same predictions from all, within the planned memory (LARGE=--large for millions of rows)
	$$(scripts/setup-python) benches/shapes.py $(PROGRAMS) $(or $(FOLDER),$(CARGO_TARGET_DIR)/shapes) $(LARGE)

year: build setup-tests ## A year of weekly runs on the sample, made with the real programs: the week in which the world changes is on the pages (WEEKS=52, DRIFT=30)
	$$(scripts/setup-python) benches/year.py --programs $(PROGRAMS) --weeks $(or $(WEEKS),52) --drift $(or $(DRIFT),30)

check-pages: build ## Structure and contrast of all reports and pages, by axe-core in Chromium (skipped where Chromium or npm are lacking)
	scripts/check-pages --programs $(PROGRAMS)

faults: build setup-tests ## Run 1,000 seeded cases of a bad line to S3 (CASES=…, FIRST=… for other seeds)
	FAULT_CASES=$(or $(CASES),1000) FAULT_FIRST=$(or $(FIRST),0) \
		cargo test --release --locked --workspace --test line -- faults --nocapture --include-ignored

fuzz: build setup-tests ## Damage tables and stores at random (SECONDS=… for each kind, FIRST=… for other seeds)
	FUZZ_SECONDS=$(or $(SECONDS),300) FUZZ_FIRST=$(or $(FIRST),1000000) \
		cargo test --release --locked --workspace --test damaged -- --nocapture --test-threads=1
	FUZZ_SECONDS=$(or $(SECONDS),300) FUZZ_FIRST=$(or $(FIRST),1000000) \
		cargo test --release --locked --workspace --test line -- damaged_files --nocapture

fuzz-targets: build ## Run the libFuzzer targets under AddressSanitizer (SECONDS=… for each, JOBS=… side by side)
	SECONDS_EACH=$(or $(SECONDS),300) JOBS=$(or $(JOBS),1) scripts/fuzz-targets

memcheck: setup-tests ## Run the tests of the XGBoost wrapper and of the scorer under valgrind
	scripts/memcheck

wheel: build ## Pack the programs, the sample and the Python module into dist/engagement_ml-….whl
	cargo build --release --locked --workspace --bins
	@scripts/package wheel $(PROGRAMS) dist

dist: build ## Pack the programs, man pages and completions into dist/engagement-ml-….tar.gz
	cargo build --release --locked --workspace --bins
	@scripts/package tarball $(PROGRAMS) dist

release: wheel dist ## Make all artefacts and try them without network: every Python, nothing but glibc, a clean Debian 12 (as root); and exports with mlflow
	@scripts/test-release dist
	@PROGRAMS=$(PROGRAMS) scripts/test-mlflow

image: ## Build the images engagement-ml/train, engagement-ml/predict and engagement-ml/functions, with Docker or podman
	@scripts/image

image-test: ## Build the images from a clean tree and test them: the sample inside, a real S3 server, SIGTERM, sizes, cold start
	@scripts/image-test

audit: setup ## Check licences, bans and sources of all dependencies
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check licenses bans sources

clean: ## Remove what `make run` wrote
	rm -rf run
