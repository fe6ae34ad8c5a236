#!/usr/bin/env bash
# A package for the Debian or Ubuntu that it is built on:
#
#   packaging/deb/build.sh [-o FOLDER] [PROGRAMS]
#
# Builds the programs for every processor of this kind, or takes them from the folder PROGRAMS, and leaves spindle_VERSION_ARCHITECTURE.deb in FOLDER
# (target/package otherwise). The same sources and programs give the same bytes. Whose package it is say DEBFULLNAME and DEBEMAIL.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=packaging/layout.sh
. "$root/packaging/layout.sh"
here=$root/packaging/deb

main() {
    local out=$root/target/package
    case "${1:-}" in
        -h | --help)
            sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
            return 0
            ;;
        -o)
            out=${2:?-o takes a folder}
            shift 2
            ;;
    esac
    install_packages dpkg-dev binutils python3 xz-utils
    programs_or_build "${1:-}"

    maintainer="${DEBFULLNAME:-The Spindle authors} <${DEBEMAIL:-spindle@packages.example}>"
    revision=1
    architecture=$(dpkg --print-architecture)
    name="spindle_$VERSION-${revision}_$architecture"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    tree=$work/tree
    lay_out "$tree/usr"
    add_what_debian_wants
    control

    mkdir -p "$out"
    # The newest time in it is the sources'.
    find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz -b "$tree" "$out/$name.deb" >&2
    printf '%s\n' "$out/$name.deb"
}

add_what_debian_wants() {
    local doc=$tree/usr/share/doc/spindle
    put "$root/packaging/spindled.toml" "$tree/etc/spindle/spindled.toml"
    # Debian says where its licences are, and has them.
    rm "$doc/LICENSE-MIT" "$doc/LICENSE-APACHE"
    put "$here/copyright" "$doc/copyright"
    put "$here/lintian-overrides" "$tree/usr/share/lintian/overrides/spindle"
    gzip -9n "$doc/THIRD-PARTY-LICENCES.txt"
    gzip -9nc "$root/CHANGELOG.md" >"$doc/changelog.gz"
    gzip -9nc >"$doc/changelog.Debian.gz" <<END
spindle ($VERSION-$revision) unstable; urgency=medium

  * Version $VERSION; what has changed stands in changelog.gz.

 -- $maintainer  $(date -uR -d "@$SOURCE_DATE_EPOCH")
END
}

# needed: what the programs are linked to, as packages of this system.
needed() {
    mkdir -p "$work/shlibs/debian"
    printf 'Source: spindle\n\nPackage: spindle\nArchitecture: any\n' >"$work/shlibs/debian/control"
    (cd "$work/shlibs" && dpkg-shlibdeps -O --warnings=0 \
        "$tree"/usr/lib/spindle/* "$tree/usr/bin/spindlectl" "$tree/usr/bin/spindletop") | sed -n 's/^shlibs:Depends=//p'
}

control() {
    local to=$tree/DEBIAN script
    mkdir -p "$to"
    local libraries
    libraries=$(needed)
    [ -n "$libraries" ] || die "what the programs are linked to is not known"
    cat >"$to/control" <<END
Package: spindle
Version: $VERSION-$revision
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size "$tree/usr" | cut -f1)
Depends: $libraries, systemd | systemd-standalone-sysusers | systemd-sysusers, systemd | systemd-standalone-tmpfiles | systemd-tmpfiles
Suggests: tesseract-ocr, tesseract-ocr-chi-sim
Section: video
Priority: optional
Description: batch media processing on your own machine
 A daemon keeps a durable queue of batches; worker processes do the work, and
 may crash without taking the queue along: speech in recordings and videos to
 subtitles and transcripts, videos made smaller, recordings and pictures
 converted, highlights cut, reports written.
 .
 spindlectl submits, watches and steers; spindletop is a dashboard. Each user
 may run a daemon of their own, or all share the system's.
 .
 The program spindle-worker is linked to a libav with parts under the GPL, and
 so this package is distributed under the GPL, version 3 or later.
END
    echo /etc/spindle/spindled.toml >"$to/conffiles"
    for script in postinst prerm postrm; do
        install -m 755 "$here/$script" "$to/$script"
    done
    (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$to/md5sums"
    chmod 644 "$to/control" "$to/conffiles" "$to/md5sums"
}

main "$@"
