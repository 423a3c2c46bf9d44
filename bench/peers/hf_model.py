"""hf_model.py FOLDER f32|bf16: fills a folder that holds a config.json with random weights of its shape, for peers that
convert a Hugging Face folder. Its tokenizer is none that anyone would want: a word for each id."""

import json
import os
import sys

import torch
import transformers


def write(path, dtype):
    with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    fields = {key: value for key, value in config.items() if key not in ("model_type", "architectures")}
    settings = transformers.AutoConfig.for_model(config["model_type"], **fields)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(settings, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[dtype])
    model.save_pretrained(path)
    with open(os.path.join(path, "tokenizer.json"), "w", encoding="utf-8") as file:
        words = {"w%d" % i: i for i in range(config["vocab_size"])}
        json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                   "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
                   "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}}, file)
    with open(os.path.join(path, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "w0", "bos_token": "w0", "eos_token": "w0"},
                  file)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2])
