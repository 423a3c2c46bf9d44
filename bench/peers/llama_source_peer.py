"""llama.cpp or ik_llama.cpp as built from a folder of its source, as a peer (protocol.py): llama_source_peer.py BUILD.

Its own benchmark programs measure, one run for each request: model loaded and warmed, then one repetition. The quantiser is
its own too. Run-time repacking is on where the program has it (-rtr, of ik_llama.cpp), flash attention where it is faster.
"""

import protocol  # before anything else

import json
import os
import re
import subprocess
import sys

import gguf_model

TYPES = {"f32": "F32", "bf16": "BF16", "f16": "F16", "int8": "Q8_0", "int4": "Q4_0", "int4a": "Q4_K_M", "nu4": "Q4_K_M"}
FLASH = {"flash attention": "1", "attention without flash": "0"}


def program(name):
    return os.path.join(sys.argv[1], "bin", name)


def run(name, *arguments):
    """What a program prints; its last line of errors where it fails."""
    done = subprocess.run([program(name), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().split("\n")
        raise protocol.Refusal("%s failed: %s" % (name, lines[-1]))
    return done.stdout


class Peer:
    def __init__(self):
        help_text = subprocess.run([program("llama-bench"), "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, check=False).stdout
        self.has_depth = "--n-depth" in help_text
        self.has_repack = "--run-time-repack" in help_text

    def load(self, request):
        kind = TYPES.get(request["weights"])
        if kind is None:
            raise protocol.Refusal("weights: expected %s, found %s" % (", ".join(TYPES), request["weights"]))
        config = request["config"]
        protocol.check_family(config)
        plain = "f32" if kind == "F32" else "bf16"
        path = protocol.cached(request, plain + ".gguf", lambda path: gguf_model.write(path, config, plain))
        self.model = path
        if kind not in ("F32", "BF16"):
            home = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[1])))
            self.model = protocol.cached(request, "%s-%s.gguf" % (home, kind),
                                         lambda out: run("llama-quantize", path, out, kind))
        self.settings = protocol.Settings(list(FLASH))
        self.common = ["-m", self.model, "-t", str(request["threads"])] + (["-rtr", "1"] if self.has_repack else [])
        answer = self.bench("-p", "1", "-n", "0")
        return {"version": "commit %s" % answer.get("build_commit", "unknown"), "weights": kind,
                "activations": "q8" if kind.startswith("Q") else kind.lower(), "kv_cache": "f16",
                "bits": 8 * protocol.size_of(self.model) / answer["model_n_params"],
                "settings": "built from source for this CPU%s, threads pinned by OpenMP" % (
                    ", repacked at run time" if self.has_repack else "")}

    def bench(self, *arguments):
        found = json.loads(run("llama-bench", *self.common, "-r", "1", "-o", "json", *arguments))
        return found[-1]

    def measure(self, request, arguments):
        return self.settings.run(request, lambda setting:
                                 self.bench("-fa", FLASH[setting], *arguments)["avg_ns"] / 1e9)

    def prefill(self, request):
        tokens, depth = str(request["tokens"]), request["depth"]
        if depth == 0:
            return self.measure(request, ["-p", tokens, "-n", "0"])
        if not self.has_depth:
            raise protocol.Refusal("prefill behind cached positions: not offered by its benchmark")
        return self.measure(request, ["-p", tokens, "-n", "0", "-d", str(depth)])

    def decode(self, request):
        tokens, depth = str(request["tokens"]), str(request["depth"])
        if request["batch"] > 1:
            return self.settings.run(request, lambda setting: self.batched(request, FLASH[setting]))
        if depth == "0":
            return self.measure(request, ["-p", "0", "-n", tokens])
        if self.has_depth:
            return self.measure(request, ["-p", "0", "-n", tokens, "-d", depth])
        return self.measure(request, ["-p", "0", "-n", "0", "-gp", depth + "," + tokens])

    def batched(self, request, flash):
        """llama-batched-bench prints a table; its column T_TG is the seconds of generation."""
        depth, batch = max(request["depth"], 1), request["batch"]
        # The older form of the flag takes no value.
        form = ["-fa", "on" if flash == "1" else "off"] if self.has_depth else ["-fa"] * int(flash)
        printed = run("llama-batched-bench", *self.common, *form, "-c", str(batch * (depth + request["tokens"])),
                      "-npp", str(depth), "-ntg", str(request["tokens"]), "-npl", str(batch))
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in printed.split("\n") if "|" in line]
        head = next((row for row in rows if any("T_TG" in cell for cell in row)), None)
        values = [row for row in rows if row and re.match(r"^\d+$", row[0])]
        if head is None or not values:
            raise protocol.Refusal("llama-batched-bench: expected a table with T_TG, found none")
        column = next(i for i, cell in enumerate(head) if "T_TG" in cell)
        return float(values[-1][column])


if __name__ == "__main__":
    protocol.serve(Peer())
