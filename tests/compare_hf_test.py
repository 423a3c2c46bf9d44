"""Tests tools/compare_hf.py; beside transformers only where NINFER_TORCH_PYTHON or bench/peers/install.sh has one."""

import os
import subprocess
import sys
import unittest

import script_main

SCRIPT = os.path.join(script_main.ROOT, "tools", "compare_hf.py")
DEMO = os.path.join(script_main.ROOT, "models", "demo")
PYTHON = os.environ.get("NINFER_TORCH_PYTHON",
                        os.path.join(script_main.ROOT, "build", "peers", "torch", "bin", "python3"))


def has_transformers(python):
    return os.path.exists(python) and subprocess.run([python, "-c", "import torch, transformers"], check=False,
                                                     stderr=subprocess.DEVNULL).returncode == 0


class CompareTest(unittest.TestCase):
    def compare(self, *arguments, python=sys.executable):
        program = os.path.join(script_main.BIN, "ninfer-run")
        done = subprocess.run([python, "-B", SCRIPT, "--program", program, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=600, check=False)
        return done.returncode, done.stdout, done.stderr

    def test_what_is_no_model_is_refused(self):
        self.assertEqual(self.compare("/nowhere"),
                         (2, "", "compare_hf.py: /nowhere: expected a model folder, found no config.json\n"))

    def test_a_python_without_transformers_is_told_where_to_find_one(self):
        if has_transformers(sys.executable):
            self.skipTest("this Python has transformers")
        status, out, error = self.compare(DEMO)
        self.assertEqual((status, out, error.count("\n")), (2, "", 1))
        self.assertIn("bench/peers/install.sh installs them", error)

    def test_engines_are_compared_with_transformers(self):
        if not has_transformers(PYTHON):
            self.skipTest("torch and transformers are not installed (NINFER_TORCH_PYTHON names a Python that has them)")
        same = "prompt ids the same\nlayers     the same\nlogits     the same\ntokens     the same\n"
        for engine in ("eager", "compiled"):
            self.assertEqual(self.compare(DEMO, "--engine", engine, python=PYTHON), (0, same, ""))
        # No two programs sum to the last bit alike: asked for that, it must find where they part.
        status, out, _ = self.compare(DEMO, "--tolerance=1e-12", python=PYTHON)
        self.assertEqual(status, 1)
        self.assertRegex(out, "layers     layer [0-9]+ differs first at position [0-9]+: ")
        self.assertIn("logits     differ first at position ", out)


if __name__ == "__main__":
    script_main.main()
