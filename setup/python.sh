#!/usr/bin/env bash
# Prints the path of a Python that has what benches compare with: PyTorch, scipy. The first time it makes a virtual
# environment for it in the cache, which downloads gigabytes: the registry's PyTorch is the one for CUDA.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."

say() { printf 'setup: %s\n' "$*" >&2; }

# Another list is another environment.
environment=${RIBBON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hyperribbon}/python-$(cksum < setup/python.txt | cut -d ' ' -f 1)
if [ ! -d "$environment" ]; then
    mkdir -p "${environment%/*}"
    # Of two at once the second waits, and then finds it done.
    exec 9>"$environment.lock"
    flock 9
    if [ ! -d "$environment" ]; then
        say "installing PyTorch and scipy for benches into $environment (some gigabytes, once)"
        rm -rf "$environment.part"
        python3 -m venv "$environment.part" >&2
        "$environment.part/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
            -r setup/python.txt >&2
        # Its interpreter is called by its path: nothing in it that names the old folder is used.
        mv -T "$environment.part" "$environment"
    fi
    exec 9>&-
fi
echo "$environment/bin/python"
