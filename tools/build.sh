#!/usr/bin/env bash
# Sets the machine up, configures and builds: tools/build.sh PRESET [TARGET...]
# What it says goes to stderr. ccache keeps its files inside build/, so that nothing is left outside the tree.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
preset=$1
shift
tools/setup.sh

export CCACHE_DIR="${CCACHE_DIR:-$root/build/ccache}"
folder=build
[ "$preset" = release ] || folder=build-$preset
mkdir -p "$folder"
if ! cmake --preset "$preset" >"$folder/configure.log" 2>&1; then
  cat "$folder/configure.log" >&2
  exit 1
fi
targets=()
[ $# -eq 0 ] || targets=(--target "$@")
if [ -t 2 ]; then # a line that counts up
  cmake --build "$folder" --parallel "$(nproc)" "${targets[@]}" >&2
elif ! cmake --build "$folder" --parallel "$(nproc)" "${targets[@]}" >"$folder/build.log" 2>&1; then
  grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking|Generating)' "$folder/build.log" >&2
  exit 1
fi
