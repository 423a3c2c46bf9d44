"""Writes a GGUF file of random weights in the shape of a config.json, of the families gpt2, llama and qwen2, with the
package `gguf`. There is no tokenizer in it: texts are ids. What is timed does not depend on the weights."""

import gguf
import numpy


class Writer:
    def __init__(self, path, name, kind):
        self.file = gguf.GGUFWriter(path, name)
        self.kind = kind
        self.random = numpy.random.default_rng(0)

    def matrix(self, name, rows, columns):
        values = self.random.standard_normal((rows, columns), dtype=numpy.float32)
        values *= 0.02
        if self.kind == "f32":
            self.file.add_tensor(name + ".weight", values)
        else:
            self.file.add_tensor(name + ".weight", gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16),
                                 raw_dtype=gguf.GGMLQuantizationType.BF16)

    def vector(self, name, size, value=0.0):
        self.file.add_tensor(name, numpy.full(size, value, dtype=numpy.float32))


def write_gpt2(out, config):
    hidden, layers = config["n_embd"], config["n_layer"]
    inner = config.get("n_inner") or 4 * hidden
    file = out.file
    file.add_context_length(config["n_positions"])
    file.add_embedding_length(hidden)
    file.add_feed_forward_length(inner)
    file.add_block_count(layers)
    file.add_head_count(config["n_head"])
    file.add_layer_norm_eps(config["layer_norm_epsilon"])
    out.matrix("token_embd", config["vocab_size"], hidden)
    out.matrix("position_embd", config["n_positions"], hidden)
    for name in ["output_norm"] + ["blk.%d.%s" % (i, norm) for i in range(layers) for norm in ("attn_norm", "ffn_norm")]:
        out.vector(name + ".weight", hidden, 1.0)
        out.vector(name + ".bias", hidden)
    for i in range(layers):
        for name, rows, columns in (("attn_qkv", 3 * hidden, hidden), ("attn_output", hidden, hidden),
                                    ("ffn_up", inner, hidden), ("ffn_down", hidden, inner)):
            out.matrix("blk.%d.%s" % (i, name), rows, columns)
            out.vector("blk.%d.%s.bias" % (i, name), rows)


def write_llama(out, config):
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads, inner = config["num_attention_heads"], config["intermediate_size"]
    kv_heads = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or hidden // heads
    file = out.file
    file.add_context_length(config["max_position_embeddings"])
    file.add_embedding_length(hidden)
    file.add_feed_forward_length(inner)
    file.add_block_count(layers)
    file.add_head_count(heads)
    file.add_head_count_kv(kv_heads)
    file.add_key_length(head)
    file.add_value_length(head)
    file.add_layer_norm_rms_eps(config["rms_norm_eps"])
    file.add_rope_freq_base(config.get("rope_theta", 10000.0))
    file.add_rope_dimension_count(head)
    out.matrix("token_embd", config["vocab_size"], hidden)
    if not config.get("tie_word_embeddings", False):
        out.matrix("output", config["vocab_size"], hidden)
    out.vector("output_norm.weight", hidden, 1.0)
    for i in range(layers):
        block = "blk.%d." % i
        out.vector(block + "attn_norm.weight", hidden, 1.0)
        out.vector(block + "ffn_norm.weight", hidden, 1.0)
        for name, rows, columns in (("attn_q", heads * head, hidden), ("attn_k", kv_heads * head, hidden),
                                    ("attn_v", kv_heads * head, hidden), ("attn_output", hidden, heads * head),
                                    ("ffn_gate", inner, hidden), ("ffn_up", inner, hidden), ("ffn_down", hidden, inner)):
            out.matrix(block + name, rows, columns)
            if config["model_type"] == "qwen2" and name in ("attn_q", "attn_k", "attn_v"):
                out.vector(block + name + ".bias", rows)


def write(path, config, kind):
    """kind: "f32" or "bf16" (of matrices)."""
    out = Writer(path, config["model_type"], kind)
    out.file.add_tokenizer_model("no_vocab")
    out.file.add_vocab_size(config["vocab_size"])
    out.file.add_file_type(gguf.LlamaFileType.ALL_F32 if kind == "f32" else gguf.LlamaFileType.MOSTLY_BF16)
    (write_gpt2 if config["model_type"] == "gpt2" else write_llama)(out, config)
    out.file.write_header_to_file()
    out.file.write_kv_data_to_file()
    out.file.write_tensors_to_file()
    out.file.close()
