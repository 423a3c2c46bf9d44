"""Tests `cmake --install`: what it copies runs from its new place."""

import os
import subprocess
import tempfile
import unittest

import script_main

DEMO = os.path.join(script_main.ROOT, "models", "demo")


class InstallTest(unittest.TestCase):

    def test_installed_programs_find_the_compiler_and_the_bundled_plan(self):
        build = os.path.dirname(script_main.BIN)
        for part in ("bin/ninfer-bench", "bin/ninfer-opt", "lib/libninfer-compiler.so", "share/ninfer/default-plan.bin"):
            if not os.path.exists(os.path.join(build, part)):
                self.skipTest("not built: " + part)
        with tempfile.TemporaryDirectory() as prefix:
            subprocess.run(["cmake", "--install", build, "--prefix", prefix], stdout=subprocess.DEVNULL, check=True)
            self.assertEqual(sorted(os.listdir(prefix)), ["bin", "lib", "share"])
            self.assertEqual(sorted(os.listdir(os.path.join(prefix, "bin"))),
                             ["ninfer-bench", "ninfer-compile", "ninfer-inspect", "ninfer-opt", "ninfer-run",
                              "ninfer-tokenize"])
            texts = [subprocess.run([os.path.join(prefix, "bin", "ninfer-run"), *model, "--prompt", "Once upon a time",
                                     "--temperature=0", "--max-tokens=8"], stdin=subprocess.DEVNULL, text=True,
                                    stdout=subprocess.PIPE, timeout=300, check=True).stdout
                     for model in ([], [DEMO, "--no-cache"])]
        self.assertTrue(texts[0].startswith("Once upon a time"), texts[0])
        self.assertEqual(texts[0], texts[1])


if __name__ == "__main__":
    script_main.main()
