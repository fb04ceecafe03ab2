#!/usr/bin/env bash
# fuzz.sh DURATION runs every fuzz target of the module for that long, one after the other. Interesting inputs are not made
# smaller first (by default up to a minute for each), so that the time is spent on new ones.
set -euo pipefail
cd "$(dirname "$0")/../.."
duration=${1:-30s}
failed=0
while read -r pkg target; do
	echo "== $pkg $target"
	go test "$pkg" -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -fuzzminimizetime 1x || failed=1
done < <(grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | sed "s#^#$(dirname "$file") #"
done | sort)
exit $failed
