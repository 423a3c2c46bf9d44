"""Runs ninfer-run on CPUs that lack what this one has, as qemu emulates them: a plan's code is chosen by what the CPU has,
and where it has none of what the plan's code needs the plan is refused, or gets other code."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import script_main

DEMO = os.path.join(script_main.ROOT, "models", "demo")
QEMU = shutil.which("qemu-x86_64")
MISSING = "qemu-x86_64 is not installed (Debian's qemu-user)"


def program(name):
    return os.path.join(script_main.BIN, name)


@unittest.skipUnless(QEMU, MISSING)
class LesserCpuTest(unittest.TestCase):
    """Two compiled plans for all cases."""

    @classmethod
    def setUpClass(cls):
        for name in ("ninfer-run", "ninfer-compile"):
            if not os.path.exists(program(name)):
                raise unittest.SkipTest("not built: " + name)
        with open(program("ninfer-run"), "rb") as file:
            data = file.read()
        if b"__asan_init" in data or b"__tsan_init" in data:
            raise unittest.SkipTest("built for a sanitiser")
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = temporary.name
        cls.environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(cls.folder, "cache"))
        for name, targets in (("all.bin", "x86-64-v4,x86-64-v3,x86-64"), ("wide.bin", "x86-64-v4")):
            subprocess.run([program("ninfer-compile"), DEMO, "-q", "--target=" + targets, "-o",
                            os.path.join(cls.folder, name)], check=True)
        with open(os.path.join(DEMO, "golden.json"), encoding="utf-8") as file:
            cls.golden = json.load(file)["greedy_ids"]

    def run_on(self, cpu, plan, *flags, binary=None):
        command = [QEMU, "-cpu", cpu, binary or program("ninfer-run"), os.path.join(self.folder, plan), "--temperature=0",
                   "--prompt", "Once upon a time", "--max-tokens=8", "--threads=1", "--json", *flags]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=600, check=False, env=self.environment)
        # Without what the emulator itself says, of features that no test is about.
        done.stderr = re.sub(r"(?m)^qemu-x86_64: warning: .*\n", "", done.stderr)
        return done

    def expect_ids(self, done, target):
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertRegex(found["engine"], r"\b%s(?![-\w])" % target)
        ids = found["prompt_ids"] + found["ids"]
        self.assertEqual(ids, self.golden[:len(ids)])

    def test_the_plans_best_code_for_the_cpu_runs(self):
        for cpu, target in (("Haswell", "x86-64-v3"), ("Nehalem", "x86-64"), ("qemu64", "x86-64")):
            with self.subTest(cpu=cpu):
                self.expect_ids(self.run_on(cpu, "all.bin"), target)

    def test_without_the_compiler_a_plan_that_has_no_code_for_the_cpu_is_refused(self):
        alone = os.path.join(self.folder, "bin", "ninfer-run")
        os.makedirs(os.path.dirname(alone))
        shutil.copy(program("ninfer-run"), alone)
        for cpu in ("Haswell", "Nehalem"):
            with self.subTest(cpu=cpu):
                done = self.run_on(cpu, "wide.bin", binary=alone)
                self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
                self.assertRegex(done.stderr, "^ninfer-run: .*code for x86-64-v4 needs .*avx512f.*, which this CPU lacks")

    def test_with_the_compiler_it_gets_other_code(self):
        if not os.path.exists(os.path.join(os.path.dirname(script_main.BIN), "lib", "libninfer-compiler.so")):
            self.skipTest("not built: libninfer-compiler.so")
        done = self.run_on("Nehalem", "wide.bin")
        self.expect_ids(done, "x86-64")
        self.assertRegex(done.stderr,
                         r"code for x86-64-v4 needs .*, which this CPU lacks; generating code anew\n$")


if __name__ == "__main__":
    script_main.main()
