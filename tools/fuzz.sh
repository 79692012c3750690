#!/usr/bin/env bash
# Runs every fuzz target of the tree for a while, one after the other: tools/fuzz.sh [DURATION], default 10s.
# A crasher is kept by Go under the package's testdata/fuzz and from then on is part of go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

duration=${1:-10s}
found=0
while IFS=: read -r file target; do
	package=./$(dirname "$file")
	echo "--- $target in $package"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -fuzzminimizetime 20x "$package"
	found=$((found + 1))
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | sort |
	xargs -r grep -oE '^func Fuzz[A-Za-z0-9_]*' | sed 's/:func /:/')

[ "$found" -gt 0 ] || {
	echo "tools/fuzz.sh: no fuzz targets found" >&2
	exit 1
}
echo "$found targets, $duration each"
