#!/usr/bin/env bash
# Tests of the geometry on ARM's 64-bit processors, on any other one: compiled for them, run by qemu. Needs rustup, and
# Debian's packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user, which it installs where it may.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."

packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
if ! command -v aarch64-linux-gnu-gcc >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    if [ "$(id -u)" != 0 ]; then
        printf 'setup: lacking; Debian, Ubuntu: sudo apt-get install %s\n' "${packages[*]}" >&2
        exit 1
    fi
    install=(apt-get install -y -q --no-install-recommends "${packages[@]}")
    export DEBIAN_FRONTEND=noninteractive
    "${install[@]}" >&2 || { apt-get update -q >&2 && "${install[@]}" >&2; }
fi
rustup target add aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu'
exec cargo test --release --target aarch64-unknown-linux-gnu --manifest-path stages/geometry/Cargo.toml "$@"
