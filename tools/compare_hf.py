#!/usr/bin/env python3
"""Runs a model through Hugging Face transformers and through ninfer, and tells where they first differ.

    tools/compare_hf.py MODEL [--prompt TEXT | --prompt-ids 1,2,3] [--max-tokens 20] [--engine eager|compiled]

Needs torch and transformers: those of the Python that runs this, or else those of the environment that
`bench/peers/install.sh build/peers torch` makes, in which it then starts itself anew. Both sides compute in f32.
Compared are, in this order, the token ids of the prompt, the rows that go into each layer, the logits of each position
of the prompt, and the tokens that greedy decoding adds. The status is 0 when nothing differs, 1 when something does, and
2 when something could not be run, or no layer could be compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = os.path.join(ROOT, "build", "peers", "torch")


def fail(message):
    print("compare_hf.py: %s" % message, file=sys.stderr)
    sys.exit(2)


def restart_beside_the_peers(missing):
    """Goes on in the environment of bench/peers/install.sh, where there is one and this is not it yet."""
    python = os.path.join(PEERS, "bin", "python3")
    if os.path.exists(python) and os.path.realpath(sys.prefix) != os.path.realpath(PEERS):
        os.execv(python, [python, *(["-B"] if sys.dont_write_bytecode else []), os.path.abspath(__file__), *sys.argv[1:]])
    fail("expected torch, transformers and safetensors, found no %s (bench/peers/install.sh build/peers torch installs them)" % missing)


class Ninfer:
    """ninfer-run on the model, in f32."""

    def __init__(self, options):
        self.command = [options.program, options.model, "--engine=" + options.engine]
        for flag in ("--weights", "--activations", "--kv-cache"):
            self.command += [flag, "f32"]
        if options.engine == "compiled":
            self.command.append("--no-cache")

    def run(self, *arguments):
        try:
            done = subprocess.run(self.command + ["--json", "--temperature=0", *arguments], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, check=False)
        except OSError as error:
            fail("%s: %s" % (self.command[0], error.strerror))
        if done.returncode != 0:
            fail(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "ninfer-run failed")
        return json.loads(done.stdout)


def first_row(found, expected, tolerance):
    """The first row whose error is above the tolerance times the largest expected value, and its error; or None."""
    scale = max(float(expected.abs().max()), 1e-30)
    errors = (found - expected).abs().amax(dim=-1) / scale
    rows = (~(errors <= tolerance)).nonzero()
    return None if len(rows) == 0 else (int(rows[0]), float(errors[rows[0]]))


class Report:
    def __init__(self):
        self.different = False

    def line(self, what, difference, more=""):
        print("%-10s %s%s" % (what, difference or "the same", more))
        self.different |= difference is not None


def compare_prompt(options, transformers, ninfer, report):
    """The ids of the prompt as transformers has them."""
    if options.prompt_ids:
        return options.prompt_ids
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    expected = tokenizer(options.prompt)["input_ids"]
    found = ninfer.run("--prompt", options.prompt, "--max-tokens=0")["prompt_ids"]
    pairs = list(zip(found, expected))
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
    same = found == expected
    report.line("prompt ids", None if same else "differ first at %d: ninfer %s, transformers %s" %
                (at, found[at:at + 1] or "ends", expected[at:at + 1] or "ends"))
    return expected


def keep_last_layer(torch, model):
    """A list that will hold what the last layer gives: transformers' last hidden rows have gone through a norm."""
    count = model.config.get_text_config().num_hidden_layers
    kept = []
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            module[-1].register_forward_hook(
                lambda _, __, output: kept.append(output[0] if isinstance(output, tuple) else output))
            break
    return kept


def compare_layers(found, expected, count, first_difference, report):
    """`found` holds rows by their names; `expected` the embeddings and then what each of `count` layers gives."""
    compared, difference = 0, None
    for layer, rows in enumerate(expected):
        name = "hidden.%d" % layer
        if name not in found:
            continue
        compared += layer > 0
        where = first_difference(found[name], rows)
        if where is not None:
            what = "the embeddings differ" if layer == 0 else "layer %d differs" % (layer - 1)
            difference = "%s first at position %d: %.1e of the largest value" % (what, *where)
            break
    if compared == 0 and difference is None:
        fail("layers: expected rows hidden.1 to hidden.%d, found none of them" % count)
    report.line("layers", difference, ", %d of %d compared" % (compared, count))


def compare_rows(options, safetensors_torch, ids, outputs, last_layer, ninfer, report):
    import numpy
    import torch

    with tempfile.TemporaryDirectory() as folder:
        tensors, logits = os.path.join(folder, "x.safetensors"), os.path.join(folder, "x.npy")
        ninfer.run("--prompt-ids", ",".join(map(str, ids)), "--max-tokens=1", "--chunk", str(len(ids)),
                   "--dump-tensors=^hidden[.][0-9]+$", "--dump-to", tensors, "--logits", logits)
        hidden = safetensors_torch.load_file(tensors)
        found = torch.from_numpy(numpy.load(logits))[:len(ids)]

    def first_difference(rows, expected):
        return first_row(rows.float().reshape(-1, expected.shape[-1])[:len(ids)], expected[0], options.tolerance)

    compare_layers(hidden, (*outputs.hidden_states[:-1], *last_layer), len(outputs.hidden_states) - 1, first_difference, report)
    difference = first_row(found, outputs.logits[0], options.tolerance)
    report.line("logits", difference and "differ first at position %d: %.1e of the largest logit" % difference)


def compare_tokens(options, torch, model, ids, ninfer, report):
    with torch.no_grad():
        expected = model.generate(torch.tensor([ids]), do_sample=False, num_beams=1, repetition_penalty=1.0,
                                  max_new_tokens=options.max_tokens)[0, len(ids):].tolist()
    found = ninfer.run("--prompt-ids", ",".join(map(str, ids)), "--max-tokens", str(options.max_tokens))["ids"]
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    while expected and expected[-1] in ends:  # the end of the text is no part of it
        expected.pop()
    while found and found[-1] in ends:
        found.pop()
    at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
    report.line("tokens", None if found == expected else "differ first at new token %d: ninfer %s, transformers %s" %
                (at, found[at:at + 1] or "ends", expected[at:at + 1] or "ends"))


def main():
    parser = argparse.ArgumentParser(description="Tells where ninfer and Hugging Face transformers first differ.")
    parser.add_argument("model", help="a model folder")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--prompt-ids", type=lambda text: [int(id) for id in text.split(",")])
    parser.add_argument("--max-tokens", type=int, default=20)
    parser.add_argument("--engine", choices=["eager", "compiled"], default="compiled")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of the largest value")
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "bin", "ninfer-run"))
    options = parser.parse_args()
    if not os.path.exists(os.path.join(options.model, "config.json")):
        fail("%s: expected a model folder, found no config.json" % options.model)
    try:
        import safetensors.torch
        import torch
        import transformers
    except ImportError as error:
        restart_beside_the_peers(error.name)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    ninfer, report = Ninfer(options), Report()
    try:
        config = transformers.AutoConfig.from_pretrained(options.model)
        sees = getattr(config, "vision_config", None) is not None  # compared on text alone
        kind = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
        model = kind.from_pretrained(options.model, dtype=torch.float32)
        ids = compare_prompt(options, transformers, ninfer, report)
        last_layer = keep_last_layer(torch, model)
        with torch.no_grad():
            outputs = model(torch.tensor([ids]), output_hidden_states=True)
    except (OSError, ValueError, ImportError, IndexError) as error:
        fail("transformers: %s" % str(error).splitlines()[0])
    compare_rows(options, safetensors.torch, ids, outputs, last_layer, ninfer, report)
    compare_tokens(options, torch, model, ids, ninfer, report)
    sys.exit(1 if report.different else 0)


if __name__ == "__main__":
    main()
