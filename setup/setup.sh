#!/usr/bin/env bash
# Makes a machine ready to build and run everything: checks the prerequisites, installs OpenBLAS where it may, and puts
# the pinned libtorch into a cache that all checkouts share. Does nothing, fast, when all is there.
#
# TORCH=cpu|cuda chooses the libtorch, and the checkout keeps to it; at first, it is cuda where an NVIDIA GPU can be used.
# RIBBON_CACHE names the cache; without it, hyperribbon/ in the user's cache folder.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf 'setup: %s\n' "$1" >&2
    shift
    for hint in "$@"; do printf '       %s\n' "$hint" >&2; done
    exit 1
}

check_platform() {
    local platform
    platform="$(uname -s) $(uname -m)"
    [ "$platform" = "Linux x86_64" ] || fail "this is $platform; libtorch is pinned for Linux x86_64 only" \
        "to add a platform, add its wheels to setup/libtorch.txt and setup/setup.sh"
}

check_compilers() {
    command -v cargo >/dev/null || fail "cargo is missing" "install Rust 1.95 or later: https://rustup.rs"
    { command -v cc && command -v c++; } >/dev/null || fail "a C++ compiler (cc and c++) is missing" \
        "Debian, Ubuntu: apt-get install g++      Fedora: dnf install gcc-c++"
}

# The compiler prints the library's path, or its bare name where it finds none.
finds_openblas() { [ "$(cc -print-file-name=libopenblas.so)" != libopenblas.so ]; }

setup_openblas() {
    finds_openblas && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing OpenBLAS (libopenblas-dev)"
        local install=(apt-get install -y -q --no-install-recommends libopenblas-dev)
        # Lists of packages may be missing or stale on a fresh machine.
        DEBIAN_FRONTEND=noninteractive "${install[@]}" >&2 ||
            { apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive "${install[@]}" >&2; } || true
    fi
    finds_openblas || fail "OpenBLAS is missing, which stages/embed needs" \
        "Debian, Ubuntu: sudo apt-get install libopenblas-dev      Fedora: sudo dnf install openblas-devel"
}

# Whether there is an NVIDIA GPU that the pinned libtorch can use: its CUDA 13 wants a driver of 580 or later, and cards of
# compute capability 7.5 (Turing) or later.
suits_cuda() {
    local cards
    cards=$(nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader 2>/dev/null) || return 1
    awk -F '[ ,.]+' '{ exit !($1 >= 580 && ($(NF - 1) > 7 || $(NF - 1) == 7 && $NF >= 5)) }' <<<"$cards" && return
    say "taking libtorch for CPUs: the NVIDIA driver and GPU here are ${cards%%$'\n'*}, and CUDA 13 wants 580 and 7.5"
    return 1
}

# The libtorch this checkout wants: the one asked for, else the one it has, else what suits the machine.
flavour() {
    local link
    link=$(readlink .deps/libtorch || true)
    case "${TORCH:-${link##*-}}" in
        cpu) echo cpu ;;
        cuda) echo cuda ;;
        "") if suits_cuda; then echo cuda; else echo cpu; fi ;;
        *) fail "TORCH=${TORCH:-} is neither cpu nor cuda" ;;
    esac
}

# Downloads and unpacks into $1; whatever goes wrong leaves nothing under that name.
install_libtorch() {
    local target=$1 flavour=$2 part=$1.part pins=(-r setup/libtorch.txt)
    python3 -m pip --version >/dev/null 2>&1 ||
        fail "Python 3 with pip is missing; it downloads libtorch" \
            "Debian, Ubuntu: apt-get install python3-pip      Fedora: dnf install python3-pip"
    local size="540 MB"
    if [ "$flavour" = cuda ]; then
        pins+=(-r setup/libtorch-cuda.txt)
        size="2.4 GB"
    fi
    say "downloading libtorch ($flavour, $size) into $target"
    rm -rf "$part"
    mkdir -p "$part/wheels" "$part/tmp"
    # The platform and the Python are named, so that every machine takes the same wheels, whatever pip runs there.
    TMPDIR=$part/tmp python3 -m pip download --quiet --no-cache-dir --disable-pip-version-check \
        --require-hashes --no-deps --only-binary=:all: --implementation cp --python-version 3.12 \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
        --platform manylinux_2_18_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --dest "$part/wheels" "${pins[@]}" ||
        fail "could not download libtorch (pip says why above)" \
            "a network fault: run it again      a wrong hash: the index gave another file than the pinned one"
    python3 setup/unpack.py "$flavour" "$part/wheels" "$part/libtorch"
    sync "$part/libtorch"/lib/*
    mv -T "$part/libtorch" "$target"
    rm -rf "$part"
}

setup_libtorch() {
    local cache=${RIBBON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hyperribbon} flavour version target
    flavour=$(flavour)
    version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' setup/libtorch.txt)
    target=$cache/libtorch-$version-$flavour
    [[ $cache = /* ]] || fail "the cache folder $cache is no absolute path" "set RIBBON_CACHE to one"
    [ -z "${LIBTORCH:-}" ] || [ "$LIBTORCH" -ef "$target" ] ||
        fail "LIBTORCH=$LIBTORCH would take the place of the pinned libtorch" "unset LIBTORCH"
    if [ ! -d "$target" ]; then
        mkdir -p "$cache"
        # Of two set-ups at once the second waits, and then finds it done.
        exec 9>"$target.lock"
        flock 9
        if [ ! -d "$target" ]; then install_libtorch "$target" "$flavour"; fi
        exec 9>&-
    fi
    if [ "$flavour" = cpu ] && [ -e /dev/nvidia0 ]; then
        say "this libtorch uses no GPU: say CUDA_VISIBLE_DEVICES=-1 where you run, or jobs are given the one that is here"
    fi
    [ "$(readlink .deps/libtorch || true)" = "$target" ] && return
    if [ -L .deps/libtorch ]; then
        # Programs know where the libtorch is that they were linked with, and neither cargo nor ribbon that it is another now.
        say "another libtorch than before: programs that link it will be built anew"
        rm -rf .ribbon/bin
        cargo clean --quiet --release -p torch-sys -p device -p networks -p train -p predict -p distance-cuda
    fi
    mkdir -p .deps
    ln -sfn "$target" .deps/libtorch
}

check_platform
check_compilers
setup_openblas
setup_libtorch
