#!/usr/bin/env bash
# Runs every fuzz target of the tree for a while, one after the other: tools/fuzz.sh [DURATION], default 10s.
# A crasher is kept by Go under the package's testdata/fuzz and from then on is part of go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

duration=${1:-10s}
found=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# once TARGET PACKAGE: one run of one target.
once() { go test -run '^$' -fuzz "^$1\$" -fuzztime "$duration" -fuzzminimizetime 20x "$2" 2>&1 | tee "$log"; }

# late: the run ended because its time was over while it looked at an input. Go says so and fails, now and then, without an input that does.
late() { grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"; }

while IFS=: read -r file target; do
	package=./$(dirname "$file")
	echo "--- $target in $package"
	once "$target" "$package" || { late && once "$target" "$package"; }
	found=$((found + 1))
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | sort |
	xargs -r grep -oE '^func Fuzz[A-Za-z0-9_]*' | sed 's/:func /:/')

[ "$found" -gt 0 ] || {
	echo "tools/fuzz.sh: no fuzz targets found" >&2
	exit 1
}
echo "$found targets, $duration each"
