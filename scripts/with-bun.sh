#!/bin/sh
# Sets up if need be, then runs the project's Bun with the given arguments. --adapter before them: with a WebGPU adapter.
set -eu
cd "$(dirname "$0")/.."
adapter=""
if [ "${1:-}" = --adapter ]; then adapter=--adapter; shift; fi
bun=$(sh scripts/setup.sh $adapter)
exec "$bun" "$@"
