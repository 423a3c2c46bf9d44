"""How ninfer-bench asks another engine for one measurement after another. Imported before anything that computes.

A peer reads one JSON object a line and answers each with one line. Whatever libraries print goes to stderr.
  {"op": "load", "config": {...}, "weights": "int4", "threads": 2, "context": 576, "cache": "build/peers/cache"}
      a model of a config.json's shape with random weights: f32, bf16, f16, int8 or int4. The answer tells what it became:
      version, weights, activations, kv_cache, settings (a sentence), bits (a weight, overall); and "compiled": true
      where the requests below may ask for a compiled form beside the eager one.
  {"op": "prefill", "compiled": false, "tokens": 512, "depth": 0}   a text of so many tokens behind `depth` cached
      positions, logits of its last row
  {"op": "decode", "compiled": false, "tokens": 64, "depth": 0, "batch": 1}   so many steps of `batch` texts
  {"op": "generate", "compiled": false, "cache": true, "prompt": [1, 2], "new": 50}   (torch_peer.py alone)
Answers carry "seconds", and "setting" where several were tried and one kept; or "error", one line. Between requests
ninfer-bench stops the process, so that nothing of it spins beside what is measured.
"""

import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, whatever it computes
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

REQUEST = "NINFER_PEER_REQUEST"
CPUS = sorted(os.sched_getaffinity(0))
# One thread on each CPU, as ours are. A process that has loaded OpenMP no longer looks here.
os.environ.setdefault("OMP_PLACES", ",".join("{%d}" % cpu for cpu in CPUS))
os.environ.setdefault("OMP_PROC_BIND", "true")
# Nothing is fetched while it measures.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


class Refusal(Exception):
    """Its text is the whole answer."""


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Settings:
    """The fastest of some settings for each kind of request, found when it is asked for the first time: ninfer-bench asks
    once for each without counting it."""

    def __init__(self, names):
        self.names, self.best = names, {}

    def run(self, request, measure):
        """measure(name) gives seconds; the answer to the request."""
        key = tuple(request.get(name) for name in ("op", "compiled", "tokens", "depth", "batch"))
        if key not in self.best:
            self.best[key] = self.fastest(measure)
        return {"seconds": measure(self.best[key]), "setting": self.best[key]}

    def fastest(self, measure):
        """By the better of two runs behind a first one. A setting that fails is none."""
        found, failure = {}, None
        for name in self.names:
            try:
                found[name] = min([measure(name) for _ in range(3)][1:])
            except Exception as error:  # told if no other one works
                failure = error
        if not found:
            raise failure
        return min(found, key=found.get)


def cached(request, name, make):
    """The path of `name`, made once for each shape in the cache's folder: make(path) writes it."""
    shape = hashlib.sha256(json.dumps(request["config"], sort_keys=True).encode()).hexdigest()[:12]
    folder = os.path.join(request["cache"], "%s-%s" % (request["config"]["model_type"], shape))
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        unfinished = "%s.%d.unfinished" % (path, os.getpid())
        try:
            make(unfinished)
            os.replace(unfinished, path)
        finally:
            remove(unfinished)
    return path


def remove(path):
    """A file, a folder or nothing."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def run_script(name, *arguments):
    """Another of these scripts in a process of its own, which must end well."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    done = subprocess.run([sys.executable, "-B", script, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise Refusal("%s failed: %s" % (name, done.stdout.strip().split("\n")[-1]))


def hf_folder(request, dtype):
    """A Hugging Face folder of the shape with random weights in f32 or bf16, from the cache."""
    def make(path):
        os.makedirs(path)
        with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
            json.dump(request["config"], file)
        run_script("hf_model.py", path, dtype)
    return cached(request, "hf-" + dtype, make)


def size_of(path):
    """Bytes of a file, or of all files of a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def weight_count(config):
    """Of the families whose random weights are made here, without norms and biases."""
    if config["model_type"] == "gpt2":
        hidden, layers = config["n_embd"], config["n_layer"]
        inner = config.get("n_inner") or 4 * hidden
        return config["vocab_size"] * hidden + layers * (4 * hidden * hidden + 2 * hidden * inner)
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    kv_heads = config.get("num_key_value_heads") or heads
    tables = 1 if config.get("tie_word_embeddings", False) else 2
    layer = 2 * hidden * head * (heads + kv_heads) + 3 * hidden * config["intermediate_size"]
    return tables * config["vocab_size"] * hidden + layers * layer


def check_family(config):
    if config["model_type"] not in ("gpt2", "llama", "qwen2"):
        raise Refusal("model_type: expected gpt2, llama or qwen2, found %s" % config["model_type"])


def restart(request):
    """Begins anew in the same process, with this request: for engines that cannot let go of a model."""
    os.environ[REQUEST] = json.dumps(request)
    os.dup2(answers.fileno(), 1)
    os.sched_setaffinity(0, CPUS)  # an engine may have pinned this thread
    os.execv(sys.executable, [sys.executable, "-B", *sys.argv])


def serve(peer):
    """Answers with the methods of `peer` that are named as the operations, until its input ends."""
    first = os.environ.pop(REQUEST, None)
    for line in itertools.chain([first] if first else [], iter(sys.stdin.readline, "")):
        request = json.loads(line)
        try:
            answer = getattr(peer, request["op"])(request)
        except Refusal as refusal:
            answer = {"error": str(refusal)}
        except Exception as error:  # told to the other side, in one line
            lines = [line.strip() for line in str(error).split("\n")]
            said = [line for line in lines if line and not line.startswith("Exception from ")]  # of OpenVINO: where
            answer = {"error": "%s: %s" % (type(error).__name__, said[0] if said else "")}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
