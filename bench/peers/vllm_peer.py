"""vLLM's CPU build as a peer (protocol.py): bf16, f32, or int8 weights with int8 activations (W8A8, by channel and token).
Its own clock for each request is what is told: from the step's schedule to the first token, and from there to the last."""

import protocol  # before anything that loads OpenMP

import json
import os

INT8 = {"quant_method": "compressed-tensors", "format": "int-quantized", "ignore": ["lm_head"], "config_groups": {"all": {
    "targets": ["Linear"],
    "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
    "input_activations": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}}}}
MOST_TEXTS = 32


def model_folder(request, kind):
    """A config.json suffices: weights are made up as the model is loaded."""
    def make(path):
        os.makedirs(path)
        config = dict(request["config"])
        if kind == "int8":
            config["quantization_config"] = INT8
        with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
    return protocol.cached(request, "vllm-" + kind, make)


def bits(config, kind):
    """A weight: the embedding and the head stay in bf16 beside int8."""
    if kind != "int8":
        return 32 if kind == "f32" else 16
    hidden = config.get("hidden_size") or config["n_embd"]
    tables = config["vocab_size"] * hidden * (1 if config.get("tie_word_embeddings", config["model_type"] == "gpt2") else 2)
    return 8 + 8 * tables / protocol.weight_count(config)


class Peer:
    def __init__(self):
        self.engine = None

    def load(self, request):
        kind = request["weights"]
        if kind not in ("f32", "bf16", "int8"):
            raise protocol.Refusal("weights: expected f32, bf16 or int8, found " + kind)
        if self.engine is not None:
            protocol.restart(request)  # an engine does not go before its process does
        cpus = protocol.CPUS[:request["threads"]]
        os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_OMP_THREADS_BIND=",".join(map(str, cpus)),
                          VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR",
                          VLLM_CACHE_ROOT=os.path.join(os.path.abspath(request["cache"]), "vllm"))
        for name in ("OMP_PLACES", "OMP_PROC_BIND"):  # it binds threads by itself
            os.environ.pop(name, None)
        import vllm
        self.vllm = vllm
        self.vocab = request["config"]["vocab_size"]
        self.engine = vllm.LLM(model_folder(request, kind), skip_tokenizer_init=True, load_format="dummy",
                               dtype="float32" if kind == "f32" else "bfloat16", max_model_len=request["context"] + 1,
                               max_num_seqs=MOST_TEXTS, max_num_batched_tokens=max(8192, request["context"] + 1),
                               enable_prefix_caching=False, disable_log_stats=False)
        plain = "f32" if kind == "f32" else "bf16"
        return {"version": "vLLM CPU " + vllm.__version__, "weights": kind, "activations": "int8" if kind == "int8" else plain,
                "kv_cache": plain, "bits": bits(request["config"], kind), "settings": "threads bound to CPUs, compiled by torch.compile as it comes"}

    def generate(self, prompt, new, batch):
        ids = {"prompt_token_ids": [i % self.vocab for i in range(prompt)]}
        options = self.vllm.SamplingParams(max_tokens=new, min_tokens=new, ignore_eos=True, temperature=0, detokenize=False)
        return [result.metrics for result in self.engine.generate([ids] * batch, options, use_tqdm=False)]

    def prefill(self, request):
        if request["depth"] > 0:
            raise protocol.Refusal("prefill behind cached positions: not offered by its interface")
        clock, = self.generate(request["tokens"], 1, 1)
        return {"seconds": clock.first_token_ts - clock.scheduled_ts}

    def decode(self, request):
        if request["batch"] > MOST_TEXTS:
            raise protocol.Refusal("expected %d texts at most, found %d" % (MOST_TEXTS, request["batch"]))
        clocks = self.generate(max(request["depth"], 1), request["tokens"] + 1, request["batch"])
        return {"seconds": max(clock.last_token_ts for clock in clocks) - max(clock.first_token_ts for clock in clocks)}


if __name__ == "__main__":
    protocol.serve(Peer())
