# What a person types. Each target works on a fresh Debian or Ubuntu with Rust, as root or not.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install servers build test fuzz test-datasets demo bench bench-growth bench-peers fmt clean

DIR   ?= ../shared/datasets
SCALE ?= 0.1
SCALES ?= 0.1 0.5 2
ONLY  ?=
SEEDS ?= 1000
FIRST ?= 1000
WORK  ?=

help: ## what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: ## installs what is missing: PostgreSQL server and client programs, headers, Python's venv
	@scripts/install.sh

servers: .venv/.complete ## installs servers of other versions for the tests, below /var/tmp
	@scripts/servers.sh .venv/bin/python

build: install ## target/release/rowback
	cargo build --release --locked

test: install .venv/.complete servers ## format, lints, all tests, documentation; needs nothing outside the repository
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

fuzz: install ## random databases, accidents and recoveries: make fuzz [SEEDS=1000] [FIRST=1000]; keeps what fails in target/fuzz
	ROWBACK_SEEDS=$(SEEDS) ROWBACK_FIRST_SEED=$(FIRST) cargo test --locked --test it -- --nocapture prop_recovery::whatever

test-datasets: install ## recovers real databases from real accidents: make test-datasets DIR=… [ONLY="pagila-1 …"]
	cargo build --locked --bin rowback
	tests/datasets/run.sh "$(DIR)" $(ONLY)

demo: install ## a shop, an accident, a rescue, in front of your eyes
	cargo build --locked --bin rowback
	scripts/demo.sh

bench: install ## rowback against a recovery by hand, in one run: make bench [SCALE=0.1]
	cargo build --locked --release --bin rowback
	benches/run.sh "$(SCALE)"

bench-growth: install ## how time and memory grow with the backup: make bench-growth [SCALES="0.1 0.5 2"]
	cargo build --locked --release --bin rowback
	benches/growth.sh $(SCALES)

bench-peers: install .venv-peers/.complete ## parts of the work against the best tool for each: make bench-peers [SCALE=0.1] [WORK="compare apply"]
	cargo build --locked --release --bin rowback --example floor
	benches/peers.sh "$(SCALE)" $(WORK)

fmt: ## formats the source
	cargo fmt

clean: ## removes what was built
	cargo clean
	rm -rf .venv .venv-peers

# The second readers of what rowback writes, pinned.
.venv/.complete: tests/requirements.txt
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

.venv-peers/.complete: benches/requirements.txt
	python3 -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benches/requirements.txt
	touch $@
