"""PyTorch on the card, for bench/cuda/all: torch_peer.py CONTEXT NEW SHAPE... prints one JSON object

  {"matrix_rate": 7.9e14, "shapes": {"llama-3.2-1b": {"eager": 210.0, "compiled": 800.0}}}

the rate of bf16 matrix products in operations a second, and tokens a second of one text: eager, and compiled with CUDA
graphs over a static cache. The models are those of bench/peers/torch_models.py, in bf16 with random weights.
"""

import json
import os
import re
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench", "peers"))
sys.dont_write_bytecode = True
import torch  # noqa: E402  (behind the path)
import torch_models  # noqa: E402

DEVICE = os.environ.get("NINFER_TORCH_DEVICE", "cuda")


def finish():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def configuration(shape):
    """The config.json of a preset, as frontend/presets.def has it."""
    with open(os.path.join(ROOT, "frontend", "presets.def"), encoding="utf-8") as file:
        presets = dict(re.findall(r'PRESET\("([^"]+)", R"\((.*?)\)"\)', file.read(), re.DOTALL))
    return json.loads(presets[shape])


def matrix_rate(size=8192):
    size = size if DEVICE == "cuda" else 256
    a, b = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(8):
        finish()
        start = time.perf_counter()
        for _ in range(4):
            a @ b
        finish()
        best = max(best, 4 * 2.0 * size ** 3 / (time.perf_counter() - start))
    return best


def decode_rate(model, step, compiled, new):
    """Tokens a second; each step's id is the arg-max of the last, which stays on the card."""
    best = 0.0
    for _ in range(3):
        cache = model.begin(compiled)
        token = torch.zeros(1, dtype=torch.long)
        positions = torch.arange(new)
        finish()
        start = time.perf_counter()
        for i in range(new):
            logits = step(token, positions[i:i + 1] if compiled else i, cache)
            token = logits[0].argmax().reshape(1)
        finish()
        best = max(best, new / (time.perf_counter() - start))
    return best


def main():
    context, new = int(sys.argv[1]), int(sys.argv[2])
    if DEVICE == "cuda" and not torch.cuda.is_available():
        sys.exit("expected a card that PyTorch sees, found none")
    torch.set_default_device(DEVICE)
    found = {"matrix_rate": matrix_rate(), "shapes": {}}
    for shape in sys.argv[3:]:
        model = torch_models.Model(configuration(shape), context).to(torch.bfloat16).eval()
        fast = torch.compile(model.cached, mode="reduce-overhead" if DEVICE == "cuda" else "default")
        found["shapes"][shape] = {"eager": decode_rate(model, model.cached, False, new),
                                  "compiled": decode_rate(model, fast, True, new)}
        del model, fast
        torch.compiler.reset()
    print(json.dumps(found))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
