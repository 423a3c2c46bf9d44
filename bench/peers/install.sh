#!/usr/bin/env bash
# Installs from PyPI what `ninfer-bench --peer=torch` and `--peer=transformers` need: bench/peers/install.sh [BUILD FOLDER]
# Everything lands in BUILD FOLDER/peers/torch (build/ by default), several gigabytes of it CUDA libraries that PyPI's
# package wants even where there is no GPU. Remove that folder to be rid of it.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${1:-$root/build}
mkdir -p "$build/peers"
venv=$(cd "$build/peers" && pwd)/torch
if "$venv/bin/python3" -c 'import torch, transformers' 2>/dev/null; then
  exit 0
fi
# Debian's python3 makes virtual environments only where python3-venv is installed.
if ! python3 -m venv "$venv"; then
  echo "install.sh: expected python3 with its module venv (Debian: apt-get install python3-venv)" >&2
  exit 1
fi
mkdir -p "$venv/cache"
PIP_CACHE_DIR="$venv/cache" "$venv/bin/pip" install --quiet torch transformers numpy
rm -rf "$venv/cache"
"$venv/bin/python3" -c 'import torch; print("PyTorch", torch.__version__)'
