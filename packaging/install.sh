# shellcheck shell=bash
# What run.sh and test.sh share: telling, and installing what is missing. Sourced, with `root` set to the checkout; never run.
: "${root:?}"

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
    g++ make cmake nasm pkg-config libclang-dev
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
        say "neither Debian nor Ubuntu: what matches these packages must be there already: $*"
        return 0
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

# Finds a Rust that is new enough, or installs one; afterwards `cargo` works in the checkout, `$root`.
install_rust() {
    if [ -z "${HOME:-}" ]; then
        HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
        export HOME
    fi
    command -v cargo >/dev/null || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
    find_folders_of_cargo
    if ! rust_is_new_enough && ! take_other_toolchain; then
        say "installing Rust $RUST_NEEDED with rustup"
        # The PATH is this script's own affair, and so is an older Rust that is on it.
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            RUSTUP_INIT_SKIP_PATH_CHECK=yes \
                sh -s -- -y -q --no-modify-path --profile minimal --default-toolchain "$RUST_NEEDED" >&2 ||
            die "Rust could not be installed" "see https://rustup.rs"
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
        rust_is_new_enough || die "Rust $RUST_NEEDED was installed, and cargo does not start"
    fi
}

# A cargo on the PATH may be another home's; its toolchains and its sources then lie beside it, and are used.
find_folders_of_cargo() {
    local found home folder
    found=$(command -v cargo) || return 0
    home=$(dirname "$(dirname "$(readlink -f "$found")")")
    if [ -z "${RUSTUP_HOME:-}" ] && [ ! -d "$HOME/.rustup" ]; then
        for folder in "$(dirname "$home")/.rustup" "$(dirname "$home")/rustup"; do
            if [ -d "$folder/toolchains" ]; then
                export RUSTUP_HOME="$folder"
                say "using the Rust in $folder"
                break
            fi
        done
    fi
    if [ -z "${CARGO_HOME:-}" ] && [ ! -d "$HOME/.cargo" ] && [ -w "$home/registry" ]; then
        export CARGO_HOME="$home"
        say "using the crates in $home"
    fi
}

# new_enough VERSION
new_enough() {
    [ -n "$1" ] && printf '%s\n%s\n' "$RUST_NEEDED" "$1" | sort -V -C
}

# Asked in the checkout, because its rust-toolchain.toml counts there; rustup may fetch that toolchain now, and tells of it.
rust_is_new_enough() {
    local version
    command -v cargo >/dev/null || return 1
    version=$(cd "$root" && cargo --version | cut -d' ' -f2) || return 1
    new_enough "$version"
}

# Where the checkout's own toolchain can't be had, a newer one that is there does as well.
take_other_toolchain() {
    local name version
    command -v rustup >/dev/null || return 1
    for name in $(rustup toolchain list | cut -d' ' -f1 | grep -v nightly); do
        version=$(RUSTUP_TOOLCHAIN=$name cargo --version 2>/dev/null | cut -d' ' -f2) || continue
        if new_enough "$version"; then
            export RUSTUP_TOOLCHAIN=$name
            say "using the toolchain $name, Rust $version"
            return 0
        fi
    done
    return 1
}

# install_cargo_tool COMMAND: a program that cargo builds, such as cargo-nextest.
install_cargo_tool() {
    command -v "$1" >/dev/null && return 0
    [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/$1" ] && return 0
    say "installing $1 (some minutes)"
    cargo install --quiet --locked "$1"
}
