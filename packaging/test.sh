#!/usr/bin/env bash
# Every check there is, from a fresh checkout: form, lints, documentation, licences, walls, tests. The tests' closing lines come
# last. Tests on real recordings need SPINDLE_TEST_ASSETS, a folder of them, and say so where they are skipped.
# shellcheck disable=SC2317  # the checks are called through `check`
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=packaging/install.sh
. "$root/packaging/install.sh"
cd "$root"

failed=()

# check NAME COMMAND…: all checks are made, whatever one says.
check() {
    local name=$1 begun=$SECONDS
    shift
    say "$name"
    if "$@" </dev/null; then
        say "$name: well, $((SECONDS - begun)) s"
    else
        failed+=("$name")
        say "$name: FAILED, $((SECONDS - begun)) s"
    fi
}

# wall PACKAGE NAME…: the package's program is built without these.
wall() {
    local package=$1 tree name found=0
    shift
    tree=$(cargo tree --locked -p "$package" -e normal --prefix none --format '{p}') || return 1
    for name in "$@"; do
        if grep -q "^$name v" <<<"$tree"; then
            printf '%s must not depend on %s:\n' "$package" "$name" >&2
            cargo tree --locked -p "$package" -e normal -i "$name" >&2 || true
            found=1
        fi
    done
    return "$found"
}

# have_deny: cargo-deny is built where it is missing; without it the other checks still count.
have_deny() {
    install_cargo_tool cargo-deny && return 0
    say "skipped, because cargo-deny can't be installed"
    return 1
}

# Those for other systems too: licences are read from them. What the build needs may lie here already, without a network.
sources() {
    cargo fetch --locked --quiet || say "some sources can't be fetched; going on with those that are here"
}

licences() {
    have_deny || return 0
    if ! cargo metadata --locked --offline --format-version 1 >/dev/null 2>&1; then
        say "skipped: licences and bans, because some sources can't be fetched"
        return 0
    fi
    cargo deny --locked check --hide-inclusion-graph bans licenses sources
}

advisories() {
    local log code=0
    have_deny || return 0
    log=$(mktemp)
    timeout 120 cargo deny --locked check advisories >"$log" 2>&1 || code=$?
    if [ "$code" != 0 ] && { [ "$code" = 124 ] || grep -q 'failed to fetch advisory database' "$log"; }; then
        say "skipped: advisories, because their database can't be fetched"
        code=0
    else
        cat "$log" >&2
    fi
    rm -f "$log"
    return "$code"
}

# third_parties: the list that packages carry is what the programs are made of now.
third_parties() {
    if ! python3 -c 'import tomllib' 2>/dev/null; then
        say "skipped: the list of third parties, because there is no Python 3.11"
        return 0
    fi
    packaging/licences/generate.py --check
}

# packed: what packages hold can be laid out from what was just built.
packed() {
    if ! python3 -c 'import tomllib' 2>/dev/null; then
        say "skipped: what is packed, because there is no Python 3.11"
        return 0
    fi
    packaging/release.sh -n "${CARGO_TARGET_DIR:-target}/debug"
}

scripts() {
    shellcheck -x packaging/*.sh packaging/deb/*.sh tests/*.sh .ci/run
}

tools() {
    install_packages "${BUILD_PACKAGES[@]}" ffmpeg shellcheck unzip python3 binutils tesseract-ocr tesseract-ocr-eng tesseract-ocr-chi-sim openssl
    install_rust
    install_cargo_tool cargo-nextest
}

say "tools"
tools
say "tools: $SECONDS s"

[ -n "${SPINDLE_TEST_ASSETS:-}" ] || say "SPINDLE_TEST_ASSETS is not set: tests on real recordings skip themselves"
# Threads that wait don't spin: many tests share few cores.
export OMP_WAIT_POLICY=passive

check "sources" sources
check "form" cargo fmt --all --check
check "scripts" scripts
check "wall: the daemon links no decoder and no model" wall spindled whisper-rs ffmpeg-next ureq
check "wall: the core knows no runtime and no store" wall spindle-core tokio redb rustix
check "wall: the worker opens no queue" wall spindle-worker redb tokio spindle-core
check "wall: the command line only asks" wall spindlectl redb tokio spindle-core
check "wall: the dashboard only asks" wall spindletop redb tokio spindle-core
check "licences, bans, sources" licences
check "list of third parties" third_parties
check "advisories" advisories
check "lints" cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
check "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --workspace --no-deps --document-private-items
# Tests from outside start the programs, which a build of the tests alone leaves out.
check "programs" cargo build --locked --quiet --workspace
check "what is packed" packed
check "tests are built" cargo nextest run --locked --workspace --no-run --cargo-quiet

code=0
if [ ${#failed[@]} -gt 0 ]; then
    say "FAILED so far: $(IFS=';' && echo "${failed[*]}"); the tests can't mend that"
    code=1
fi
say "tests, after $SECONDS s"
cargo nextest run --locked --workspace --cargo-quiet </dev/null || code=$?
exit "$code"
