#!/usr/bin/env python3
"""A processor for tests/data/hf-models/smolvlm, and what transformers makes of pictures and texts with both.

    make_goldens.py            # writes the processor's files and golden.json beside this script
    make_goldens.py --check    # computes again and compares

The pictures are those of ../image-processing. Needs torch, transformers and Pillow.
"""
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import AutoModelForImageTextToText
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

HERE = Path(__file__).parent
MODEL = HERE.parent / "hf-models" / "smolvlm"
PICTURES = HERE.parent / "image-processing"
IMAGE, FAKE, WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
CHAT = ("{% for message in messages %}{{message['role'] | capitalize}}:{% for part in message['content'] %}"
        "{% if part['type'] == 'text' %} {{part['text']}}{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}"
        "{% endfor %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
CASES = [  # pictures, text, whether pictures are cut
    (["photo.jpg"], "What is<image>this?", True),
    (["wide.png"], "<image>Say", True),
    (["photo.jpg", "wide.png"], "A<image>b<image>c", False),
    (["alpha.png"], "<image>", True),
    ([], "No picture", True),
]


def tokenizer():
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, "\n": 3}
    for code in range(32, 127):
        vocab[chr(code)] = len(vocab)
    special = [f"<row_{r}_col_{c}>" for r in range(1, 4) for c in range(1, 4)] + [FAKE, WHOLE, "<end_of_utterance>"]
    while len(vocab) + len(special) < 172:
        vocab[f"<unused_{len(vocab)}>"] = len(vocab)
    for token in special + [IMAGE]:
        vocab[token] = len(vocab)
    result = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    result.decoder = decoders.Fuse()
    result.add_special_tokens([AddedToken(t, special=True, normalized=False)
                               for t in ["<pad>", "<s>", "</s>", *special, IMAGE]])
    return result


def processor(split):
    return SmolVLMImageProcessorPil(do_image_splitting=split, size={"longest_edge": 96}, max_image_size={"longest_edge": 48})


def buckets(grid, count):
    """Positions of `count` patches on a side, as SmolVLMVisionEmbeddings computes them."""
    boundaries = torch.arange(1 / grid, 1.0, 1 / grid)
    places = torch.arange(grid, dtype=torch.float32)[:count] * (1.0 / torch.tensor(count))
    return torch.bucketize(torch.clamp(places, max=1.0 - 1e-6), boundaries, right=True).tolist()


def compute():
    text_tokenizer = tokenizer()
    model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32).eval()
    golden = []
    for names, text, split in CASES:
        inputs, expanded = {}, text
        if names:
            images = processor(split)([[Image.open(PICTURES / name) for name in names]], return_tensors="pt",
                                      return_row_col_info=True)
            inputs = {"pixel_values": images["pixel_values"], "pixel_attention_mask": images["pixel_attention_mask"]}
            pieces = text.split(IMAGE)
            expanded = pieces[0]
            for rows, cols, piece in zip(images["rows"][0], images["cols"][0], pieces[1:]):
                expanded += get_image_prompt_string(int(rows), int(cols), 4, FAKE, IMAGE, WHOLE) + piece
        ids = text_tokenizer.encode(expanded).ids
        batch = torch.tensor([ids])
        with torch.no_grad():
            out = model.generate(input_ids=batch, attention_mask=torch.ones_like(batch), max_new_tokens=12, do_sample=False,
                                 eos_token_id=None, return_dict_in_generate=True, output_logits=True, **inputs)
        leads = [float(l[0].topk(2).values.diff().abs()) for l in out.logits]
        golden.append({"pictures": names, "text": text, "split": split, "expanded": expanded, "ids": ids,
                       "greedy_ids": out.sequences[0, len(ids):].tolist(), "smallest_margin": round(min(leads), 4)})
    return golden


def main():
    golden = compute()
    positions = {str(grid): [buckets(grid, count) for count in range(1, grid + 1)] for grid in (6, 27, 32, 64)}
    if "--check" in sys.argv:
        assert golden == json.loads((HERE / "golden.json").read_text())
        assert positions == json.loads((HERE / "positions.json").read_text())
        print(len(golden), "cases equal")
        return
    assert min(case["smallest_margin"] for case in golden) > 0.02, [case["smallest_margin"] for case in golden]
    tokenizer().save(str(HERE / "tokenizer.json"))
    write = lambda name, value: (HERE / name).write_text(json.dumps(value, indent=1) + "\n")
    write("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
                                    "pad_token": "<pad>", "image_token": IMAGE, "fake_image_token": FAKE,
                                    "global_image_token": WHOLE, "chat_template": CHAT})
    write("preprocessor_config.json", json.loads(processor(True).to_json_string()))
    write("processor_config.json", {"image_seq_len": 4, "processor_class": "SmolVLMProcessor"})
    write("golden.json", golden)
    (HERE / "positions.json").write_text(json.dumps(positions) + "\n")


main()
