#!/usr/bin/env python3
"""Encodes the same text on one thread with ninfer-tokenize and with Hugging Face's tokenizers, in turns.

    bench/peers/encode_text.py MODEL...  [--bytes 10000000] [--rounds 3] [--program build/bin/ninfer-tokenize]

MODEL is a folder with a tokenizer.json. Needs the package `tokenizers` (PyPI). Prints one row for each model: the best
rate of each side in MB/s, their ratio, and whether the hashes over the ids agree. The text is made from a seed: prose in
several scripts, code, numbers, rare words.
"""

import array
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYLLABLES = "ba de ki lo mu na po ra si tu ver con tion al ing er est ly un pre th sh qu str".split()
OTHER = ["Die Straße führt über den Fluß.", "Маленькая лиса жила в лесу.", "小狐狸住在森林里。今天天气很好。", "きつねは森にすんでいます。",
         "작은 여우가 숲에 살아요.", "الثعلب الصغير يعيش في الغابة.", "छोटी लोमड़ी जंगल में रहती है।", "L'été, où étais-tu ?", "😀 👍🏽 🦊"]
CODE = ["for (int i = 0; i < n; ++i) {\n\tsum += values[i];\n}\n", "def add(a, b):\n    return a + b\n\n",
        "{\"id\": 17, \"tags\": [\"a\", \"b\"], \"ok\": true}\n", "https://example.org/path?q=fox&lang=en#top "]


def mixed_text(size, seed=1):
    """`size` bytes or a little more of UTF-8."""
    rng = random.Random(seed)
    words = ["".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4))) for _ in range(20000)]
    parts, length = [], 0
    while length < size:
        kind = rng.random()
        if kind < 0.7:
            count = rng.randint(5, 15)
            # Few words are common, most are rare.
            chosen = [words[int(len(words) * rng.random() ** 3)] for _ in range(count)]
            part = " ".join(chosen).capitalize() + rng.choice([". ", ", ", "! ", ".\n", ".\n\n"])
        elif kind < 0.85:
            part = rng.choice(OTHER) + " "
        elif kind < 0.95:
            part = rng.choice(CODE)
        else:
            part = "%d %.3f %s\n" % (rng.randint(0, 10**6), rng.random(), "%x" % rng.getrandbits(64))
        parts.append(part)
        length += len(part.encode())
    return "".join(parts)


def peer(folder, text):
    """Seconds and ids of the tokenizers library."""
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    start = time.perf_counter()
    encoding = tokenizer.encode(text)
    seconds = time.perf_counter() - start
    return seconds, encoding.ids


def ours(program, folder, path):
    """Seconds and hash of ninfer-tokenize, without loading the tokenizer or reading the text."""
    done = subprocess.run([program, folder, "--certify", path, "--json"], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    return result["seconds"], result["hash"], result["ids"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--bytes", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "bin", "ninfer-tokenize"))
    flags = parser.parse_args()
    text = mixed_text(flags.bytes)
    agree = True
    print("| tokenizer | ninfer MB/s | tokenizers MB/s | ratio | ids |\n|---|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "text.txt")
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        size = os.path.getsize(path)
        for model in flags.models:
            mine, theirs = float("inf"), float("inf")
            for _ in range(flags.rounds):
                seconds, digest, count = ours(flags.program, model, path)
                mine = min(mine, seconds)
                seconds, ids = peer(model, text)
                theirs = min(theirs, seconds)
            try:
                import xxhash
                same = xxhash.xxh3_128_hexdigest(array.array("i", ids).tobytes()) == digest
            except ImportError:
                same = len(ids) == count  # as far as can be seen without the package xxhash
            agree = agree and same
            print("| %s | %.1f | %.1f | %.2f | %s |" % (os.path.basename(os.path.normpath(model)), size / mine / 1e6,
                                                       size / theirs / 1e6, theirs / mine, "same" if same else "DIFFER"))
            sys.stdout.flush()
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
