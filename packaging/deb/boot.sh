#!/usr/bin/env bash
# Boots a folder that holds a Debian with the package installed, and has its own systemd run the service; packaging/deb/test.sh calls it.
#
#   packaging/deb/boot.sh FOLDER
#
# Needs root, and a kernel that lets systemd-nspawn have control groups of its own.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=packaging/install.sh
. "$root/packaging/install.sh"
there=$(realpath -- "${1:?a folder with a system}")
install_packages systemd-container ffmpeg

# What is checked, from the inside: each line of its output is `well …`, `wrong …`, or a figure.
cat >"$there/usr/local/sbin/spindle-check" <<'END'
#!/bin/sh
exec >/var/spindle-check 2>&1
well() { echo "well: $*"; }
wrong() { echo "wrong: $*"; systemctl status --no-pager spindled; journalctl --no-pager -u spindled -n 20; }
property() { systemctl show --value -p "$1" spindled; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

begun=$(milliseconds)
if systemctl start spindled; then well "it is ready after $(($(milliseconds) - begun)) ms"; else wrong "it does not become ready"; fi
test "$(property SubState)" = running && well "it runs as $(stat -c %U "/proc/$(property MainPID)"): $(property StatusText)" || wrong "it does not run"
spindlectl --system health >/dev/null && well "it answers" || wrong "it does not answer"
test "$(stat -c %U:%G:%a /run/spindle/spindled.sock)" = spindle:spindle:660 && well "its socket is its group's" || wrong "its socket is another's"
# Models are installed by administrators, and taken by name.
if install -D -o spindle -g spindle -m 644 /srv/model.bin /var/lib/spindle/models/ggml-digits.bin; then well "a model is installed"; else wrong "a model can't be installed"; fi
# As an ordinary user in the service's group, with a home that the service doesn't see: inputs go over the socket, and outputs come back.
ann() { setpriv --reuid ann --regid ann --init-groups env HOME=/home/ann sh -ec "cd; $*"; }
code=0
ann spindlectl --system list >/dev/null 2>&1 || code=$?
test $code = 5 && well "who isn't in the group stays outside" || wrong "who isn't in the group gets in: $code"
usermod -aG spindle ann
made() {
    what=$1 output=$2
    shift 2
    if ann "spindlectl --system submit $* -o ~/served --wait" >/var/spindle-made 2>&1 && test "$(stat -c %U /home/ann/served/$output | sort -u)" = ann; then
        well "$what"
    else
        wrong "$what"
        cat /var/spindle-made
        ann spindlectl --system failures
    fi
}
made "a recording becomes subtitles" "digits*.srt" subtitles --model digits digits.wav
made "a film is made smaller" "film*.mp4" compress film.mp4
made "a film becomes a preview and a sheet" "film*" preview film.mp4
made "a picture is resized and converted" "picture*.webp" images --op resize=64x64 --op convert=webp picture.png
ls /home/ann/served

first=$(property MainPID)
kill -STOP "$first"
waited=0
while [ "$(property NRestarts)" = 0 ] && [ $waited -lt 120 ]; do sleep 1; waited=$((waited + 1)); done
until [ "$(property SubState)" = running ] || [ $waited -ge 180 ]; do sleep 1; waited=$((waited + 1)); done
if [ "$(property SubState)" = running ] && [ "$(property MainPID)" != "$first" ]; then
    well "hung, it is started anew by the watchdog"
else
    wrong "hung, it is left as it is"
fi
spindlectl --system list | grep -q subtitles && well "the queue is as it was" || wrong "the queue is gone"
said=$(ann spindlectl --system remove --purge --all 2>&1)
left=$(find /var/lib/spindle/spool -type f)
test -z "$left" && well "removed, nothing of it is left" || wrong "something is left: $said; $left"

begun=$(milliseconds)
systemctl stop spindled
test "$(property Result)" = success && well "it stops, in $(($(milliseconds) - begun)) ms" || wrong "it does not stop well: $(property Result)"
cat /proc/[0-9]*/comm 2>/dev/null | grep '^spindle' | grep -qv '^spindle-check' && wrong "processes are left" || well "no process is left"
echo end
systemctl poweroff --force
END
chmod 755 "$there/usr/local/sbin/spindle-check"
cat >"$there/etc/systemd/system/spindle-check.service" <<'END'
[Unit]
Description=What packaging/deb/boot.sh wants to know
After=basic.target
Requires=basic.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/spindle-check
TimeoutStartSec=600
END
mkdir -p "$there/etc/systemd/system/spindled.service.d"
# As in the unit, but sooner.
printf '[Service]\nWatchdogSec=20\n' >"$there/etc/systemd/system/spindled.service.d/check.conf"
install -m 644 "$root/packaging/demo/ggml-mini-tts.en.bin" "$there/srv/model.bin"
ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440 -t 2 -c:v libx264 -preset ultrafast \
    -qp 10 -c:a aac "$there/home/ann/film.mp4"
ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=size=320x180 -frames:v 1 "$there/home/ann/picture.png"
chmod 644 "$there"/home/ann/film.mp4 "$there"/home/ann/picture.png
rm -f "$there/var/spindle-check" "$there/usr/sbin/policy-rc.d"

log=$there/var/spindle-boot.log
timeout 600 systemd-nspawn --quiet --register=no --keep-unit --console=pipe --machine=spindle-check --directory="$there" --boot \
    systemd.unit=spindle-check.service </dev/null >"$log" 2>&1 || true
rm -rf "$there/etc/systemd/system/spindle-check.service" "$there/etc/systemd/system/spindled.service.d" "$there/usr/local/sbin/spindle-check" \
    "$there/home/ann/served" "$there/home/ann/film.mp4" "$there/home/ann/picture.png" "$there/srv/model.bin" "$there/var/spindle-made"
if [ ! -s "$there/var/spindle-check" ]; then
    tail -n 20 "$log"
    die "no systemd could be booted"
fi
said=$(cat "$there/var/spindle-check")
rm -f "$there/var/spindle-check" "$log"
printf '%s\n' "$said"
# Once more at the end, where it is seen.
! printf '%s\n' "$said" | grep '^wrong' && [ "$(printf '%s\n' "$said" | tail -n 1)" = end ]
