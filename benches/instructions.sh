#!/usr/bin/env bash
# Instructions of one call in each scenario of benches/layers.rs, counted by valgrind: the same on a busy machine.
# Arguments go to cargo: `benches/instructions.sh --features bound-instruments`.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(cargo bench --bench instructions --no-run --message-format json "$@" 2>/dev/null |
    grep -o '"executable":"[^"]*instructions-[^"]*"' | tail -1 | cut -d'"' -f4)

# Instructions of the scenario when it runs so many times.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

bare=0
printf '%-24s %12s %12s\n' "instructions per call" "in all" "added"
"$binary" | while read -r name; do
    # What the start costs is in both, and so is what is made by the first calls.
    each=$((($(count "$name" 600) - $(count "$name" 100)) / 500))
    case "$name" in *bare) bare=$each ;; esac
    printf '%-24s %12d %12d\n' "$name" "$each" "$((each - bare))"
done
