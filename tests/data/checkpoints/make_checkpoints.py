"""Writes one tiny random GPT-2 in every format that the importer reads, by the libraries that own the formats.

    python make_checkpoints.py torch        # PyTorch; safetensors/ needs no library
    python make_checkpoints.py tensorflow   # openai/

Made with PyTorch 2.15.0 and TensorFlow 2.21.0. The weights are the same in every folder but for rounding in
torch-f16/ and torch-bf16/.
"""

import collections
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VOCAB, CONTEXT, WIDTH, HEADS, LAYERS = 11, 4, 4, 2, 2


def shapes():
    """Name and shape of each weight, as transformers names it without its prefix."""
    yield "wte.weight", (VOCAB, WIDTH)
    yield "wpe.weight", (CONTEXT, WIDTH)
    for layer in range(LAYERS):
        for name, shape in (("ln_1.weight", (WIDTH,)), ("ln_1.bias", (WIDTH,)),
                            ("attn.c_attn.weight", (WIDTH, 3 * WIDTH)), ("attn.c_attn.bias", (3 * WIDTH,)),
                            ("attn.c_proj.weight", (WIDTH, WIDTH)), ("attn.c_proj.bias", (WIDTH,)),
                            ("ln_2.weight", (WIDTH,)), ("ln_2.bias", (WIDTH,)),
                            ("mlp.c_fc.weight", (WIDTH, 4 * WIDTH)), ("mlp.c_fc.bias", (4 * WIDTH,)),
                            ("mlp.c_proj.weight", (4 * WIDTH, WIDTH)), ("mlp.c_proj.bias", (WIDTH,))):
            yield "h.%d.%s" % (layer, name), shape
    yield "ln_f.weight", (WIDTH,)
    yield "ln_f.bias", (WIDTH,)


def weights():
    """Name, shape and values of each weight; the values have few bits, so that they are exact in f32."""
    state = 1
    for name, shape in shapes():
        count = 1
        for size in shape:
            count *= size
        values = []
        for _ in range(count):
            state = (state * 1103515245 + 12345) % 2**31
            values.append((state >> 11) % 4001 / 4096 - 0.5)
        yield name, shape, values


def write(folder, name, data):
    os.makedirs(os.path.join(HERE, folder), exist_ok=True)
    with open(os.path.join(HERE, folder, name), "wb") as file:
        file.write(data)


def write_json(folder, name, value):
    write(folder, name, (json.dumps(value, indent=1) + "\n").encode())


def write_config(folder):
    write_json(folder, "config.json",
               {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": VOCAB,
                "n_positions": CONTEXT, "n_embd": WIDTH, "n_head": HEADS, "n_layer": LAYERS})


def make_safetensors():
    header, data = {}, b""
    for name, shape, values in weights():
        piece = struct.pack("<%df" % len(values), *values)
        header["transformer." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data),
                                                                                          len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    write("safetensors", "model.safetensors", struct.pack("<Q", len(text)) + text + data)
    write_config("safetensors")


def make_torch():
    import torch
    state = collections.OrderedDict()
    for name, shape, values in weights():
        state["transformer." + name] = torch.tensor(values).reshape(shape)
    # As GPT2LMHeadModel's own dictionary: buffers that are no weights, the head tied to the embedding, metadata.
    for layer in range(LAYERS):
        state["transformer.h.%d.attn.bias" % layer] = torch.ones(1, 1, CONTEXT, CONTEXT, dtype=torch.bool).tril()
        state["transformer.h.%d.attn.masked_bias" % layer] = torch.tensor(-1e4)
    state["lm_head.weight"] = state["transformer.wte.weight"]
    state._metadata = collections.OrderedDict([("", {"version": 1})])

    def save(folder, state, name="pytorch_model.bin", **options):
        os.makedirs(os.path.join(HERE, folder), exist_ok=True)
        torch.save(state, os.path.join(HERE, folder, name), **options)
        write_config(folder)

    save("torch-zip", state)
    save("torch-legacy", state, _use_new_zipfile_serialization=False)
    save("torch-protocol-4", dict(state), pickle_protocol=4)
    save("torch-parameters", {name: torch.nn.Parameter(value, requires_grad=False)
                              for name, value in state.items()})
    # Every weight a view of one storage: matrices transposed, vectors every second element.
    whole = torch.full((sum(2 * value.numel() for value in state.values()) + 7,), 9.0)
    at, views = 7, {}
    for name, value in state.items():
        if value.dtype != torch.float32:
            continue
        view = whole.as_strided(value.shape, (2, 2 * value.shape[0]) if value.dim() == 2 else (2,) * value.dim(), at)
        view.copy_(value)
        at += 2 * value.numel()
        views[name] = view
    save("torch-views", views)
    torch.serialization.set_crc32_options(False)
    save("torch-no-checksums", state)
    torch.serialization.set_crc32_options(True)
    for folder, dtype in (("torch-f16", torch.float16), ("torch-bf16", torch.bfloat16)):
        save(folder, {name: value.to(dtype) for name, value in state.items() if value.dtype == torch.float32})
    names = list(state)
    index = {"metadata": {}, "weight_map": {}}
    for shard, part in enumerate((names[:9], names[9:])):
        file = "pytorch_model-%05d-of-00002.bin" % (shard + 1)
        save("torch-sharded", {name: state[name] for name in part if name != "lm_head.weight"}, file)
        index["weight_map"].update((name, file) for name in part if name != "lm_head.weight")
    write_json("torch-sharded", "pytorch_model.bin.index.json", index)


def openai_name(name):
    name = name.replace("h.", "h", 1) if name.startswith("h.") else name
    if name.startswith("w"):
        return "model/" + name.split(".")[0]
    norm = ".ln_" in "." + name
    parts = name.split(".")
    parts[-1] = {"weight": "g" if norm else "w", "bias": "b"}[parts[-1]]
    return "model/" + "/".join(parts)


def make_tensorflow():
    import tensorflow as tf
    names, tensors = [], []
    for name, shape, values in weights():
        if ".c_" in name and len(shape) == 2:
            shape = (1,) + shape  # a convolution of width one
        names.append(openai_name(name))
        tensors.append(tf.reshape(tf.constant(values, tf.float32), shape))
    os.makedirs(os.path.join(HERE, "openai"), exist_ok=True)
    prefix = os.path.join(HERE, "openai", "model.ckpt")
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
    write("openai", "checkpoint",
          b'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n')
    write("openai", "hparams.json",
          json.dumps({"n_vocab": VOCAB, "n_ctx": CONTEXT, "n_embd": WIDTH, "n_head": HEADS,
                      "n_layer": LAYERS}).encode())
    pieces = ["a", "b", "c", "d", "e", "\u0120", "ab", "\u0120c", "de", "abc", "<|endoftext|>"]
    write("openai", "encoder.json", json.dumps({piece: i for i, piece in enumerate(pieces)}).encode())
    write("openai", "vocab.bpe", "#version: 0.2\na b\n\u0120 c\nd e\nab c\n".encode())


if __name__ == "__main__":
    if sys.argv[1:] == ["torch"]:
        make_safetensors()
        make_torch()
    elif sys.argv[1:] == ["tensorflow"]:
        make_tensorflow()
    else:
        sys.exit(__doc__)
