"""ONNX Runtime GenAI as a peer (protocol.py), on models that its own builder makes: f32, int8 or int4 by groups of 32 with
int8 activations. A decoded token's time has the choice of it in it, which its interface does not take apart."""

import protocol  # before anything that starts threads

import json
import os

import numpy
import onnxruntime_genai

PRECISIONS = {"f32": "fp32", "int8": "int8", "int4": "int4"}


def model_folder(request, kind):
    source = protocol.hf_folder(request, "f32" if kind == "f32" else "bf16")
    return protocol.cached(request, "onnxruntime-" + kind,
                           lambda path: protocol.run_script("onnxruntime_convert.py", source, path, PRECISIONS[kind]))


class Peer:
    def load(self, request):
        kind = request["weights"]
        if kind not in PRECISIONS:
            raise protocol.Refusal("weights: expected %s, found %s" % (", ".join(PRECISIONS), kind))
        folder = model_folder(request, kind)
        self.texts, self.model = {}, None
        config = onnxruntime_genai.Config(folder)
        threads = request["threads"]
        options = {"intra_op_num_threads": threads}
        if threads > 1:  # the caller is the first of them
            options["session.intra_op_thread_affinities"] = ";".join(str(cpu + 1) for cpu in protocol.CPUS[1:threads])
        os.sched_setaffinity(0, protocol.CPUS)
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        self.model = onnxruntime_genai.Model(config)
        os.sched_setaffinity(0, protocol.CPUS[:1])
        self.vocab, self.length = request["config"]["vocab_size"], request["context"]
        files = [os.path.join(folder, name) for name in os.listdir(folder) if ".onnx" in name]
        return {"version": "ONNX Runtime GenAI " + onnxruntime_genai.__version__, "weights": kind,
                "activations": "f32" if kind == "f32" else "int8", "kv_cache": "f32",
                "bits": 8 * sum(map(os.path.getsize, files)) / protocol.weight_count(request["config"]),
                "settings": "its builder's %s for CPUs, threads pinned" % PRECISIONS[kind]}

    def begin(self, depth, batch):
        """Texts with so many positions in their cache. One generator serves all tests of a batch: it goes back."""
        if batch not in self.texts:
            options = onnxruntime_genai.GeneratorParams(self.model)
            options.set_search_options(max_length=self.length + 1, min_length=self.length + 1, batch_size=batch,
                                       do_sample=False, past_present_share_buffer=True)
            self.texts[batch] = onnxruntime_genai.Generator(self.model, options)
        text = self.texts[batch]
        text.rewind_to(0)
        if depth > 0:
            self.extend(text, 0, depth, batch)
        return text

    def extend(self, text, begin, end, batch):
        ids = numpy.arange(begin, end, dtype=numpy.int32) % self.vocab
        text.append_tokens(numpy.tile(ids, (batch, 1)))

    def prefill(self, request):
        depth = request["depth"]
        text = self.begin(depth, 1)
        return {"seconds": protocol.timed(lambda: self.extend(text, depth, depth + request["tokens"], 1))}

    def decode(self, request):
        # Its attention takes a first step of one row for a later one where there are several texts.
        text = self.begin(max(request["depth"], 2), request["batch"])
        text.generate_next_token()  # of the prompt's logits: no step yet

        def steps():
            for _ in range(request["tokens"]):
                text.generate_next_token()
        return {"seconds": protocol.timed(steps)}


if __name__ == "__main__":
    protocol.serve(Peer())
