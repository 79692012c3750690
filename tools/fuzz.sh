#!/usr/bin/env bash
# Runs every fuzz target of the tree for a while, one after the other: tools/fuzz.sh [DURATION], default 10s.
# A crasher is kept by Go under the package's testdata/fuzz and from then on is part of go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

duration=${1:-10s}
found=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz TARGET PACKAGE: one target. When its time is over while it looks at an input, Go itself says "context deadline exceeded" and fails, now and then and without an input that does: then it goes once more.
fuzz() {
	local again
	for again in yes no; do
		go test -run '^$' -fuzz "^$1\$" -fuzztime "$duration" -fuzzminimizetime 20x "$2" 2>&1 | tee "$log" && return 0
		grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log" || return 1
		echo "--- $1: the time was over; once more: $again"
	done
	return 1
}

while IFS=: read -r file target; do
	package=./$(dirname "$file")
	echo "--- $target in $package"
	fuzz "$target" "$package"
	found=$((found + 1))
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | sort |
	xargs -r grep -oE '^func Fuzz[A-Za-z0-9_]*' | sed 's/:func /:/')

[ "$found" -gt 0 ] || {
	echo "tools/fuzz.sh: no fuzz targets found" >&2
	exit 1
}
echo "$found targets, $duration each"
