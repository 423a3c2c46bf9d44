"""Tests plans for CUDA cards as a user has them, with the host shim in place of the driver and of NVRTC: compiled, inspected,
chosen by --device, run to the CPU's text, and refused in one line."""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

import script_main

DRAFT = os.path.join(script_main.ROOT, "models", "demo-draft")
PROMPT = "Once upon a time"


def program(name):
    return os.path.join(script_main.BIN, name)


def library(name):
    return os.path.join(os.path.dirname(script_main.BIN), "lib", "libninfer-shim-%s.so" % name)


def read_logits(path):
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack_from("<H", data, 8)
    return struct.unpack("<%df" % ((len(data) - 10 - length) // 4), data[10 + length:])


class CudaRunTest(unittest.TestCase):
    """A plan for the CPU and for cards, and one for cards alone."""

    @classmethod
    def setUpClass(cls):
        for path in (program("ninfer-run"), program("ninfer-compile"), library("cuda"), library("nvrtc")):
            if not os.path.exists(path):
                raise unittest.SkipTest("not built: " + path)
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = cls.temporary.name
        cls.environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(cls.folder, "cache"),
                               NINFER_CUDA_DRIVER=library("cuda"), NINFER_NVRTC=library("nvrtc"))
        cls.both, cls.cards = cls.path("both.plan"), cls.path("cards.plan")
        cls.said = {}
        for plan, target in ((cls.both, "native,cuda:sm_90"), (cls.cards, "cuda:sm_90")):
            done = cls.run_program("ninfer-compile", DRAFT, "-o", plan, "--target=" + target, "--weights=f32")
            if done.returncode != 0:
                raise AssertionError(done.stderr)
            cls.said[plan] = done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def run_program(cls, name, *arguments, **environment):
        return subprocess.run([program(name), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=600, check=False,
                              env=dict(cls.environment, **environment))

    def run_json(self, *arguments, **environment):
        done = self.run_program("ninfer-run", *arguments, "--json", "--temperature=0", **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def expect_refusal(self, message, *arguments, name="ninfer-run", **environment):
        done = self.run_program(name, *arguments, **environment)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, message)

    def test_a_card_gives_the_ids_of_the_golden_and_so_does_the_cpu(self):
        with open(os.path.join(DRAFT, "golden.json"), encoding="utf-8") as file:
            golden = json.load(file)["greedy_ids"]
        for plan, device, engine in ((self.both, "auto", "cuda:0"), (self.cards, "cuda:0", "cuda:0"),
                                     (self.both, "cpu", "thread")):
            found = self.run_json(plan, "--prompt", PROMPT, "--max-tokens=24", "--device", device)
            self.assertEqual(found["prompt_ids"] + found["ids"], golden[:len(found["prompt_ids"]) + 24], device)
            self.assertIn(engine, found["engine"])

    def test_logits_are_the_cpus_however_the_prompt_is_cut(self):
        ids = ",".join(str(i * 37 % 900 + 1) for i in range(75))
        logits = {}
        for device, chunk in (("cpu", 100), ("cuda", 100), ("cuda", 7)):
            path = self.path("%s%d.npy" % (device, chunk))
            self.run_json(self.both, "--device", device, "--prompt-ids", ids, "--max-tokens=3", "--ignore-eos",
                          "--chunk", str(chunk), "--logits", path)
            logits[device, chunk] = read_logits(path)
        expected = logits.pop(("cpu", 100))
        bound = 1e-5 * max(abs(value) for value in expected)
        for name, found in logits.items():
            self.assertEqual(len(found), len(expected))
            self.assertLess(max(abs(a - b) for a, b in zip(found, expected)), bound, name)

    def test_evidence_is_gathered_where_the_code_can_run(self):
        self.assertIn("against the code for sm_90", self.said[self.cards])
        done = self.run_program("ninfer-compile", DRAFT, "-o", self.path("blind.plan"), "--target=cuda:sm_90",
                                NINFER_CUDA_DRIVER="/nothing")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("evidence: none, for want of a card that runs the code: CUDA: expected NVIDIA's driver, found no "
                      "/nothing", done.stderr)

    def test_a_plan_for_both_has_its_weights_twice_and_says_so(self):
        sizes = re.search(r"weights: (\d+) bytes for CPUs and (\d+) for cards", self.said[self.both])
        self.assertIsNotNone(sizes, self.said[self.both])
        self.assertGreater(os.path.getsize(self.both), int(sizes[1]) + int(sizes[2]))
        self.assertGreaterEqual(os.path.getsize(self.both), os.path.getsize(self.cards) + int(sizes[1]))

    def test_a_folder_is_compiled_for_the_card_that_is_named(self):
        found = self.run_json(DRAFT, "--weights=f32", "--device=cuda", "--prompt", PROMPT, "--max-tokens=4")
        self.assertIn("sm_90, cuda:0 (host shim)", found["engine"])
        again = self.run_json(DRAFT, "--weights=f32", "--device=cuda", "--prompt", PROMPT, "--max-tokens=4")
        self.assertEqual(again["ids"], found["ids"])

    def test_inspect_shows_functions_weights_and_source(self):
        done = self.run_program("ninfer-inspect", self.cards, "--section=cards")
        self.assertRegex(done.stdout, r"(?m)^sm_90: \d+ bytes of code$")
        self.assertRegex(done.stdout, r"(?m)^T <= 1 +\[\d+\] \[1\] of 256 threads +linear_")
        source = self.run_program("ninfer-inspect", self.cards, "--section=cuda").stdout
        self.assertIn('extern "C" __global__ void', source)
        self.assertEqual(self.run_program("ninfer-inspect", self.cards).returncode, 0)

    def test_devices_are_listed(self):
        done = self.run_program("ninfer-run", "--list-devices")
        self.assertRegex(done.stdout, r"\Acpu     \d+ threads\ncuda:0  host shim, sm_90, 4.0 GiB, 4.0 of them free\n\Z")
        done = self.run_program("ninfer-run", "--list-devices", NINFER_CUDA_DRIVER="/nothing")
        self.assertIn("cuda    none: CUDA: expected NVIDIA's driver, found no /nothing\n", done.stdout)
        done = self.run_program("ninfer-run", "--list-devices", NINFER_SHIM_CARDS="0")
        self.assertIn("cuda    none: the driver finds no card\n", done.stdout)

    def test_what_no_device_can_run_is_refused(self):
        self.expect_refusal("--device: cuda:3: expected one of this machine's cards, of which the driver finds 1",
                            self.both, "--device=cuda:3")
        self.expect_refusal('--device: expected auto, cpu, cuda or cuda:N, found "gpu"', self.both, "--device=gpu")
        self.expect_refusal("the plan has code for CUDA cards alone; found --device=cpu", self.cards, "--device=cpu")
        self.expect_refusal("the plan has code for CUDA cards alone; CUDA: expected NVIDIA's driver, found no /nothing",
                            self.cards, NINFER_CUDA_DRIVER="/nothing")
        self.expect_refusal(r"cuda:0 \(host shim\): expected code for sm_80, found sm_90", self.cards,
                            "--device=cuda", NINFER_SHIM_CAPABILITY="80")
        self.expect_refusal("--dump-tensors: expected --device=cpu, found cuda:0", self.cards, "--dump-tensors=x",
                            "--dump-to", self.path("x.safetensors"))
        self.expect_refusal("--device: expected cpu with --engine=eager, found cuda:0", DRAFT, "--engine=eager",
                            "--device=cuda")

    def test_an_older_code_of_the_generation_runs_and_the_cpu_takes_what_no_card_does(self):
        found = self.run_json(self.cards, "--max-tokens=2", NINFER_SHIM_CAPABILITY="91")
        self.assertIn("sm_90, cuda:0", found["engine"])
        found = self.run_json(self.both, "--max-tokens=2", NINFER_SHIM_CAPABILITY="120")
        self.assertIn("thread", found["engine"])

    def test_memory_that_does_not_suffice_is_refused_with_what_would_fit(self):
        self.expect_refusal(r"cuda:0 \(host shim\): expected 69\.\d MB of free memory \(weights 0\.6 MB, cache 0\.5 MB, "
                            r"scratch 0\.9 MB\), found 68\.9 MB; a context of \d+ would fit \(--context\)",
                            self.cards, NINFER_SHIM_MEMORY="68900000")
        self.expect_refusal("found 0.0 MB; weights and scratch alone are more", self.cards, NINFER_SHIM_MEMORY="1000")

    def test_the_bench_of_cards_writes_its_table_and_needs_a_card(self):
        command = [sys.executable, os.path.join(script_main.ROOT, "bench", "cuda", "all"), "--bin", script_main.BIN,
                   "--model", DRAFT, "--weights=bf16,int4", "--new=4", "--prompt=20", "--repeat=2", "--out", self.folder,
                   "--python=/nothing"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600, check=False,
                              env=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        for weights in ("bf16", "int4"):
            self.assertRegex(done.stdout, r"(?m)^\| demo-draft %s \| [\d.]+ \| 0\.\d \| \d+%% \| \d+ \| not measured \| "
                             r"not run \| yes \|$" % weights)
        with open(self.path("figures.json"), encoding="utf-8") as file:
            self.assertEqual([case["name"] for case in json.load(file)], ["demo-draft bf16", "demo-draft int4"])
        self.assertTrue(os.path.getsize(self.path("figures.svg")) > 500)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                              env=dict(self.environment, NINFER_SHIM_CARDS="0"))
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr, "bench/cuda/all: cuda    none: the driver finds no card\n")

    def test_targets_that_are_none_are_refused(self):
        self.expect_refusal("--target: cuda: expected sm_80, .*, found sm_12", DRAFT, "-o", self.path("x"),
                            "--target=cuda:sm_12", name="ninfer-compile")
        self.expect_refusal("NVRTC: expected a CUDA toolkit, .*, found none", DRAFT, "-o", self.path("x"),
                            "--target=cuda", name="ninfer-compile", NINFER_NVRTC="/nothing")
        self.assertFalse(os.path.exists(self.path("x")))


if __name__ == "__main__":
    script_main.main()
