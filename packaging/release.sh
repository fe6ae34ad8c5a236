#!/usr/bin/env bash
# An archive for machines with the libav of the system that it is built on, for whoever has no use for a package:
#
#   packaging/release.sh [-n | -o FOLDER] [PROGRAMS]
#
# Builds the programs for every processor of this kind, or takes them from the folder PROGRAMS, and leaves spindle-VERSION-MACHINE-linux.tar.zst and its
# checksum in FOLDER (target/package otherwise). The same sources and programs give the same bytes. -n lays all out, and packs nothing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=packaging/layout.sh
. "$root/packaging/layout.sh"

main() {
    local out=$root/target/package pack=1
    case "${1:-}" in
        -h | --help)
            sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
            return 0
            ;;
        -n)
            pack=0
            shift
            ;;
        -o)
            out=${2:?-o takes a folder}
            shift 2
            ;;
    esac
    install_packages binutils python3 zstd
    programs_or_build "${1:-}"

    name=spindle-$VERSION-$MACHINE-linux
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    tree=$work/$name
    lay_out "$tree"
    for_usr_local
    install_text >"$tree/INSTALL.md"
    (cd "$tree" && find . -type f ! -name SHA256SUMS -printf '%P\0' | sort -z | xargs -0 sha256sum) >"$tree/SHA256SUMS"
    chmod 644 "$tree/SHA256SUMS" "$tree/INSTALL.md"

    [ "$pack" = 1 ] || return 0
    mkdir -p "$out"
    tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=posix \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf - "$name" | zstd -q -12 -T2 -f -o "$out/$name.tar.zst"
    (cd "$out" && sha256sum "$name.tar.zst" >"$name.tar.zst.sha256")
    printf '%s\n' "$out/$name.tar.zst"
}

# Where what no package manager knows is at home.
for_usr_local() {
    local doc=$tree/share/doc/spindle
    sed -i 's|/usr/bin/spindled|/usr/local/bin/spindled|' "$tree"/lib/systemd/*/spindled.service
    mkdir -p "$tree/share/zsh/site-functions"
    mv "$tree/share/zsh/vendor-completions/_spindlectl" "$tree/share/zsh/site-functions/_spindlectl"
    rmdir "$tree/share/zsh/vendor-completions"
    # What holds a worker that is linked to a GPL libav goes with its licence.
    put "$root/packaging/licences/GPL-3.txt" "$doc/GPL-3.txt"
}

# libraries: what the worker needs of the system, by the names that the loader looks for.
libraries() {
    objdump -p "$tree/lib/spindle/spindle-worker" | sed -n 's/^ *NEEDED *//p' | sort | paste -sd ' '
}

install_text() {
    cat <<END
# Spindle $VERSION for Linux on $MACHINE

The programs work where they lie: \`bin/spindled &\`, \`bin/spindlectl --help\`. For everybody on this machine:

    sudo cp -a --no-preserve=ownership bin lib share /usr/local/

Then either a daemon of your own,

    systemctl --user daemon-reload && systemctl --user enable --now spindled
    loginctl enable-linger                      # it goes on while you are logged out

or one for the machine:

    sudo systemd-sysusers /usr/local/lib/sysusers.d/spindle.conf
    sudo systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/spindle.conf
    sudo install -D -m 644 share/doc/spindle/examples/spindled.toml /etc/spindle/spindled.toml    # every key, with its default
    sudo systemctl daemon-reload && sudo systemctl enable --now spindled

The system must have: $(libraries)
($(. /etc/os-release && echo "$PRETTY_NAME") has. Elsewhere build from the sources: \`packaging/run.sh\`.)

\`sha256sum -c SHA256SUMS\` says whether all is as it was packed. \`spindle-worker\` is linked to a libav with parts under the GPL: this archive is distributed
under the GNU General Public License, version 3 or later (share/doc/spindle/GPL-3.txt); the sources are under MIT or Apache-2.0. Whose work else is in it:
share/doc/spindle/THIRD-PARTY.md.
END
}

main "$@"
