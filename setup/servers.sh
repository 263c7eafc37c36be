#!/usr/bin/env bash
# Installs the servers that tests of shares start for themselves: S3 (s3s-fs, from its crate, into the cache folder), WebDAV
# (nginx) and SFTP (sshd), both from Debian's packages where this may install them; and Chromium, from there too, which
# tests of pages start. Does nothing, fast, when all is there. A test whose server or browser is missing says so and is
# left out. With --release s3s-fs is built to be fast: for `cargo bench --bench share`.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }
servers=${RIBBON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hyperribbon}/servers

has_packages() {
    [ -x /usr/sbin/nginx ] && [ -x /usr/sbin/sshd ] && [ -e /usr/lib/nginx/modules/ngx_http_dav_ext_module.so ]
}

install_packages() {
    has_packages && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "no nginx with its WebDAV module or no sshd: shares over WebDAV and SFTP will not be tested"
        say "Debian, Ubuntu: sudo apt-get install nginx-light libnginx-mod-http-dav-ext openssh-server"
        return
    fi
    say "installing nginx and sshd for tests of shares"
    local install=(apt-get install -y -q --no-install-recommends nginx-light libnginx-mod-http-dav-ext
        openssh-server openssh-client)
    # Installed, not started: tests start their own.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    # Lists of packages may be missing or stale on a fresh machine.
    "${install[@]}" >&2 || { apt-get update -q >&2 && "${install[@]}" >&2; } ||
        say "could not install them: shares over WebDAV and SFTP will not be tested"
}

install_browser() {
    if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then return; fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "no chromium: pages will not be tested in a browser (Debian, Ubuntu: sudo apt-get install chromium)"
        return
    fi
    say "installing chromium for tests of pages"
    local install=(apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core)
    export DEBIAN_FRONTEND=noninteractive
    "${install[@]}" >&2 || { apt-get update -q >&2 && "${install[@]}" >&2; } ||
        say "could not install it: pages will not be tested in a browser"
}

# Builds s3s-fs into a folder, by a profile of cargo.
install_s3() {
    local root=$1 profile=$2
    [ -x "$root/bin/s3s-fs" ] && return
    mkdir -p "$root"
    # Of two set-ups at once the second waits, and then finds it done.
    exec 9>"$root/lock"
    flock 9
    [ -x "$root/bin/s3s-fs" ] && return
    say "building s3s-fs for tests of shares (some minutes, once)"
    # A folder of its own: nothing of it is of use to anything else.
    CARGO_TARGET_DIR=$root/target cargo install --quiet --profile "$profile" s3s-fs@0.14.1 --features binary \
        --root "$root" >&2 || say "could not build it: shares over S3 will not be tested"
    rm -rf "$root/target"
    exec 9>&-
}

install_packages
install_browser
case ${1:-} in
    --release) install_s3 "$servers/release" release ;;
    *) install_s3 "$servers" dev ;;
esac
