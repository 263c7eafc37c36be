# Thin: every target is a command or two that also work by hand.

.PHONY: help setup figures share test lint bench

# Each crate by itself: built together, cargo would unite the features of what they depend on, and compile polars and
# torch-sys once more than `ribbon` does.
each = set -e; for folder in . stages/*/; do (set -x; $(1) --manifest-path $$folder/Cargo.toml $(2)); done

# A workspace of its own, built beside `ribbon`, which finds it there.
remote = --manifest-path remote/Cargo.toml --target-dir "$${CARGO_TARGET_DIR:-target}"

help:
	@echo 'make figures    set up, build, and run the pipeline: figures appear in outputs/'
	@echo 'make share      build ribbon-remote, which reaches shares on servers (S3, WebDAV, SFTP, Google, Azure)'
	@echo 'make test       set up, and run all tests; setup/servers.sh installs the servers that some need'
	@echo 'make lint       formatting, clippy and rustdoc, no warning allowed'
	@echo 'make bench      all benchmarks, half an hour; docs/PERFORMANCE.md says what they show'
	@echo '                (RIBBON_PYTHON names a Python with torch, torchvision and scipy; else it makes one, 6 GB)'
	@echo 'make setup      libtorch and OpenBLAS alone; TORCH=cpu or TORCH=cuda chooses the libtorch'

setup:
	@TORCH='$(TORCH)' setup/setup.sh

figures: setup
	cargo run --release -- run

share:
	cargo build --release $(remote)

test: setup share
	@$(call each,cargo test --release)

# Those of each crate that has some. One is done before the next begins: they share the machine.
bench: setup share
	@set -e; RIBBON_PYTHON=$${RIBBON_PYTHON:-$$(setup/python.sh)}; export RIBBON_PYTHON; \
	for folder in $(dir $(wildcard benches stages/*/benches)); do \
		(set -x; cargo bench --bench '*' --manifest-path $$folder/Cargo.toml); done

lint: export RUSTDOCFLAGS = -D warnings
lint: setup
	cargo fmt --all --check
	cargo fmt --manifest-path remote/Cargo.toml --check
	@$(call each,cargo clippy --release --all-targets --no-deps,-- -D warnings)
	@$(call each,cargo doc --release --no-deps)
	cargo clippy --release $(remote) -- -D warnings
