"""openvino_convert.py HF_FOLDER OUT KIND: OpenVINO's form of a Hugging Face folder, made by optimum-intel and NNCF.

KIND: f32, bf16, f16 (weights as they are), int8 (per channel) or int4 (by group, as large as the widths allow; embedding
and head in int8). A program of its own, so that PyTorch stays out of what is measured."""

import json
import os
import sys

from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig


def group_size(config):
    hidden = config.get("hidden_size") or config["n_embd"]
    inner = config.get("intermediate_size") or config.get("n_inner") or 4 * hidden
    return next(size for size in (128, 64, 32) if hidden % size == 0 and inner % size == 0)


def main():
    source, path, kind = sys.argv[1:]
    with open(os.path.join(source, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    options = {"load_in_8bit": False}
    if kind == "int8":
        options = {"quantization_config": OVWeightQuantizationConfig(bits=8, sym=True)}
    elif kind == "int4":
        options = {"quantization_config": OVWeightQuantizationConfig(bits=4, sym=True, ratio=1.0,
                                                                     group_size=group_size(config))}
    OVModelForCausalLM.from_pretrained(source, export=True, compile=False, **options).save_pretrained(path)


if __name__ == "__main__":
    main()
