#!/usr/bin/env bash
# Says whether gen/ is what protos/ make of it; changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(command -v "${PYTHON:-python}")
export PYTHON
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cp -R protos third_party tools buf.yaml "$place/"
"$place/tools/generate.sh"
if ! diff -r --brief --exclude=__pycache__ gen "$place/gen"; then
  echo "gen/ is not what protos/ make of it. Run: make generate" >&2
  exit 1
fi
