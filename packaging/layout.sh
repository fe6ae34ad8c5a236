# shellcheck shell=bash
# What deb/build.sh and release.sh share: building programs that travel, and laying out what belongs to them. Sourced, with `root` set to the
# checkout; never run.
: "${root:?}"
# shellcheck source=packaging/install.sh
. "$root/packaging/install.sh"

# shellcheck disable=SC2034
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
MACHINE=$(uname -m)

# Everything made here bears one time, so that the same sources give the same bytes.
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null) ||
        die "the time of these sources is not known" "set SOURCE_DATE_EPOCH, in seconds since 1970"
fi
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC

# What a processor must have is the same wherever it is built: on x86-64 what all have since 2013 (Intel) and 2015 (AMD). The programs say so at
# their start on one that is older; they know it by these very variables, see shared/src/processor.rs.
choose_processor() {
    export GGML_NATIVE=OFF
    [ "$MACHINE" = x86_64 ] || return 0
    # Each by name: ggml leaves out what is not asked for where SOURCE_DATE_EPOCH is set.
    export GGML_SSE42=ON GGML_AVX=ON GGML_AVX2=ON GGML_FMA=ON GGML_F16C=ON GGML_BMI2=ON
}

# build_programs: sets `programs`, the folder they are in. In a folder of its own, because what C libraries were compiled for is not seen to change.
build_programs() {
    local target="$root/target/package" cargo_home separator=$'\x1f'
    install_packages "${BUILD_PACKAGES[@]}"
    install_rust
    choose_processor
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    # No path of the machine that builds stays in the programs.
    export CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$root=/spindle$separator--remap-path-prefix=$cargo_home=/cargo"
    export CFLAGS="-ffile-prefix-map=$root=/spindle -ffile-prefix-map=$cargo_home=/cargo -fstack-protector-strong"
    export CXXFLAGS="$CFLAGS"
    say "building for every processor of this kind; the first time takes some minutes"
    (cd "$root" && CARGO_TARGET_DIR=$target cargo build --release --locked \
        -p spindled -p spindle-worker -p spindlectl -p spindletop) || die "the build failed"
    if grep -q -- '-march=native' "$target"/release/build/whisper-rs-sys-*/output; then
        die "whisper.cpp was built for this machine's processor alone" "rm -r $target and again"
    fi
    programs=$target/release
}

# programs_or_build [FOLDER]: sets `programs`.
programs_or_build() {
    local name
    if [ -z "${1:-}" ]; then
        build_programs
    else
        programs=$(realpath -- "$1")
    fi
    for name in spindled spindle-worker spindlectl spindletop; do
        [ -x "$programs/$name" ] || die "there is no program $programs/$name" "" 2
    done
}

# lay_out DESTINATION: programs, units, completions, manual and licences, as they lie below /usr. Nothing of it is outside.
lay_out() {
    local to=$1 name shell page
    umask 022
    mkdir -p "$to/bin" "$to/lib/spindle"
    # The daemon starts the worker that lies beside it, and a link's target is where it looks; nobody else is to find the worker.
    for name in spindled spindle-worker; do
        install -m 755 "$programs/$name" "$to/lib/spindle/$name"
    done
    ln -s ../lib/spindle/spindled "$to/bin/spindled"
    for name in spindlectl spindletop; do
        install -m 755 "$programs/$name" "$to/bin/$name"
    done
    strip --strip-unneeded --remove-section=.comment --remove-section=.note "$to"/lib/spindle/* "$to/bin/spindlectl" "$to/bin/spindletop"

    put "$root/packaging/systemd/system/spindled.service" "$to/lib/systemd/system/spindled.service"
    put "$root/packaging/systemd/user/spindled.service" "$to/lib/systemd/user/spindled.service"
    put "$root/packaging/systemd/sysusers.d/spindle.conf" "$to/lib/sysusers.d/spindle.conf"
    put "$root/packaging/systemd/tmpfiles.d/spindle.conf" "$to/lib/tmpfiles.d/spindle.conf"
    for name in spindled.toml prometheus/spindle.rules.yml; do
        put "$root/packaging/$name" "$to/share/doc/spindle/examples/$(basename "$name")"
    done

    for shell in bash-completion/completions/spindlectl:bash zsh/vendor-completions/_spindlectl:zsh fish/vendor_completions.d/spindlectl.fish:fish; do
        mkdir -p "$(dirname "$to/share/${shell%:*}")"
        "$programs/spindlectl" completions "${shell#*:}" >"$to/share/${shell%:*}"
    done

    mkdir -p "$to/share/man/man1"
    "$programs/spindlectl" man --dir "$to/share/man/man1"
    for name in spindled spindletop; do
        python3 "$root/packaging/man.py" "$programs/$name" >"$to/share/man/man1/$name.1"
    done
    for name in $("$programs/spindlectl" --help | sed -n '/^Commands:/,/^Options:/s/^  \([a-z]\+\) .*/\1/p'); do
        [ "$name" = help ] || [ -s "$to/share/man/man1/spindlectl-$name.1" ] || die "spindlectl $name has no page"
    done
    for page in "$to"/share/man/man1/*; do
        gzip -9n "$page"
    done

    put "$root/README.md" "$to/share/doc/spindle/README.md"
    put "$root/LICENSE-MIT" "$to/share/doc/spindle/LICENSE-MIT"
    put "$root/LICENSE-APACHE" "$to/share/doc/spindle/LICENSE-APACHE"
    put "$root/packaging/licences/THIRD-PARTY.md" "$to/share/doc/spindle/THIRD-PARTY.md"
    python3 "$root/packaging/licences/generate.py" --texts >"$to/share/doc/spindle/THIRD-PARTY-LICENCES.txt"
}

# put FILE PLACE: a file for everybody to read.
put() {
    mkdir -p "$(dirname "$2")"
    install -m 644 "$1" "$2"
}
