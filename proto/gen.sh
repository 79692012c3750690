#!/usr/bin/env bash
# Lints the .proto files and generates the Go code beside them.
#
#   proto/gen.sh          generate in place
#   proto/gen.sh DIR      generate into DIR instead, with the same layout as this folder
#   proto/gen.sh --check  generate into a temporary folder and fail if what is committed differs
#
# Needs Go and npm. The plug-ins are those of tools/go.mod; buf comes from npm, pinned below.
set -euo pipefail

buf_version=1.75.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
	echo "proto/gen.sh: $*" >&2
	exit 1
}

command -v go >/dev/null || fail "Go is not installed (needed to build protoc-gen-go and protoc-gen-go-grpc); see https://go.dev/dl"
command -v npx >/dev/null || fail "npm is not installed (needed for @bufbuild/buf $buf_version): apt-get install npm, or see https://nodejs.org"
[ $# -le 1 ] || fail "at most one argument: --check, or the folder to generate into"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

out=$here
if [ "${1:-}" = --check ]; then
	out=$scratch/out
elif [ $# -eq 1 ]; then
	out=$1
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

go build -C "$here/../tools" -o "$scratch/bin/" \
	google.golang.org/protobuf/cmd/protoc-gen-go \
	google.golang.org/grpc/cmd/protoc-gen-go-grpc || fail "the plug-ins of tools/go.mod do not build"

buf() {
	(cd "$here" && PATH="$scratch/bin:$PATH" npx --yes "@bufbuild/buf@$buf_version" "$@")
}
buf --version >/dev/null 2>"$scratch/npx.log" || {
	cat "$scratch/npx.log" >&2
	fail "buf $buf_version cannot be run through npx"
}
buf lint
buf generate --output "$out"

[ "${1:-}" = --check ] || exit 0
stale=0
while IFS= read -r -d '' file; do
	diff -u "$here/$file" "$out/$file" || stale=1
done < <(cd "$out" && find . -name '*.pb.go' -print0)
while IFS= read -r -d '' file; do
	[ -e "$out/$file" ] || { echo "proto/$file is no longer generated" >&2; stale=1; }
done < <(cd "$here" && find . -name '*.pb.go' -print0)
[ "$stale" = 0 ] || fail "the generated code is not that of the .proto files: run proto/gen.sh"
