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
# Behind the unit's walls; the service's folders are all that it may write to.
made() {
    what=$1
    shift
    if spindlectl --system submit "$@" -o /var/lib/spindle/check --wait >/dev/null 2>&1; then
        well "$what"
    else
        wrong "$what"
        spindlectl --system failures
    fi
}
made "a recording becomes subtitles" subtitles --model /srv/model.bin /srv/digits.wav
made "a film is made smaller" compress /srv/film.mp4
made "a film becomes a preview and a sheet" preview /srv/film.mp4
made "a picture is resized and converted" images --op resize=64x64 --op convert=webp /srv/picture.png
ls /var/lib/spindle/check

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
install -m 644 "$there/home/ann/digits.wav" "$there/srv/digits.wav"
ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440 -t 2 -c:v libx264 -preset ultrafast \
    -qp 10 -c:a aac "$there/srv/film.mp4"
ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=size=320x180 -frames:v 1 "$there/srv/picture.png"
chmod 644 "$there"/srv/*
rm -f "$there/var/spindle-check" "$there/usr/sbin/policy-rc.d"

log=$there/var/spindle-boot.log
timeout 600 systemd-nspawn --quiet --register=no --keep-unit --console=pipe --machine=spindle-check --directory="$there" --boot \
    systemd.unit=spindle-check.service </dev/null >"$log" 2>&1 || true
rm -rf "$there/etc/systemd/system/spindle-check.service" "$there/etc/systemd/system/spindled.service.d" "$there/usr/local/sbin/spindle-check"
if [ ! -s "$there/var/spindle-check" ]; then
    tail -n 20 "$log"
    die "no systemd could be booted"
fi
cat "$there/var/spindle-check"
[ "$(tail -n 1 "$there/var/spindle-check")" = end ] && ! grep -q '^wrong' "$there/var/spindle-check"
