#!/usr/bin/env bash
# Subtitles for recordings and videos, from a fresh checkout to the result:
#
#   packaging/run.sh [FILE…]
#
# Installs what is missing, builds, starts a daemon where none answers, submits the files and says where the subtitles are.
# Without FILE it speaks a sample of its own and shows what was heard. With SPINDLE_DEMO=1, and only then, files of yours are
# given to the demonstration model where no other can be had; it knows ten words, zero to nine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=packaging/install.sh
. "$root/packaging/install.sh"

PROGRAMS=(-p spindled -p spindle-worker -p spindlectl -p spindletop)

main() {
    case "${1:-}" in
        -h | --help)
            sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
            return 0
            ;;
    esac
    local files=() file
    for file in "$@"; do
        [ -f "$file" ] || die "no such file: $file" "" 2
        files+=("$(realpath -- "$file")")
    done

    install_packages "${BUILD_PACKAGES[@]}"
    [ ${#files[@]} -gt 0 ] || install_packages espeak-ng
    install_rust
    settle_folders
    build
    start_daemon
    if [ ${#files[@]} -gt 0 ]; then
        choose_model yours
        submit "${files[@]}"
        tell_results "${files[@]}"
    else
        sample="$samples/digits.wav"
        choose_model sample
        make_sample
        submit "$sample"
        compare_sample
    fi
}

settle_folders() {
    local name state_home="$HOME/.local/state"
    # The daemon is started in no particular folder.
    for name in SPINDLE_SOCKET SPINDLE_STATE_DIR SPINDLE_MODEL_DIR SPINDLE_CONFIG; do
        [ -z "${!name:-}" ] || export "$name=$(realpath -m -- "${!name}")"
    done
    # As the programs do: one that is not absolute doesn't count.
    [[ "${XDG_STATE_HOME:-}" != /* ]] || state_home=$XDG_STATE_HOME
    # Cargo takes a relative folder from where it is started.
    cd "$root"
    bin="$(realpath -m -- "${CARGO_TARGET_DIR:-target}")/release"
    ctl="$bin/spindlectl"
    # Beside the state folder, not in it: a folder that holds anything already gets no new queue.
    log="${SPINDLE_STATE_DIR:-$state_home/spindle}.log"
    samples="$HOME/spindle-sample"
}

build() {
    if [ -x "$ctl" ]; then
        say "building what has changed"
    else
        say "building; the first time takes some minutes, later ones seconds"
    fi
    local talk=(--quiet)
    [ ! -t 2 ] || talk=()
    cargo build --release --locked "${PROGRAMS[@]}" "${talk[@]}" || die "the build failed"
}

# Exit codes of `health`: 0 well, 1 something is amiss, 5 nobody answers.
health() {
    local code=0
    "$ctl" -q health >/dev/null 2>&1 || code=$?
    return "$code"
}

start_daemon() {
    local code=0
    health || code=$?
    case $code in
        0) say "a daemon is running" && return 0 ;;
        5) ;;
        *)
            say "a daemon is running and not well:"
            "$ctl" health >&2 || true
            return 0
            ;;
    esac
    mkdir -p "$(dirname "$log")"
    say "starting the daemon; its log is $log"
    in_background "$bin/spindled" &
    local daemon=$! deadline=$((SECONDS + 30))
    # A daemon that answers is there, whatever it says of itself.
    until code=0 && { health || code=$?; } && [ "$code" != 5 ]; do
        if ! kill -0 "$daemon" 2>/dev/null; then
            tail -n 5 "$log" >&2
            die "the daemon ended at its start" "the whole log: $log"
        fi
        if [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 5 "$log" >&2
            die "the daemon does not answer after 30 s" "the whole log: $log"
        fi
        sleep 0.05
    done
    [ "$code" = 0 ] || "$ctl" health >&2 || true
}

# in_background PROGRAM: becomes it, with no terminal, no folder and no file of the caller's.
in_background() {
    local file
    for file in /proc/"$BASHPID"/fd/*; do
        file=${file##*/}
        [ "$file" -le 2 ] || eval "exec $file>&-"
    done
    cd /
    umask 077
    exec setsid "$1" >>"$log" 2>&1 </dev/null
}

# choose_model yours|sample: sets `model`, a name or a path.
choose_model() {
    local demonstration="$root/packaging/demo/ggml-mini-tts.en.bin"
    model=base
    ! is_installed base || return 0
    # The sample that was heard once needs no network to be shown again.
    if [ "$1" = sample ] && [ -n "$(subtitles_of "$sample")" ]; then
        model=$demonstration
    elif pull_base; then
        return 0
    elif [ "$1" = sample ] || [ "${SPINDLE_DEMO:-}" = 1 ]; then
        say "taking the demonstration model: it knows the words zero to nine, and nothing else"
        model=$demonstration
    else
        die "there is no model, and none can be fetched now" \
            "with a network: \`$ctl models pull base\`; with the file at hand: \`$ctl submit subtitles --model FILE …\`; \
or SPINDLE_DEMO=1 for the demonstration model, which knows the words zero to nine and nothing else" 9
    fi
}

is_installed() {
    # -c reads to the end: the lister is never cut off.
    "$ctl" models list --installed | grep -c "^$1 " >/dev/null
}

# The 141 MiB are begun only where the publisher, or the mirror, answers within ten seconds.
pull_base() {
    local base="${SPINDLE_MODELS__MIRROR:-https://huggingface.co/ggerganov/whisper.cpp/resolve/main}"
    say "looking for the model base at ${base%%/resolve*}"
    if ! curl -fsSIL --max-time 10 -o /dev/null "${base%/}/ggml-base.bin" 2>/dev/null; then
        say "it is out of reach"
        return 1
    fi
    say "fetching the model base (141 MiB)"
    "$ctl" models pull base >&2 || return 1
    # Tells speech from silence; without it everything works, a little less exactly.
    "$ctl" models pull silero-v6.2.0 >&2 || true
    is_installed base
}

# Digits, in phrases: what either model can hear.
PHRASES=("seven five two" "four six" "nine one eight three")

make_sample() {
    [ ! -s "$sample" ] || return 0
    say "speaking a sample: $sample"
    mkdir -p "$samples"
    local speech="<speak>" phrase
    for phrase in "${PHRASES[@]}"; do
        speech+="$phrase<break time=\"900ms\"/>"
    done
    espeak-ng -v en-us -s 150 -m -w "$samples/.digits.part.wav" "$speech</speak>" || die "espeak-ng could not speak the sample"
    mv "$samples/.digits.part.wav" "$sample"
}

# submit FILE…: waits to the end; what is done already stays.
submit() {
    say "transcribing with the model $(basename "$model")"
    local batch
    code=0
    batch=$("$ctl" submit subtitles --model "$model" --skip-existing --wait "$@") || code=$?
    [ "$code" = 0 ] || [ -z "$batch" ] || "$ctl" jobs "$batch" --state failed >&2
    case $code in
        0 | 3) ;;
        *) exit "$code" ;;
    esac
}

subtitles_of() {
    local stem="${1%.*}" subtitles
    for subtitles in "$stem".*srt "$stem".*vtt; do
        [ ! -s "$subtitles" ] || printf '%s\n' "$subtitles"
    done
}

tell_results() {
    local file
    say "the subtitles:"
    for file in "$@"; do
        subtitles_of "$file"
    done | sort -u
    exit "$code"
}

compare_sample() {
    local subtitles
    subtitles=$(subtitles_of "$sample" | head -n 1)
    [ -n "$subtitles" ] || die "there are no subtitles beside $sample" "\`$ctl list\` and \`$ctl explain ID\` say why"
    printf 'spoken:  %s\n' "$(printf '%s / ' "${PHRASES[@]}" | sed 's| / $||')"
    # Of an SRT the text lines: no numbers, no times.
    printf 'heard:   %s\n' "$(sed -E 's/\r$//; /^[0-9]+$/d; /-->/d; /^$/d' "$subtitles" | paste -sd '/' | sed 's|/| / |g')"
    printf '\n'
    cat "$subtitles"
    say "the subtitles: $(subtitles_of "$sample" | paste -sd ' ')"
    say "yours: packaging/run.sh FILE…    the dashboard: $bin/spindletop    all else: $ctl --help"
    exit "$code"
}

main "$@"
