#!/usr/bin/env bash
# Installs what the gRPC examples in Python and Node need, into folders of the cache where the tests look for it. What is there already stays.
set -euo pipefail

grpcio=1.85.1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portico

python=$cache/grpcio-$grpcio
if ! "$python/bin/python" -c 'import grpc, grpc_tools' 2>/dev/null; then
	rm -rf "$python"
	mkdir -p "$cache"
	python3 -m venv "$python"
	"$python/bin/pip" install -q --disable-pip-version-check "grpcio==$grpcio" "grpcio-tools==$grpcio"
fi

for what in "grpc-node $here/../../docs/examples/grpc/node" "connect-web $here/testdata/browser"; do
	read -r name from <<<"$what"
	node=$cache/$name
	if ! cmp -s "$from/package-lock.json" "$node/package-lock.json" || [ ! -d "$node/node_modules" ]; then
		rm -rf "$node"
		mkdir -p "$node"
		cp "$from/package.json" "$from/package-lock.json" "$node"
		npm ci --prefix "$node" --silent --no-audit --no-fund --ignore-scripts
	fi
done
