"""OpenVINO GenAI as a peer (protocol.py). Of its two ways to keep a cache, a model with states and pages with continuous
batching, the faster one is taken for each test; and f32 in place of bf16 where that is faster, as where a CPU's products
of bf16 are slow. Its own record of each step's inference is what is told: choosing tokens
is not in it."""

import protocol  # before anything that starts threads

import os

import numpy
import openvino
import openvino_genai

STATES, PAGES, PAGES_F32 = "cache in states", "paged cache", "paged cache, arithmetic and cache in f32"


def model_folder(request, kind):
    source = protocol.hf_folder(request, "f32" if kind == "f32" else "bf16")
    return protocol.cached(request, "openvino-" + kind,
                           lambda path: protocol.run_script("openvino_convert.py", source, path, kind))


class Peer:
    def __init__(self):
        self.pipelines = {}

    def load(self, request):
        kind = request["weights"]
        if kind not in ("f32", "bf16", "int8", "int4"):
            raise protocol.Refusal("weights: expected f32, bf16, int8 or int4, found " + kind)
        self.folder = model_folder(request, kind)
        self.pipelines = {}
        self.settings = protocol.Settings([STATES, PAGES] if kind == "f32" else [STATES, PAGES, PAGES_F32])
        precision = "f32" if kind == "f32" else "bf16"
        self.properties = {"INFERENCE_NUM_THREADS": request["threads"], "ENABLE_CPU_PINNING": True,
                           "INFERENCE_PRECISION_HINT": precision, "KV_CACHE_PRECISION": precision,
                           "PERFORMANCE_HINT": "LATENCY"}
        self.vocab, self.length = request["config"]["vocab_size"], request["context"]
        group = openvino.Core().get_property("CPU", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
        quantised = kind.startswith("int") and group > 0
        return {"version": "OpenVINO GenAI " + openvino_genai.__version__, "weights": kind,
                "activations": "int8" if quantised else precision, "kv_cache": precision,
                "bits": 8 * os.path.getsize(os.path.join(self.folder, "openvino_model.bin"))
                        / protocol.weight_count(request["config"]),
                "settings": ("activations quantised by %d, " % group if quantised else "") + "threads pinned"}

    def pipeline(self, setting):
        if setting not in self.pipelines:
            properties = dict(self.properties)
            if setting == PAGES_F32:
                properties.update(INFERENCE_PRECISION_HINT="f32", KV_CACHE_PRECISION="f32")
            if setting == STATES:
                made = openvino_genai.LLMPipeline(self.folder, "CPU", ATTENTION_BACKEND="SDPA", **properties)
            else:
                room = openvino_genai.SchedulerConfig()
                room.enable_prefix_caching = False
                room.dynamic_split_fuse = False
                room.max_num_batched_tokens = 1 << 16
                made = openvino_genai.ContinuousBatchingPipeline(self.folder, room, "CPU", properties)
            self.pipelines[setting] = made
        return self.pipelines[setting]

    def steps(self, setting, prompt, new, batch):
        """Seconds of each step: the prompt's, and of one token for each text."""
        options = openvino_genai.GenerationConfig()
        options.ignore_eos, options.do_sample, options.apply_chat_template = True, False, False
        options.max_new_tokens = options.min_new_tokens = new
        ids = (numpy.arange(prompt, dtype=numpy.int64) % self.vocab)[None]
        pipeline = self.pipeline(setting)
        if setting == STATES:
            result = pipeline.generate(openvino.Tensor(numpy.tile(ids, (batch, 1))), options)
        else:
            result = pipeline.generate([openvino.Tensor(ids) for _ in range(batch)], [options] * batch)[0]
        durations = result.perf_metrics.raw_metrics.token_infer_durations
        if len(durations) < new:
            raise protocol.Refusal("expected %d steps, found %d" % (new, len(durations)))
        return [microseconds / 1e6 for microseconds in durations]

    def prefill(self, request):
        if request["depth"] > 0:
            raise protocol.Refusal("prefill behind cached positions: not offered by its interface")
        return self.settings.run(request, lambda setting: self.steps(setting, request["tokens"], 1, 1)[0])

    def decode(self, request):
        tokens, batch = request["tokens"], request["batch"]
        prompt = max(request["depth"], 1)  # a text begins with one token
        return self.settings.run(request, lambda setting: sum(self.steps(setting, prompt, tokens + 1, batch)[1:tokens + 1]))


if __name__ == "__main__":
    protocol.serve(Peer())
