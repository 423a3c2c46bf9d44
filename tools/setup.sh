#!/usr/bin/env bash
# Installs through apt the Debian packages that the build and the tests need, and nothing else. A machine that has them
# all is left alone and needs no network. Run by ./demo and ./test; run by hand it does the same. With the name of a
# preset it installs what that one needs besides.
set -eu

packages=(
  g++ cmake ninja-build ccache pkg-config python3 # the build
  clang-format gdb qemu-user g++-aarch64-linux-gnu # the tests
  llvm-19-dev libabsl-dev nlohmann-json3-dev libcli11-dev libxxhash-dev
  libutf8proc-dev libpcre2-dev libdnnl-dev zlib1g-dev libpng-dev libjpeg62-turbo-dev libcurl4-openssl-dev libssl-dev libedit-dev libncurses-dev
  libgtest-dev libgmock-dev libbenchmark-dev
)

# `portable` links OpenBLAS in place of oneDNN, which has no archive.
[ "${1:-}" != portable ] || packages+=(libopenblas-pthread-dev)

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

fail() {
  echo "setup: $1; the packages that are missing: ${missing[*]}" >&2
  exit 1
}

command -v apt-get >/dev/null || fail "apt-get was not found (Debian 12 is expected)"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "root or sudo is needed to install packages"
  as_root=(sudo)
fi

echo "setup: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$log" 2>&1 </dev/null; }
# The last error of apt tells why; the rest of its output would bury it.
reason() {
  local line
  line=$(grep -E '^E:' "$log" | tail -n 1)
  echo "${line:-$(tail -n 1 "$log")}"
}
apt -qq update || fail "apt-get update failed ($(reason))"
apt -qq install -y --no-install-recommends "${missing[@]}" || fail "apt-get install failed ($(reason))"
