#!/usr/bin/env bash
# Breaks a law of the engine on purpose, one at a time, and shows that the simulator finds each. Takes some minutes; CI doesn't run it.
#
#   tests/mutants.sh [SEEDS]     seeds to live through with each mutant; 1000 by default
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
seeds=${1:-1000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$root" archive HEAD | tar -x -C "$work"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target/mutants}"
missed=0

# simulate: the first line that tells of a broken law; fails where none is broken.
simulate() {
    local log="$work/log"
    (cd "$work" && cargo build --quiet --locked --release -p spindle-tests --bin simulate) || exit 1
    if "$CARGO_TARGET_DIR/release/simulate" --seeds "$seeds" >"$log" 2>&1; then
        return 1
    fi
    { grep -m 1 '^seed ' "$log" || tail -n 1 "$log"; } | cut -c1-140
}

# mutant NAME FILE PERL: the change must change something.
mutant() {
    local name=$1 file=$2 change=$3 found
    cp "$work/$file" "$work/kept"
    perl -0pi -e "$change" "$work/$file"
    if cmp -s "$work/$file" "$work/kept"; then
        printf 'error: %s: nothing to change in %s; the mutant is out of date\n' "$name" "$file" >&2
        exit 1
    fi
    if found=$(simulate); then
        printf 'found   %s\n        %s\n' "$name" "$found"
    else
        printf 'MISSED  %s\n' "$name"
        missed=1
    fi
    cp "$work/kept" "$work/$file"
}

if found=$(simulate); then
    printf 'error: without any mutant: %s\n' "$found" >&2
    exit 1
fi
printf 'well    %s seeds without a mutant\n' "$seeds"
dispatch=daemon/core/src/scheduler/dispatch.rs
mutant 'fencing: a run of an earlier boot passes' $dispatch \
    's/let ended = self\.runs\.remove\(&run\)\?;/let run = *self.runs.keys().find(|known| known.counter == run.counter)?;\n        let ended = self.runs.remove(&run)?;/'
mutant 'fencing: any report is of some run' $dispatch \
    's/let ended = self\.runs\.remove\(&run\)\?;/let run = if self.runs.contains_key(&run) { run } else { *self.runs.keys().min()? };\n        let ended = self.runs.remove(&run)?;/'
# shellcheck disable=SC2016  # perl's own variables
mutant 'told and done before it is durable' daemon/core/src/turn.rs \
    's/(        if !changes\.is_empty\(\) \{\n            shell\.commit\(changes\)\?;\n        \}\n)(.*?\n        \}\n)(    \})/$2$1$3/s'
mutant 'a slot that is never given back' $dispatch \
    's/            \*used -= ended\.slots;/            let _ = used;/'
mutant 'a slot that is given back at the wish to stop' daemon/core/src/scheduler/endings.rs \
    's/            self\.effects\.push\(Effect::Stop\(run\)\);/            self.effects.push(Effect::Stop(run));\n            self.release(run);/'
mutant 'what is out of order fails jobs' daemon/core/src/breaker.rs \
    's/if \*count < FAILURES_MAX/if *count < 50/'
mutant 'a full disk is filled' daemon/core/src/scheduler/parking.rs \
    's/None if free < reserve => \{/None if free == 7 => {/'
mutant 'memory that is not there' $dispatch \
    's/self\.memory_used \+ memory <= self\.config\.memory_mib/memory > 0/'
mutant 'more hours than an owner may have' daemon/core/src/scheduler/fair_use.rs \
    's/\*seconds >= f64::from\(hours\)/*seconds >= 1e12 * f64::from(hours)/'
api=daemon/core/src/api.rs
mutant 'a minute of fifty seconds' $api \
    's/const MINUTE_MS: u64 = 60_000;/const MINUTE_MS: u64 = 49_000;/'
mutant 'one call too many at once' $api \
    's/if self\.under_way >= self\.at_once\(\)/if self.under_way > self.at_once()/'
mutant 'a permit that is never given back' $api \
    's/        self\.under_way = self\.under_way\.saturating_sub\(1\);\n//'
mutant 'a second call that nobody kept room for' $api \
    's/        self\.held \+= more;/        self.held += 0;/'
mutant 'calls of the day that no disk knows of' daemon/core/src/scheduler/apis.rs \
    's/self\.changes\.push\(Change::ApiUsed\(name\.to_owned\(\), key as u32, api\.used\(\)\)\);/let _ = Change::ApiUsed(name.to_owned(), key as u32, api.used());/'
mutant 'a card that gets back what it has failed' $dispatch \
    's/let fell_back = goes_on && job\.fallback\.is_some\(\);/let fell_back = false;/'
mutant "a card's memory that is not there" daemon/core/src/gpus.rs \
    's/card\.used_mib \+ stage\.memory_mib\(\) <= card\.memory_mib\(\)/stage.memory_mib() > 0/'
exit "$missed"
