"""onnxruntime_convert.py HF_FOLDER OUT fp32|int8|int4: ONNX Runtime GenAI's form of a Hugging Face folder, by its own
builder. A program of its own, so that PyTorch stays out of what is measured."""

import json
import os
import runpy
import sys
import tempfile


def main():
    source, path, precision = sys.argv[1:]
    with open(os.path.join(source, "config.json"), encoding="utf-8") as file:
        tied = json.load(file).get("tie_word_embeddings", False)
    options = ["prune_lm_head=true"]  # logits of the last row
    if precision != "fp32":
        # Integers times one scale for each group; activations become int8 too.
        options += ["block_size=32", "accuracy_level=4", "is_symmetric=true"]
    if tied:
        options.append("shared_embeddings=true")
    with tempfile.TemporaryDirectory() as scratch:
        sys.argv = ["builder", "-i", source, "-o", path, "-p", precision, "-e", "cpu", "-c", scratch,
                    "--extra_options", *options]
        runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")


if __name__ == "__main__":
    main()
