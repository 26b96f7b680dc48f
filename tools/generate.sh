#!/usr/bin/env bash
# Generates gen/ from protos/: Python messages and stubs with their types. Leaves no diff when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
export PATH="$PWD/.venv/bin:$PATH"
rm -rf gen/prosa gen/buf
mkdir -p gen
protos=$(cd protos && find . -name '*.proto' | sed 's|^\./||' | LC_ALL=C sort)
# shellcheck disable=SC2086
"$PYTHON" -m grpc_tools.protoc -I protos -I third_party \
  --python_out=gen --grpc_python_out=gen --mypy_out=quiet:gen --mypy_grpc_out=quiet:gen \
  $protos buf/validate/validate.proto
# Packages of options and events only have no services: their empty stub files say nothing.
find gen -name '*_pb2_grpc.py*' | while read -r file; do
  grep -q 'class .*Stub' "$file" || rm "$file"
done
find gen/prosa gen/buf -type d -exec touch {}/__init__.py \;
# The comments of the contracts, which Python's descriptors lack: the gateway shows them in its OpenAPI document.
buf build --path protos/prosa --exclude-imports --as-file-descriptor-set -o gen/prosa/descriptors.binpb
