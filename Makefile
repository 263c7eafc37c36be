# Thin: every target is a command or two that also work by hand.

.PHONY: help setup figures test lint

help:
	@echo 'make figures    set up, build, and run the pipeline: figures appear in outputs/'
	@echo 'make test       set up, and run all tests'
	@echo 'make lint       formatting, clippy and rustdoc, no warning allowed'
	@echo 'make setup      libtorch and OpenBLAS alone; TORCH=cpu or TORCH=cuda chooses the libtorch'

setup:
	@TORCH='$(TORCH)' setup/setup.sh

figures: setup
	cargo run --release -- run

test: setup
	cargo test --release --workspace

lint: setup
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps
