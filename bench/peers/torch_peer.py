"""PyTorch at its best setting on this machine, as a peer (protocol.py): torch_peer.py torch_models, without a framework;
torch_peer.py transformers_models, through Hugging Face transformers. Beside what every peer answers:

  {"op": "generate", "compiled": false, "cache": true, "prompt": [1, 2], "new": 50}   ids, ttft
Answers carry first_compile: what the first compiled call took beyond a warm one.
"""

import protocol  # before anything that loads OpenMP

import importlib
import logging
import os
import sys
import time
import warnings

os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # huge pages for the weights, as ours have
# Compiled anew in every process, so that the time of the first compilation is what it is; files stay in this folder.
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inductor")
import torch  # noqa: E402  (reads the environment)

models = importlib.import_module(sys.argv[1])

torch._logging.set_logs(all=logging.ERROR)
warnings.filterwarnings("ignore")


class Peer:
    def load(self, request):
        torch.set_num_threads(request["threads"])
        torch.manual_seed(0)
        self.model = None
        torch.compiler.reset()
        weights = request["weights"]
        if weights not in ("f32", "bf16"):
            raise protocol.Refusal("weights: expected f32 or bf16, found " + weights)
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[weights]
        self.model = models.Model(request["config"], request["context"]).to(dtype).eval()
        self.vocab = request["config"]["vocab_size"]
        # Weights packed once for the matrix products of their shapes, as far as the compiler can.
        torch._inductor.config.freezing = True
        self.compiled = {}
        return {"version": "PyTorch %s%s" % (torch.__version__, getattr(models, "VERSION", "")), "compiled": True,
                "weights": weights, "activations": weights, "kv_cache": weights,
                "settings": "threads pinned by OpenMP; compiled: torch.compile with frozen weights, one step over a "
                            "static cache"}

    def function(self, name, compiled):
        """A step and what its first call costs: the step's own time is in the calls that follow."""
        step = getattr(self.model, name)
        if not compiled:
            return step, 0.0
        if name in self.compiled:
            return self.compiled[name], 0.0
        fast = torch.compile(step, dynamic=name == "whole")
        cache = None if name == "whole" else self.begin(True, 1)
        start = time.perf_counter()
        if name == "whole":  # two lengths, so that the second call finds the length symbolic
            for count in (5, 7):
                ids = torch.zeros(count, dtype=torch.long)
                torch._dynamo.mark_dynamic(ids, 0)
                fast(ids)
        else:
            for position in (1, 2):
                self.step(fast, True, 0, position, cache)
        self.compiled[name] = fast
        return fast, time.perf_counter() - start

    def begin(self, compiled, depth):
        """A cache with `depth` positions in it."""
        cache = self.model.begin(compiled)
        if depth > 0:
            self.model.whole(torch.arange(depth) % self.vocab, cache)
        return cache

    def step(self, fast, compiled, token, position, cache):
        """One cached step. The compiled one takes the position as a tensor, so that it is compiled once."""
        return fast(torch.tensor([token]), torch.tensor([position]) if compiled else position, cache)

    def generate(self, request):
        compiled, cached = request["compiled"], request["cache"]
        fast, first_compile = self.function("cached" if cached else "whole", compiled)
        ids, new = list(request["prompt"]), request["new"]
        start = time.perf_counter()
        cache = self.model.begin(compiled) if cached else None
        for i in range(new):
            if not cached:
                logits = fast(torch.tensor(ids))
            elif i == 0:
                logits = self.model.whole(torch.tensor(ids), cache)
            else:
                logits = self.step(fast, compiled, ids[-1], len(ids) - 1, cache)
            ids.append(int(logits[0].argmax()))
            if i == 0:
                ttft = time.perf_counter() - start
        return {"seconds": time.perf_counter() - start, "ttft": ttft, "ids": ids[-new:],
                "first_compile": first_compile}

    def prefill(self, request):
        if request["depth"] > 0:
            raise protocol.Refusal("prefill behind cached positions: not offered")
        fast, first_compile = self.function("whole", request["compiled"])
        ids = torch.arange(request["tokens"]) % self.vocab
        start = time.perf_counter()
        fast(ids)
        return {"seconds": time.perf_counter() - start, "first_compile": first_compile}

    def decode(self, request):
        compiled, depth = request["compiled"], request["depth"]
        if request["batch"] > 1:
            raise protocol.Refusal("several texts at a time: not offered")
        fast, first_compile = self.function("cached", compiled)
        cache = self.begin(compiled, depth)
        start = time.perf_counter()
        for i in range(request["tokens"]):
            self.step(fast, compiled, i % self.vocab, depth + i, cache)
        return {"seconds": time.perf_counter() - start, "first_compile": first_compile}


if __name__ == "__main__":
    with torch.inference_mode():
        protocol.serve(Peer())
