"""Tests ninfer-inspect on a plan of the bundled model."""

import os
import re
import subprocess
import tempfile
import unittest

import script_main

DEMO = os.path.join(script_main.ROOT, "models", "demo")
SECTIONS = ("model", "vision", "symbols", "entries", "passes", "imported", "graph", "program", "launches", "buffers", "cache",
            "weights", "code", "cards", "cuda", "lines", "evidence", "provenance")


class InspectTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        for name in ("bin/ninfer-inspect", "bin/ninfer-run", "lib/libninfer-compiler.so"):
            if not os.path.exists(os.path.join(os.path.dirname(script_main.BIN), name)):
                raise unittest.SkipTest("not built: " + name)
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        environment = dict(os.environ, XDG_CACHE_HOME=cls.temporary.name)
        subprocess.run([os.path.join(script_main.BIN, "ninfer-run"), DEMO, "--max-tokens=1"], env=environment, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        folder = os.path.join(cls.temporary.name, "ninfer")
        cls.plan = os.path.join(folder, os.listdir(folder)[0])

    def inspect(self, *arguments):
        return subprocess.run([os.path.join(script_main.BIN, "ninfer-inspect"), *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    def section(self, name):
        done = self.inspect(self.plan, "--section=" + name)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_every_section_is_printed_under_its_name(self):
        done = self.inspect(self.plan)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        headings = [line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("=== ")]
        self.assertEqual(headings, list(SECTIONS))

    def test_each_section_can_be_printed_alone(self):
        whole = self.inspect(self.plan).stdout
        for name in SECTIONS:
            text = self.section(name)
            self.assertGreater(len(text), 0, name)
            self.assertIn(text.rstrip("\n"), whole)

    def test_sections_say_what_they_should(self):
        for name, words in (("model", ["vocabulary       1101", "end ids          0, 2", "content digest"]),
                            ("symbols", ["T in [1, "]),
                            ("entries", ["step(tokens, positions", "lower bound"]),
                            ("passes", ["kv-cache", "plan-buffers"]),
                            ("imported", ["func @step"]),
                            ("graph", ["func @step"]),
                            ("launches", ["barrier", "tokens", "kv.5"]),
                            ("buffers", ["launches 0 to", "reuses"]),
                            ("cache", ["layer 5", "64 positions", "no window: layers 0 1 2 3 4 5,", "as long as the context"]),
                            ("weights", ["panel", " bytes"]),
                            ("code", ["stack 0", "launches", "needs "]),
                            ("lines", ["linear_", "0  line ", "%0 = linear %x, %w"]),
                            ("evidence", ["largest error"]),
                            ("provenance", ["compiler 0."])):
            text = self.section(name)
            for each in words:
                self.assertIn(each, text, name)

    def test_the_peak_is_of_arena_and_replicas_and_not_below_its_bound(self):
        found = re.search(r"  peak (\d+) bytes of one thread, lower bound (\d+): arena (\d+), replicas (\d+) a thread\n",
                          self.section("entries"))
        self.assertIsNotNone(found)
        peak, bound, arena, replicas = map(int, found.groups())
        self.assertEqual(peak, arena + replicas)
        self.assertGreaterEqual(peak, bound)
        self.assertGreater(bound, 0)

    def test_bytes_are_printed_with_offsets(self):
        text = self.inspect(self.plan, "--bytes").stdout
        self.assertIn("       0      8  bytes magic = \"\\x89NINFER\\n\"\n", text)
        self.assertIn("section weight data, version 1, must be understood", text)
        self.assertIn("u8    entries[0].launches[0].operands[0].kind = ", text)

    def test_bad_input_gets_one_line(self):
        for arguments, message in (((self.plan, "--section=soul"),
                                    "--section: expected one of %s, found soul" % ", ".join(SECTIONS)),
                                   (("/nowhere",), "/nowhere: cannot open: No such file or directory"),
                                   (("/dev/null",), "/dev/null: not a plan: not a regular file")):
            done = self.inspect(*arguments)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", "ninfer-inspect: %s\n" % message))
        self.assertEqual(self.inspect().returncode, 2)


if __name__ == "__main__":
    script_main.main()
