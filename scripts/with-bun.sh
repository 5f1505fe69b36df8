#!/bin/sh
# Sets up if need be, then runs the project's Bun with the given arguments.
set -eu
cd "$(dirname "$0")/.."
bun=$(sh scripts/setup.sh)
exec "$bun" "$@"
