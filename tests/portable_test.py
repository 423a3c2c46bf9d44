"""Builds the preset `portable` and tries it: programs that need the C library alone and, without LLVM, compile for CUDA."""

import os
import re
import subprocess
import tempfile
import unittest

import script_main

BIN = os.path.join(script_main.ROOT, "build-portable", "bin")
DRAFT = os.path.join(script_main.ROOT, "models", "demo-draft")


def library(name):
    return os.path.join(os.path.dirname(script_main.BIN), "lib", "libninfer-shim-%s.so" % name)


class PortableTest(unittest.TestCase):
    """What a machine with a card and nothing installed is given."""

    @classmethod
    def setUpClass(cls):
        done = subprocess.run([os.path.join(script_main.ROOT, "tools", "build.sh"), "portable", "programs"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stderr[-4000:])
        cls.temporary = tempfile.TemporaryDirectory()
        cls.plan = os.path.join(cls.temporary.name, "p.plan")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def run_program(self, name, *arguments):
        environment = dict(os.environ, NINFER_CUDA_DRIVER=library("cuda"), NINFER_NVRTC=library("nvrtc"))
        return subprocess.run([os.path.join(BIN, name), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, env=environment)

    def expect_refusal(self, message, *arguments):
        done = self.run_program(*arguments)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", "%s: %s\n" % (arguments[0], message)))

    def test_programs_need_the_c_library_alone_and_are_small(self):
        total = 0
        for name in ("ninfer-compile", "ninfer-run", "ninfer-inspect"):
            path = os.path.join(BIN, name)
            needed = subprocess.run(["readelf", "-d", path], stdout=subprocess.PIPE, text=True, check=True).stdout
            libraries = re.findall(r"\(NEEDED\).*\[(.*)\]", needed)
            self.assertEqual([one for one in libraries if not re.match(r"lib[cm]\.so|ld-linux", one)], [], name)
            total += os.path.getsize(path)
        self.assertLess(total, 64 << 20)

    def test_a_model_is_compiled_for_cards_without_llvm_and_runs(self):
        done = self.run_program("ninfer-compile", DRAFT, "-o", self.plan, "--target=cuda:sm_90", "--weights=f32")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("against the code for sm_90", done.stderr)
        done = self.run_program("ninfer-run", self.plan, "--prompt", "Once upon a time", "--temperature=0",
                                "--max-tokens=5")
        self.assertEqual(done.stdout, "Once upon a time, there was a shy\n", done.stderr)

    def test_what_the_build_lacks_is_refused_by_name(self):
        self.expect_refusal("--target: expected cuda, for this build has no LLVM, found a CPU", "ninfer-compile", DRAFT,
                            "-o", self.plan + "x")
        self.expect_refusal("hf:a/b: expected a folder, for this build has no network", "ninfer-compile", "hf:a/b",
                            "-o", self.plan + "x", "--target=cuda:sm_90")


if __name__ == "__main__":
    script_main.main()
