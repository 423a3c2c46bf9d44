#!/usr/bin/env bash
# Sets the machine up, configures and builds: tools/build.sh PRESET [TARGET...]
# What it says goes to stderr. ccache keeps its files inside build/, so that nothing is left outside the tree.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
preset=$1
shift
tools/setup.sh "$preset"

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
build=(cmake --build "$folder" --parallel "$(nproc)" "${targets[@]}")
if [ -t 2 ]; then # a line that counts up
  exec "${build[@]}" >&2
fi

# A line for every tenth of a build of some length; the whole of it in build.log.
tell_tenths() {
  local line next=10 step='^\[([0-9]+)/([0-9]+)\] '
  while IFS= read -r line; do
    printf '%s\n' "$line"
    [[ $line =~ $step ]] && [ "${BASH_REMATCH[2]}" -ge 20 ] || continue
    local percent=$((100 * BASH_REMATCH[1] / BASH_REMATCH[2]))
    [ "$percent" -ge "$next" ] || continue
    echo "build: $percent% (${BASH_REMATCH[1]} of ${BASH_REMATCH[2]} steps)" >&2
    next=$((percent / 10 * 10 + 10))
  done
}
set -o pipefail
if ! "${build[@]}" 2>&1 | tell_tenths >"$folder/build.log"; then
  grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking|Generating)' "$folder/build.log" >&2
  exit 1
fi
