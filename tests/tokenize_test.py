"""Tests ninfer-tokenize as a user sees it: tables, JSON, decoding, the hash of a corpus, and bad input."""

import base64
import json
import os
import re
import subprocess
import tempfile
import unittest

import script_main

ZOO = os.path.join(script_main.ROOT, "tests", "data", "tokenizer-zoo")


def cases(name):
    with open(os.path.join(ZOO, name, "cases.json"), encoding="utf-8") as file:
        return json.load(file)["texts"]


class TokenizeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.program = os.path.join(script_main.BIN, "ninfer-tokenize")
        if not os.path.exists(cls.program):
            raise unittest.SkipTest("not built: " + cls.program)

    def run_program(self, *arguments, stdin=b"", status=0):
        done = subprocess.run([self.program, *arguments], input=stdin, capture_output=True, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout.decode() if status == 0 else done.stderr.decode()

    def test_json_has_the_ids_and_pieces_of_a_text(self):
        for name in ("llama3", "t5", "bert-uncased"):
            for case in cases(name)[:30]:
                if "\0" in case["text"]:
                    continue
                made = json.loads(self.run_program(os.path.join(ZOO, name), "--json", stdin=case["text"].encode()))
                self.assertEqual(made["ids"], case["ids_special"])
                self.assertEqual(len(made["pieces"]), len(made["ids"]))

    def test_table_shows_position_id_and_piece(self):
        lines = self.run_program(os.path.join(ZOO, "gpt2"), "a\n<|endoftext|>").splitlines()
        self.assertEqual([line.split(None, 2)[0] for line in lines], ["0", "1", "2"])
        self.assertTrue(lines[1].endswith('"\u010a"'), lines[1])
        self.assertTrue(lines[2].endswith('"<|endoftext|>"  special'), lines[2])

    def test_flags_change_what_is_encoded(self):
        folder = os.path.join(ZOO, "llama3")
        for case in cases("llama3"):
            if "ids_plain" in case:
                made = json.loads(self.run_program(folder, case["text"], "--json", "--no-special-tokens", "--plain"))
                self.assertEqual(made["ids"], case["ids_plain"])

    def test_decode_takes_the_ids_as_they_are_printed(self):
        for case in cases("t5")[:40]:
            ids = json.dumps(case["ids_special"])
            folder = os.path.join(ZOO, "t5")
            self.assertEqual(self.run_program(folder, "--decode", ids), case["decode"] + "\n")
            made = json.loads(self.run_program(folder, "--json", "--skip-special-tokens", "--decode", ids))
            self.assertEqual(made["text"], case["decode_skip"])

    def test_certify_is_a_hash_over_the_ids_as_32_bit_numbers(self):
        try:
            import xxhash
        except ImportError:
            xxhash = None
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "corpus.txt")
            digests = set()
            for case in cases("qwen2")[:20]:
                with open(path, "w", encoding="utf-8", newline="") as file:
                    file.write(case["text"])
                line = self.run_program(os.path.join(ZOO, "qwen2"), "--certify", path)
                digest, count = line.split()[:2]
                self.assertEqual(int(count), len(case["ids_special"]))
                self.assertEqual(len(digest), 32)
                digests.add((digest, tuple(case["ids_special"])))
                if xxhash is not None:
                    packed = b"".join(id_.to_bytes(4, "little") for id_ in case["ids_special"])
                    self.assertEqual(digest, xxhash.xxh3_128_hexdigest(packed))
            self.assertEqual(len(digests), len({digest for digest, _ in digests}))
            self.assertEqual(len(digests), len({ids for _, ids in digests}))

    def test_no_ids_have_the_hash_of_nothing(self):
        with tempfile.NamedTemporaryFile() as file:
            line = self.run_program(os.path.join(ZOO, "gpt2"), "--certify", file.name)
        self.assertEqual(line, "99aa06d3014798d86001c324468d497f  0 ids of 0 bytes\n")  # as xxHash publishes it

    def test_a_plan_gives_the_ids_of_its_folder(self):
        plan = os.path.join(os.path.dirname(script_main.BIN), "share", "ninfer", "default-plan.bin")
        if not os.path.exists(plan):
            self.skipTest("not built: " + plan)
        demo = os.path.join(script_main.ROOT, "models", "demo")
        self.assertEqual(self.run_program(plan, "Once upon a time"), self.run_program(demo, "Once upon a time"))

    def test_bad_input_is_one_line_and_status_2(self):
        gpt2 = os.path.join(ZOO, "gpt2")
        with tempfile.TemporaryDirectory() as folder:
            expected = {
                ("nowhere", "a"): "nowhere: expected a plan or a model folder, found nothing",
                (folder, "a"): folder + ": expected the files of a tokenizer, found none",
                (gpt2, "--decode", "1 x"): "--decode: expected token ids, found 'x'",
            }
            for arguments, message in expected.items():
                self.assertEqual(self.run_program(*arguments, status=2), "ninfer-tokenize: " + message + "\n")
            broken = os.path.join(folder, "tokenizer.json")
            with open(broken, "w", encoding="utf-8") as file:
                file.write("{")
            self.assertEqual(self.run_program(folder, "a", status=2), "ninfer-tokenize: %s: not valid JSON\n" % broken)
            unreadable = os.open(folder, os.O_RDONLY)
            done = subprocess.run([self.program, gpt2], stdin=unreadable, capture_output=True, text=True, check=False)
            os.close(unreadable)
            self.assertEqual((done.returncode, done.stderr),
                             (2, "ninfer-tokenize: standard input: cannot read: Is a directory\n"))
            for arguments in ((broken, "a"), (gpt2, "a", "--file", broken), (gpt2, "--certify", folder), ()):
                self.assertEqual(self.run_program(*arguments, status=2).count("\n"), 1, arguments)

    def test_a_cut_or_malformed_file_of_any_kind_is_one_line_that_names_it(self):
        pieces = [base64.b64encode(bytes([byte])).decode() for byte in range(256)]
        tekken = {"config": {"pattern": ".+", "default_vocab_size": 257, "default_num_special_tokens": 1},
                  "vocab": [{"rank": rank, "token_bytes": piece} for rank, piece in enumerate(pieces)]}
        with open(os.path.join(ZOO, "spm-bpe", "tokenizer.model"), "rb") as file:
            model = file.read()
        for name, whole in (("tokenizer.model", model), ("tekken.json", json.dumps(tekken).encode()),
                            ("x.tiktoken", "".join("%s %d\n" % pair for pair in zip(pieces, range(256))).encode())):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, name)
                spoilt = (b"", whole[:1], whole[:len(whole) // 2], whole[:-4], whole[::-1], b"\xff" * len(whole))
                for status, contents in ((0, whole), *((2, contents) for contents in spoilt)):
                    with open(path, "wb") as file:
                        file.write(contents)
                    with self.subTest(name=name, size=len(contents), start=contents[:9]):
                        said = self.run_program(folder, "a", status=status)
                        if status == 2:
                            self.assertRegex(said, "\\Aninfer-tokenize: %s: .*\n\\Z" % re.escape(path))

    def test_a_message_that_quotes_a_file_is_fit_for_a_terminal(self):
        with tempfile.TemporaryDirectory() as folder:
            def refusal(line):
                with open(os.path.join(folder, "vocab.json"), "wb") as file:
                    file.write(b"{}")
                with open(os.path.join(folder, "merges.txt"), "wb") as file:
                    file.write(line)
                return self.run_program(folder, "a", status=2).partition(": line 1: ")[2]
            self.assertEqual(refusal(b"\xff\x1b[2J\x00\xc3\xa9\xc2\x9b2J\n"),
                             "expected two pieces and a blank, found '\ufffd\\x1b[2J\\x00\u00e9\\x9b2J'\n")
            long = refusal(b"[" * 100000)
            self.assertLess(len(long), 4100)
            self.assertTrue(long.endswith("[[ ... [" + "[" * 998 + "'\n"), long[-20:])


if __name__ == "__main__":
    script_main.main()
