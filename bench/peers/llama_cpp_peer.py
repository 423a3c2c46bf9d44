"""llama.cpp as the package llama-cpp-python builds it, as a peer (protocol.py): its C interface, without sampling.

Random weights are written as GGUF once for each shape and quantised by llama.cpp itself. Weights are repacked for
the CPU as they are loaded, threads are pinned, and flash attention is on where it is faster (behind long caches it can be
slower).
"""

import protocol  # before anything that loads OpenMP

import ctypes
import re
from importlib import metadata

import llama_cpp as api

import gguf_model

TYPES = {"f32": "F32", "bf16": "BF16", "f16": "F16", "int8": "Q8_0", "int4": "Q4_0", "int4a": "Q4_K", "nu4": "Q4_K"}
FILE_TYPES = {"F32": api.LLAMA_FTYPE_ALL_F32, "F16": api.LLAMA_FTYPE_MOSTLY_F16, "Q8_0": api.LLAMA_FTYPE_MOSTLY_Q8_0,
              "Q4_0": api.LLAMA_FTYPE_MOSTLY_Q4_0, "Q4_K": api.LLAMA_FTYPE_MOSTLY_Q4_K_M}
MICRO_BATCH = 512  # rows of one pass
READ_WHOLE = 0     # llama_load_mode: not mapped, so that weights lie in huge pages
FLASH, PLAIN = "flash attention", "attention without flash"
errors = []        # what llama.cpp has said of an error


@api.llama_log_callback
def keep_errors(level, text, _):
    if level == 4:  # GGML_LOG_LEVEL_ERROR
        errors.append(text.decode(errors="replace").strip())


def expect(condition, what):
    if not condition:
        raise protocol.Refusal("%s%s" % (what, ": " + errors[-1] if errors else ""))


def quantise(source, path, kind):
    options = api.llama_model_quantize_default_params()
    options.ftype = FILE_TYPES[kind]
    options.nthread = len(protocol.CPUS)
    expect(api.llama_model_quantize(source.encode(), path.encode(), ctypes.byref(options)) == 0,
           "quantising to %s failed" % kind)


def model_file(request, kind):
    """The GGUF file of a shape in a type, from the cache."""
    config = request["config"]
    protocol.check_family(config)
    plain = "f32" if kind == "F32" else "bf16"
    source = protocol.cached(request, plain + ".gguf", lambda path: gguf_model.write(path, config, plain))
    if kind in ("F32", "BF16"):
        return source
    return protocol.cached(request, kind + ".gguf", lambda path: quantise(source, path, kind))


class Texts:
    """A context for so many texts at a time, with or without flash attention."""

    def __init__(self, model, flash, batch, length, threads, vocab):
        options = api.llama_context_default_params()
        options.n_ctx = batch * length
        options.n_batch = options.n_ubatch = MICRO_BATCH
        options.n_seq_max = options.n_outputs_max = batch
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        options.no_perf = True
        self.context = api.llama_init_from_model(model, options)
        expect(self.context, "no context of %d times %d positions" % (batch, length))
        self.memory = api.llama_get_memory(self.context)
        self.rows = api.llama_batch_init(MICRO_BATCH, 0, 1)
        self.batch, self.vocab, self.states = batch, vocab, {}

    def free(self):
        api.llama_batch_free(self.rows)
        api.llama_free(self.context)

    def begin(self, depth):
        """Texts with so many cached positions each, which are computed once and copied from then on."""
        api.llama_memory_clear(self.memory, False)
        if depth == 0:
            return
        if depth not in self.states:
            self.extend(0, depth)
            size = api.llama_state_seq_get_size(self.context, 0)
            state = (ctypes.c_uint8 * size)()
            expect(api.llama_state_seq_get_data(self.context, state, size, 0) == size, "the cache cannot be kept")
            self.states[depth] = state
            api.llama_memory_clear(self.memory, False)
        state = self.states[depth]
        for sequence in range(self.batch):
            expect(api.llama_state_seq_set_data(self.context, state, len(state), sequence) > 0,
                   "the cache cannot be restored")

    def step(self, rows, logits_of):
        """rows: (id, position, text), MICRO_BATCH at most."""
        batch = self.rows
        batch.n_tokens = len(rows)
        for i, (token, position, text) in enumerate(rows):
            batch.token[i], batch.pos[i] = token % self.vocab, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, text
            batch.logits[i] = i in logits_of
        expect(api.llama_decode(self.context, batch) == 0, "a step of %d rows failed" % len(rows))
        api.llama_synchronize(self.context)

    def extend(self, begin, end):
        """Positions [begin, end) of the first text, logits of the last."""
        for first in range(begin, end, MICRO_BATCH):
            positions = range(first, min(end, first + MICRO_BATCH))
            self.step([(i, i, 0) for i in positions], {len(positions) - 1} if positions[-1] == end - 1 else {})

    def decode(self, depth, steps):
        for i in range(steps):
            self.step([(i + text, depth + i, text) for text in range(self.batch)], set(range(self.batch)))


class Peer:
    def __init__(self):
        api.llama_log_set(keep_errors, None)
        api.llama_backend_init()
        self.model, self.texts = None, {}

    def load(self, request):
        kind = TYPES.get(request["weights"])
        expect(kind is not None, "weights: expected %s, found %s" % (", ".join(TYPES), request["weights"]))
        path = model_file(request, kind)
        for texts in self.texts.values():
            texts.free()
        if self.model:
            api.llama_model_free(self.model)
        self.texts, self.settings = {}, protocol.Settings([FLASH, PLAIN])
        options = api.llama_model_default_params()
        options.n_gpu_layers = 0
        options.load_mode = READ_WHOLE
        self.model = api.llama_model_load_from_file(path.encode(), options)
        expect(self.model, "%s cannot be loaded" % path)
        self.threads, self.length = request["threads"], request["context"]
        self.vocab = request["config"]["vocab_size"]
        info = api.llama_print_system_info().decode()
        found = [name for name in ("AVX2", "AVX512", "AVX512_VNNI", "AVX512_BF16", "AMX_INT8", "REPACK")
                 if re.search(r"\b%s = 1" % name, info)]
        return {"version": "llama-cpp-python " + metadata.version("llama-cpp-python"), "weights": kind,
                "activations": "q8" if kind.startswith("Q") else kind.lower(), "kv_cache": "f16",
                "bits": 8 * protocol.size_of(path) / api.llama_model_n_params(self.model),
                "settings": "built here with %s; threads pinned by OpenMP, weights in huge pages" % ", ".join(found)}

    def measure(self, request, batch, work):
        """The seconds of work(texts) behind the depth that is asked for, with the better form of attention."""
        def run(setting):
            key = (setting, batch)
            if key not in self.texts:
                self.texts[key] = Texts(self.model, setting == FLASH, batch, self.length, self.threads, self.vocab)
            self.texts[key].begin(request["depth"])
            return protocol.timed(lambda: work(self.texts[key]))
        return self.settings.run(request, run)

    def prefill(self, request):
        depth, tokens = request["depth"], request["tokens"]
        return self.measure(request, 1, lambda texts: texts.extend(depth, depth + tokens))

    def decode(self, request):
        return self.measure(request, request["batch"], lambda texts: texts.decode(request["depth"], request["tokens"]))


if __name__ == "__main__":
    protocol.serve(Peer())
