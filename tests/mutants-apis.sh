#!/usr/bin/env bash
# Breaks one limit of model APIs at a time in the core, and shows that its tests find each. Takes some minutes; CI doesn't run it.
#
#   tests/mutants-apis.sh [WORD]     only mutants with this in their names
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
only=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$root" archive HEAD | tar -x -C "$work"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target/mutants}"
missed=0

# found: the names of the tests that fail; fails where none does.
found() {
    local log="$work/log"
    (cd "$work" && cargo test --quiet --locked -p spindle-core --lib --no-run 2>"$log") || { cat "$log" >&2; exit 1; }
    if (cd "$work" && cargo test --quiet --locked -p spindle-core --lib -- api scheduler::tests retry breaker) >"$log" 2>&1; then
        return 1
    fi
    { grep -E '^    [a-z_:]+$' "$log" || tail -n 1 "$log"; } | sort -u | sed -E 's/^ +//; s/.*:://' | head -n 3 | paste -sd ' '
}

# mutant NAME FILE PERL: the change must change something.
mutant() {
    local name=$1 file=$2 change=$3 by
    [[ $name == *"$only"* ]] || return 0
    cp "$work/$file" "$work/kept"
    perl -0pi -e "$change" "$work/$file"
    if cmp -s "$work/$file" "$work/kept"; then
        printf 'error: %s: nothing to change in %s; the mutant is out of date\n' "$name" "$file" >&2
        exit 1
    fi
    if by=$(found); then
        printf 'found   %s\n        %s\n' "$name" "$by"
    else
        printf 'MISSED  %s\n' "$name"
        missed=1
    fi
    cp "$work/kept" "$work/$file"
}

if by=$(found); then
    printf 'error: without any mutant: %s\n' "$by" >&2
    exit 1
fi
printf 'well    without a mutant\n'
api=daemon/core/src/api.rs
apis=daemon/core/src/scheduler/apis.rs
commands=daemon/core/src/scheduler/commands.rs
mutant 'bucket: a minute of fifty seconds' $api 's/const MINUTE_MS: u64 = 60_000;/const MINUTE_MS: u64 = 49_000;/'
mutant 'bucket: one call too many a minute' $api 's/let most = most as usize;/let most = most as usize + 1;/'
mutant 'bucket: tokens are not counted' $api 's/let words = self\.limits\.tokens_per_minute\.and_then/let words = self.limits.tokens_per_minute.filter(|_| false).and_then/'
mutant 'bucket: tokens stay as they were guessed' $api 's/            taken\.2 = tokens;/            let _ = (taken, tokens);/'
mutant 'bucket: the last minute is forgotten at a restart' $api 's/ago < MINUTE_MS \+ SLACK_MS\)/ago < 1_000)/'
mutant 'concurrency: one call too many at once' $api 's/if self\.under_way >= self\.at_once\(\)/if self.under_way > self.at_once()/'
mutant 'concurrency: a permit that is never given back' $api 's/        self\.under_way = self\.under_way\.saturating_sub\(1\);\n//'
mutant 'concurrency: more at once than configured' $api 's/self\.pace\.min\(1\.0\)\) as u32\)\.clamp\(1, self\.limits\.at_once\.max\(1\)\)/self.pace) as u32).max(1)/'
mutant 'concurrency: no floor to the pace' $api 's/const PACE_MIN: f64 = 0\.5;/const PACE_MIN: f64 = 0.05;/'
mutant 'concurrency: room for a second call that nobody holds' $api 's/        self\.held \+= more;/        self.held += 0;/'
mutant 'quota: one call too many a day' $api 's/saturating_add\(calls\.min\(most\)\) > most\) \{/saturating_add(calls.min(most)) > most + 1) {/'
mutant 'quota: a restart gives the day again' $api 's/            calls: used\.calls,/            calls: 0,/'
mutant 'quota: a clock that leaps back gives the day again' $api 's/if today > self\.day \{/if today != self.day {/'
mutant 'quota: midnight brings nothing' $api 's/if today > self\.day \{/if today > self.day + 1_000 {/'
mutant 'quota: second calls are not counted' $api 's/self\.calls = self\.calls\.saturating_add\(more\);/let _ = more;/'
mutant 'quota: calls of the day that no disk knows of' $apis 's/self\.changes\.push\(Change::ApiUsed\(name\.to_owned\(\), key as u32, api\.used\(\)\)\);/let _ = Change::ApiUsed(name.to_owned(), key as u32, api.used());/'
mutant 'quota: a spent key fails the job' $apis 's/if failure\.kind != FailureKind::Quota \|\| stopping/if failure.kind == FailureKind::Quota || stopping/'
mutant 'retry-after: it is not heard' $apis 's/            api\.be_silent\(wait_ms, now\);/            let _ = (api, wait_ms);/'
# shellcheck disable=SC2016  # what perl puts there
mutant 'retry-after: a shorter one takes the longer back' $api 's/self\.silent_until = self\.silent_until\.max\((.*?)\);/self.silent_until = $1;/'
mutant 'retry-after: resume does not try at once' $api 's/        self\.silent_until = MonoMs\(0\);\n    \}/        let _ = self.silent_until;\n    }/'
mutant 'retry-after: a 429 costs a try' daemon/core/src/retry.rs 's/FailureKind::RateLimited => /FailureKind::RateLimited if false => /'
mutant 'idempotency: the same key submits again' $commands 's/if let Some\(view\) = repeats \{/if let Some(view) = repeats.filter(|_| false) {/'
mutant 'cost: one run more than it may cost' $apis 's/batch\.cost \+ each \* \(asking \+ 1\) as f64 <= most/batch.cost + each * asking as f64 <= most/'
mutant 'cost: no limit before the first price is known' $apis 's/            None if asking > 0 => Err\(Hold::Wait\(None\)\),\n//'
mutant 'cost: what a failed run has asked is free' $apis 's/let known = Some\(asked\.usage\)\.filter\(\|usage\| usage\.calls > 0\);/let known: Option<Usage> = None;/'
mutant 'cost: answers are free' $apis 's/usage\.tokens_out as f64 \* price_out/0.0 * price_out/'
mutant 'keys: always the first' $apis 's/service\.next = \(key \+ 1\) % service\.usable;/service.next = 0;/'
mutant 'keys: others are not tried where one is used up' $apis 's/for key in \(0\.\.count\)\.map/for key in (0..count.min(1)).map/'
mutant 'keys: another is left alone than the one that was refused' $apis 's/\.and_then\(\|service\| service\.keys\.get_mut\(key\)\) \{\n            api\.be_silent/.and_then(|service| service.keys.get_mut((key + 1) % service.usable)) {\n            api.be_silent/'
mutant 'keys: a permit comes back to another key' $apis 's/service\.keys\.get_mut\(key\)\) \{\n            api\.give_back/service.keys.get_mut(0)) {\n            api.give_back/'
exit "$missed"
