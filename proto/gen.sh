#!/usr/bin/env bash
# Lints the .proto files, holds them against published.binpb, and generates the Go code beside them.
#
#   proto/gen.sh            generate in place
#   proto/gen.sh DIR        generate into DIR instead, with the same layout as this folder
#   proto/gen.sh --check    generate into a temporary folder and fail if what is committed differs
#   proto/gen.sh --publish  from now on what is there now may not be broken: write published.binpb anew
#
# Needs Go. The plug-ins are those of tools/go.mod; buf is that of tools/buf, built into bin/ by `make bin/buf`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
	echo "proto/gen.sh: $*" >&2
	exit 1
}

command -v go >/dev/null || fail "Go is not installed (needed to build protoc-gen-go and protoc-gen-go-grpc); see https://go.dev/dl"
[ -x "$here/../bin/buf" ] || fail "bin/buf is not there: make bin/buf"
[ $# -le 1 ] || fail "at most one argument: --check, --publish, or the folder to generate into"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

out=$here
if [ "${1:-}" = --check ]; then
	out=$scratch/out
elif [ $# -eq 1 ] && [ "$1" != --publish ]; then
	out=$1
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

go build -C "$here/../tools" -o "$scratch/bin/" \
	google.golang.org/protobuf/cmd/protoc-gen-go \
	google.golang.org/grpc/cmd/protoc-gen-go-grpc || fail "the plug-ins of tools/go.mod do not build"

buf() {
	(cd "$here" && PATH="$scratch/bin:$PATH" ../bin/buf "$@")
}
buf lint
buf breaking --against published.binpb
buf generate --output "$out"
[ "${1:-}" != --publish ] || buf build --exclude-source-info --output published.binpb

[ "${1:-}" = --check ] || exit 0
stale=0
while IFS= read -r -d '' file; do
	diff -u "$here/$file" "$out/$file" || stale=1
done < <(cd "$out" && find . -name '*.pb.go' -print0)
while IFS= read -r -d '' file; do
	[ -e "$out/$file" ] || { echo "proto/$file is no longer generated" >&2; stale=1; }
done < <(cd "$here" && find . -name '*.pb.go' -print0)
[ "$stale" = 0 ] || fail "the generated code is not that of the .proto files: run proto/gen.sh"
