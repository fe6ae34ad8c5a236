#!/usr/bin/env bash
# Installs a package in a clean Debian of this system's release, lets an ordinary user work with it, removes and purges it:
#
#   packaging/deb/test.sh PACKAGE.deb
#
# Needs root, a network for Debian's own packages, and 2 GB below SPINDLE_TEST_DEBIAN (/var/tmp/spindle-debian), where the bare system and what was fetched
# are kept for the next time. SPINDLE_TEST_BOOT=1 boots the system with systemd, too, and runs the service there.
# shellcheck disable=SC2016  # what is quoted is for the shell inside
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=packaging/install.sh
. "$root/packaging/install.sh"

deb=$(realpath -- "${1:?a package, as packaging/deb/build.sh makes it}")
[ "$(id -u)" = 0 ] || die "only root can make another root" "sudo $0 $deb" 2
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
kept=${SPINDLE_TEST_DEBIAN:-/var/tmp/spindle-debian}/$release
bare=$kept/bare
failed=0

well() { printf '  well    %s\n' "$*"; }
wrong() {
    printf '  WRONG   %s\n' "$*"
    failed=1
}
told() { printf '  %-28s %s\n' "$1" "$2"; }

# expect WHAT COMMAND…: says whether it works, and what it said where it doesn't.
expect() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        well "$what"
    else
        wrong "$what"
        printf '%s\n' "$said" | tail -n 20 | sed 's/^/          /'
    fi
}

# inside COMMAND…: in the clean system, with its own processes; whatever it mounts or leaves running ends with it.
inside() {
    unshare --mount --pid --fork --ipc --uts --propagation private bash -c '
        set -e
        there=$1 kept=$2
        shift 2
        mount -t proc proc "$there/proc"
        mount -t tmpfs tmpfs "$there/run"
        mount --rbind /dev "$there/dev"
        mount --bind "$kept/archives" "$there/var/cache/apt/archives"
        cp -L /etc/resolv.conf "$there/etc/resolv.conf"
        exec chroot "$there" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive OMP_WAIT_POLICY=passive "$@"
    ' inside "$there" "$kept" "$@"
}

# ann COMMAND: a shell's, as an ordinary user with a clean home.
ann() {
    inside setpriv --reuid ann --regid ann --init-groups env HOME=/home/ann USER=ann sh -ec "cd
$1"
}

debian() {
    mkdir -p "$kept/archives/partial"
    if [ ! -e "$kept/bare.done" ]; then
        say "making a bare $release (once)"
        rm -rf "$bare"
        local mirror
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $release" | head -n 1)
        debootstrap --variant=minbase "$release" "$bare" "${mirror:-http://deb.debian.org/debian}" >"$kept/debootstrap.log" 2>&1 ||
            die "there is no bare $release" "$kept/debootstrap.log says why"
        touch "$kept/bare.done"
    fi
    work=$(mktemp -d "$kept/run.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    there=$work/root
    cp -a "$bare" "$there"
    # Services are not for starting here.
    printf '#!/bin/sh\nexit 101\n' >"$there/usr/sbin/policy-rc.d"
    chmod 755 "$there/usr/sbin/policy-rc.d"
    cp "$deb" "$there/spindle.deb"
}

# Every file of the clean system but what Debian's own programs write of themselves.
files() {
    (cd "$there" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./home -o -path ./var/log \
        -o -path ./var/cache -o -path ./var/lib/dpkg -o -path ./var/lib/apt \) -prune -o -print) | LC_ALL=C sort
}

installing() {
    say "installing"
    local begun=$SECONDS before after
    before=$(inside dpkg-query -W | wc -l)
    inside apt-get update -q >"$work/log" 2>&1 || true
    expect "apt installs it with what it needs" inside apt-get install -y -q --no-install-recommends /spindle.deb
    [ "$failed" = 0 ] || return 0
    after=$(inside dpkg-query -W | wc -l)
    told "package" "$(du -k "$deb" | cut -f1) KiB; installed $(inside dpkg-query -W -f '${Installed-Size}' spindle) KiB"
    told "packages it brings along" "$((after - before - 1))"
    told "installed after" "$((SECONDS - begun)) s"
    told "needs" "$(inside dpkg-query -W -f '${Depends}' spindle)"
    expect "dpkg finds its files as they were packed" inside sh -c 'test -z "$(dpkg -V spindle | grep -v " c ")"'
}

standing() {
    say "what stands there"
    local path
    for path in usr/bin/spindlectl usr/bin/spindletop usr/bin/spindled usr/lib/spindle/spindle-worker; do
        expect "/$path runs on a system with nothing else" inside sh -c "! ldd /$path | grep -i 'not found'"
    done
    for path in usr/lib/systemd/system/spindled.service usr/lib/systemd/user/spindled.service usr/lib/sysusers.d/spindle.conf usr/lib/tmpfiles.d/spindle.conf \
        usr/share/doc/spindle/THIRD-PARTY-LICENCES.txt.gz usr/share/doc/spindle/changelog.Debian.gz usr/share/doc/spindle/copyright; do
        expect "/$path" test -s "$there/$path"
    done
    expect "the user and the groups are there, and nobody is in them" inside sh -c \
        'getent passwd spindle | grep -q ":/var/lib/spindle:/usr/sbin/nologin$" && getent group spindle | grep -q ":$" && getent group spindle-admin | grep -q ":$"'
    expect "the state folder is the service's alone" inside sh -c 'test "$(stat -c %U:%G:%a /var/lib/spindle)" = spindle:spindle:700'
    expect "the configuration is root's, and nobody else's but the service's" inside sh -c 'test "$(stat -c %U:%G:%a /etc/spindle/spindled.toml)" = root:spindle:640'
    expect "nothing is enabled" inside sh -c '! find /etc/systemd -name "spindled*" | grep .'
    expect "the system service reads its configuration" inside setpriv --reuid spindle --regid spindle --init-groups spindled --system --check-config
    expect "bash completes spindlectl" bash -c '. "$1" && complete -p spindlectl' _ "$there/usr/share/bash-completion/completions/spindlectl"
    expect "zsh is told what to complete" grep -q '^#compdef spindlectl' "$there/usr/share/zsh/vendor-completions/_spindlectl"
    if command -v zsh >/dev/null; then expect "zsh reads it" zsh -n "$there/usr/share/zsh/vendor-completions/_spindlectl"; fi
    if command -v fish >/dev/null; then expect "fish reads it" fish -n "$there/usr/share/fish/vendor_completions.d/spindlectl.fish"; fi
    expect "every verb has its page" sh -c 'for verb in $("$1" --help | sed -n "/^Commands:/,/^Options:/s/^  \([a-z]\+\) .*/\1/p"); do
        [ "$verb" = help ] || [ -s "$2/spindlectl-$verb.1.gz" ] || { echo "$verb"; exit 1; }; done' _ "$there/usr/bin/spindlectl" "$there/usr/share/man/man1"
    for path in spindled spindletop spindlectl spindlectl-submit; do
        expect "man $path, without a warning" sh -c 'said=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$1" 2>&1 >/dev/null) && test -z "$said" || { echo "$said"; exit 1; }' \
            _ "$there/usr/share/man/man1/$path.1.gz"
        expect "$path is found by apropos" sh -c 'lexgrog "$1" | grep -v "parse failed"' _ "$there/usr/share/man/man1/$path.1.gz"
    done
}

units() {
    say "units"
    local figure
    expect "systemd-analyze verify, of the system's" inside systemd-analyze verify --man=no /usr/lib/systemd/system/spindled.service
    expect "systemd-analyze verify, of the user's" inside env XDG_RUNTIME_DIR=/run systemd-analyze --user verify --man=no /usr/lib/systemd/user/spindled.service
    # `verify` ends well with warnings, too.
    expect "… with nothing to say" inside sh -c 'test -z "$(systemd-analyze verify --man=no /usr/lib/systemd/system/spindled.service 2>&1 | grep spindle)"'
    figure=$(inside systemd-analyze security --offline=true --no-pager /usr/lib/systemd/system/spindled.service 2>&1 |
        sed -n 's/.*Overall exposure level for spindled.service: \([0-9.]*\).*/\1/p')
    told "exposure, of 10" "${figure:-unknown}"
    expect "exposure below 2.0" awk -v figure="${figure:-10}" 'BEGIN { exit !(figure < 2.0) }'
}

working() {
    say "an ordinary user works with it"
    inside useradd --create-home --shell /bin/sh ann
    install -m 644 "$root/packaging/demo/ggml-mini-tts.en.bin" "$there/home/ann/ggml-mini-tts.en.bin"
    espeak-ng -v en-us -s 150 -m -w "$there/home/ann/digits.wav" '<speak>seven five two<break time="900ms"/>four six</speak>'
    chmod 644 "$there/home/ann/digits.wav"
    expect "spindlectl --version" ann 'spindlectl --version'
    told "version" "$(ann 'spindlectl --version')"
    expect "spindled --check-config" ann 'spindled --check-config'
    expect "spindled says where nothing answers" ann 'code=0; spindlectl health || code=$?; test $code = 5'
    expect "a batch of one recording to subtitles" ann '
        spindled >spindled.log 2>&1 &
        until spindlectl -q health >/dev/null 2>&1; do kill -0 $! || { cat spindled.log; exit 1; }; sleep 0.1; done
        spindlectl submit subtitles --model ~/ggml-mini-tts.en.bin --wait digits.wav || { spindlectl failures; tail -n 20 spindled.log; exit 1; }
        spindlectl shutdown
        wait $!'
    told "heard" "$(sed -E 's/\r$//; /^[0-9]+$/d; /-->/d; /^$/d' "$there"/home/ann/digits*.srt 2>/dev/null | paste -sd ' ')"
    expect "the subtitles lie beside the recording" sh -c 'ls "$1"/home/ann/digits*.srt' _ "$there"
    expect "what is kept lies in the home, and is its user's alone" sh -c 'test "$(stat -c %a "$1"/home/ann/.local/state/spindle/queue.redb)" = 600' _ "$there"
}

# The system's service as the package leaves it, without a systemd to start it: for whoever is in its group, and nobody else.
serving() {
    say "a service for several users"
    inside sh -ec 'useradd --create-home --shell /bin/sh bob; useradd --create-home --shell /bin/sh eve; usermod -aG spindle ann; usermod -aG spindle,spindle-admin eve'
    expect "users in its group, strangers, administrators" inside sh -ec '
        as() { user=$1; shift; setpriv --reuid "$user" --regid "$user" --init-groups env HOME="/home/$user" sh -ec "cd; $*"; }
        install -d -o spindle -g spindle -m 755 /run/spindle
        setpriv --reuid spindle --regid spindle --init-groups --no-new-privs spindled --system --foreground >/tmp/service.log 2>&1 &
        until spindlectl --system -q health >/dev/null 2>&1; do kill -0 $! || { cat /tmp/service.log; exit 1; }; sleep 0.1; done
        trap "tail -n 20 /tmp/service.log" EXIT
        test "$(stat -c %U:%G:%a /run/spindle/spindled.sock)" = spindle:spindle:660
        as ann spindlectl --system submit convert --to mp3 --wait digits.wav
        test "$(stat -c %U:%G /home/ann/digits.mp3)" = ann:ann
        as ann spindlectl submit convert --to flac --wait digits.wav      # it is found without being named
        test -s /home/ann/digits.flac
        code=0; as bob spindlectl --system list 2>/tmp/said || code=$?
        test $code = 5; grep -q "usermod -aG spindle" /tmp/said
        code=0; as ann spindlectl --system gc --dry-run 2>/dev/null || code=$?
        test $code = 11
        as eve spindlectl --system gc --dry-run
        test "$(as eve spindlectl --system list | grep -c convert)" = 2
        spindlectl --system remove --purge 1 2
        spindlectl --system shutdown
        wait $!
        trap - EXIT
        rm -rf /tmp/said /tmp/service.log'
    inside sh -c 'userdel --remove bob; userdel --remove eve; gpasswd -d ann spindle; rm -f /home/ann/digits.mp3 /home/ann/digits.flac' >/dev/null 2>&1 || true
}

# Under the package's own systemd, where one may be booted.
booted() {
    if [ "${SPINDLE_TEST_BOOT:-}" != 1 ]; then
        return 0
    fi
    say "under systemd"
    expect "the service runs, answers, is watched and stops" "$root/packaging/deb/boot.sh" "$there"
}

removing() {
    say "removing"
    echo '# An administrator wrote this.' >>"$there/etc/spindle/spindled.toml"
    expect "installed over itself" inside dpkg -i /spindle.deb
    expect "the administrator's configuration stays" grep -q '^# An administrator' "$there/etc/spindle/spindled.toml"
    expect "removed" inside apt-get remove -y -q spindle
    expect "no program is left" sh -c '! ls "$1"/usr/bin/spindle* "$1"/usr/lib/spindle "$1"/usr/lib/systemd/*/spindled.service 2>/dev/null | grep .' _ "$there"
    expect "configuration and state are" test -s "$there/etc/spindle/spindled.toml" -a -d "$there/var/lib/spindle"
    inside sh -c 'umask 077 && cd /var/lib/spindle && mkdir -p models spool/1000/k1/in spool/1000/k1/out spool/1000/k2/in && touch queue.redb models/ggml-base.bin \
        spool/1000/k1/in/talk.mp4 spool/1000/k1/out/talk.en.srt spool/1000/k2/in/film.mp4
        mkdir -p /etc/systemd/system/multi-user.target.wants && ln -s /lib/systemd/system/spindled.service /etc/systemd/system/multi-user.target.wants/'
    expect "purged" inside dpkg --purge spindle
    expect "of the state, what was made for users and not fetched is left, and nothing else" \
        sh -c 'cd "$1" && left=$(find . -type f) && [ "$left" = ./spool/1000/k1/out/talk.en.srt ] || { echo "$left"; exit 1; }' _ "$there/var/lib/spindle"
    rm -rf "$there/var/lib/spindle"
    files >"$work/before"
    expect "installed once more, removed and purged at once" inside sh -c 'dpkg -i /spindle.deb && dpkg --purge spindle'
    files >"$work/after"
    expect "not a file more is there than before" diff "$work/before" "$work/after"
    expect "nothing by its name is left" sh -c '! grep -i spindle "$1" | grep -v "^./spindle.deb$"' _ "$work/after"
    expect "dpkg knows nothing of it" inside sh -c '! dpkg-query -W spindle 2>/dev/null'
    told "what stays" "$(inside getent passwd spindle), as Debian's users do"
    expect "the user's home is as it was" sh -c 'ls "$1"/home/ann/digits*.srt "$1"/home/ann/.local/state/spindle/queue.redb' _ "$there"
}

install_packages debootstrap espeak-ng man-db
debian
installing
if [ "$failed" = 0 ]; then
    standing
    units
    working
    serving
    booted
    removing
fi
[ "$failed" = 0 ] || die "something is wrong with $(basename "$deb")"
say "all well, after $SECONDS s"
