# shellcheck shell=bash
# What run.sh and test.sh share: telling, and installing what is missing. Sourced, never run.

say() { printf '==> %s\n' "$*" >&2; }

# die MESSAGE [HINT] [EXIT CODE]
die() {
    printf 'error: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
    exit "${3:-1}"
}

# Debian and Ubuntu packages; both scripts read it.
# shellcheck disable=SC2034
BUILD_PACKAGES=(
    g++ make cmake pkg-config libclang-dev
    libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libavdevice-dev libswscale-dev libswresample-dev
    curl ca-certificates
)
# A cargo older than this can't read the workspace.
RUST_NEEDED=1.95.0

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages NAME…: nothing where all are there; never asks.
install_packages() {
    local package missing=()
    [ "$(uname -s)" = Linux ] || die "Spindle runs on Linux; this is $(uname -s)"
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        die "this script knows Debian and Ubuntu only" \
            "install what matches these packages, and Rust $RUST_NEEDED, then \`cargo build --release --workspace\`: $*"
    fi
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        die "packages are missing, and there is no sudo" "run as root: apt-get install ${missing[*]}"
    fi
    say "installing packages: ${missing[*]}"
    local log
    log=$(mktemp)
    # The lists may be missing or old: fetched once, when the first try doesn't do.
    if ! apt_install "${missing[@]}" >"$log" 2>&1; then
        { as_root apt-get update -q && apt_install "${missing[@]}"; } >"$log" 2>&1 || {
            tail -n 20 "$log" >&2
            rm -f "$log"
            die "the packages could not be installed" "apt-get install ${missing[*]}"
        }
    fi
    rm -f "$log"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# Finds cargo or installs it; afterwards `cargo` works.
install_rust() {
    if [ -z "${HOME:-}" ]; then
        HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
        export HOME
    fi
    command -v cargo >/dev/null || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    # A toolchain found by PATH keeps its files beside it, also when HOME is another one.
    local home found
    if found=$(command -v cargo); then
        home=$(dirname "$(dirname "$found")")
        if [ -z "${RUSTUP_HOME:-}" ] && [ ! -d "$HOME/.rustup" ] && [ -d "$(dirname "$home")/.rustup" ]; then
            RUSTUP_HOME="$(dirname "$home")/.rustup"
            export RUSTUP_HOME
        fi
        if [ -z "${CARGO_HOME:-}" ] && [ ! -d "$HOME/.cargo" ] && [ -d "$home/registry" ] && [ -w "$home/registry" ]; then
            export CARGO_HOME="$home"
        fi
    fi
    if ! rust_is_new_enough; then
        say "installing Rust $RUST_NEEDED with rustup"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y -q --no-modify-path --profile minimal --default-toolchain "$RUST_NEEDED" >&2 ||
            die "Rust could not be installed" "see https://rustup.rs"
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    export PATH
}

rust_is_new_enough() {
    local version
    version=$(cargo --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ -n "$version" ] && printf '%s\n%s\n' "$RUST_NEEDED" "$version" | sort -V -C
}

# install_cargo_tool COMMAND: a program that cargo builds, such as cargo-nextest.
install_cargo_tool() {
    command -v "$1" >/dev/null && return 0
    [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/$1" ] && return 0
    say "installing $1 (some minutes)"
    cargo install --quiet --locked "$1"
}
