"""Tests tools/compare_hf.py; beside transformers only where a Python has it (NINFER_TORCH_PYTHON, this one, or
bench/peers/install.sh's)."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import script_main

sys.path.insert(0, os.path.join(script_main.ROOT, "tools"))
import compare_hf

SCRIPT = compare_hf.__file__
DEMO = os.path.join(script_main.ROOT, "models", "demo")
WANTED = "torch, transformers"
PYTHON = script_main.python_with(WANTED, "NINFER_TORCH_PYTHON")


class CompareTest(unittest.TestCase):
    def compare(self, *arguments, python=sys.executable):
        program = os.path.join(script_main.BIN, "ninfer-run")
        done = subprocess.run([python, "-B", SCRIPT, "--program", program, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=600, check=False)
        return done.returncode, done.stdout, done.stderr

    def test_what_is_no_model_is_refused(self):
        self.assertEqual(self.compare("/nowhere"),
                         (2, "", "compare_hf.py: /nowhere: expected a model folder, found no config.json\n"))

    def without_transformers(self, python=None):
        """What the script says in a tree of its own, where `python` is what bench/peers/install.sh installed."""
        if script_main.can_import(sys.executable, WANTED):
            self.skipTest("this Python has transformers")
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, "tools"))
            script = shutil.copy(SCRIPT, os.path.join(root, "tools"))
            if python:
                path = os.path.join(root, "build", "peers", "torch", "bin", "python3")
                os.makedirs(os.path.dirname(path))
                with open(path, "w", encoding="utf-8") as file:
                    file.write(python)
                os.chmod(path, 0o755)
            done = subprocess.run([sys.executable, "-B", script, DEMO, "--max-tokens", "3"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=600, check=False)
            return done.returncode, done.stdout.replace(root, "ROOT"), done.stderr

    def test_a_python_without_transformers_is_told_where_to_find_one(self):
        status, out, error = self.without_transformers()
        self.assertEqual((status, out, error.count("\n")), (2, "", 1))
        self.assertIn("bench/peers/install.sh build/peers torch installs them", error)

    def test_a_python_without_transformers_hands_over_to_the_one_that_was_installed(self):
        self.assertEqual(self.without_transformers(python='#!/bin/sh\necho "$@"\nexit 7\n'),
                         (7, "-B ROOT/tools/compare_hf.py %s --max-tokens 3\n" % DEMO, ""))

    def layers(self, found, expected=(0, 1, 2, 3)):
        """What is said of numbers in place of rows: status, standard output and standard error."""
        out, error, status, report = io.StringIO(), io.StringIO(), 0, compare_hf.Report()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            try:
                compare_hf.compare_layers(found, expected, 3, lambda a, b: None if a == b else (7, abs(a - b)), report)
            except SystemExit as end:
                status = end.code
        return status or int(report.different), out.getvalue(), error.getvalue()

    def test_layers_that_are_alike_are_counted(self):
        every = {"hidden.0": 0, "hidden.1": 1, "hidden.2": 2, "hidden.3": 3}
        self.assertEqual(self.layers(every), (0, "layers     the same, 3 of 3 compared\n", ""))
        self.assertEqual(self.layers({"hidden.2": 2}), (0, "layers     the same, 1 of 3 compared\n", ""))
        self.assertEqual(self.layers(every, (0, 1, 2)), (0, "layers     the same, 2 of 3 compared\n", ""))

    def test_the_first_layer_that_differs_is_named(self):
        self.assertEqual(self.layers({"hidden.0": 0, "hidden.2": 4, "hidden.3": 5}),
                         (1, "layers     layer 1 differs first at position 7: 2.0e+00 of the largest value, 1 of 3 compared\n", ""))
        self.assertEqual(self.layers({"hidden.0": 1})[1],
                         "layers     the embeddings differ first at position 7: 1.0e+00 of the largest value, 0 of 3 compared\n")

    def test_where_no_layer_could_be_compared_none_is_called_the_same(self):
        for found in ({}, {"hidden.0": 0}, {"hidden.4": 0, "logits": 1}):
            self.assertEqual(self.layers(found),
                             (2, "", "compare_hf.py: layers: expected rows hidden.1 to hidden.3, found none of them\n"))

    def test_engines_are_compared_with_transformers(self):
        if PYTHON is None:
            self.skipTest("torch and transformers are not installed (NINFER_TORCH_PYTHON names a Python that has them)")
        same = "prompt ids the same\nlayers     the same, 6 of 6 compared\nlogits     the same\ntokens     the same\n"
        for engine in ("eager", "compiled"):
            self.assertEqual(self.compare(DEMO, "--engine", engine, python=PYTHON), (0, same, ""))
        # No two programs sum to the last bit alike: asked for that, it must find where they part.
        status, out, _ = self.compare(DEMO, "--tolerance=1e-12", python=PYTHON)
        self.assertEqual(status, 1)
        self.assertRegex(out, "layers     layer [0-9]+ differs first at position [0-9]+: .*, [0-9] of 6 compared")
        self.assertIn("logits     differ first at position ", out)


if __name__ == "__main__":
    script_main.main()
