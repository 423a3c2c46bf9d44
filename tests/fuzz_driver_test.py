"""Tests the fuzz driver (tests/fuzz/driver.cc) on a parser with planted faults, and tools/keep_offender.py."""

import os
import subprocess
import sys
import tempfile
import unittest

import script_main


class FuzzDriver(unittest.TestCase):

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def run_driver(self, *arguments):
        program = os.path.join(os.path.dirname(script_main.BIN), "fuzz", "fault_fuzz")
        if not os.path.exists(program):
            self.skipTest("not built: " + program)
        return subprocess.run([program, "-artifact_prefix=" + self.folder + "/", *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors="replace", timeout=120, check=False)

    def expect_crash(self, data):
        done = self.run_driver(self.write("seed", data))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("fuzz: the input that failed was written to %s/crash-seed" % self.folder,
                      done.stderr)
        self.assertEqual(self.read("crash-seed"), data)

    def test_seeds_and_mutations_are_counted(self):
        self.write("seeds/a", b"one")
        self.write("seeds/deeper/b", b"two")
        done = self.run_driver("-runs=50", "-seed=3", os.path.join(self.folder, "seeds"))
        self.assertEqual((done.returncode, done.stdout), (0, "2 seeds and 50 mutations passed\n"))

    def test_an_abort_is_reported_with_its_input(self):
        self.expect_crash(b"abort")

    def test_a_null_pointer_is_reported_with_its_input(self):
        self.expect_crash(b"nullptr")

    def test_a_stack_overflow_is_reported_with_its_input(self):
        self.expect_crash(b"recurse")

    def test_a_huge_allocation_is_reported_with_its_input(self):
        self.expect_crash(b"allocate")

    def test_a_hang_is_reported_with_its_input(self):
        done = self.run_driver("-timeout=1", self.write("seed", b"hang"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("fuzz: one input ran past -timeout", done.stderr)
        self.assertEqual(self.read("crash-seed"), b"hang")

    def test_mutations_find_a_fault_and_the_same_seed_finds_the_same_one(self):
        seed = self.write("seed", b"mutate!")
        found = []
        for _ in range(2):
            done = self.run_driver("-runs=20000", "-seed=7", seed)
            self.assertNotEqual(done.returncode, 0)
            name = os.path.basename(done.stderr.strip().splitlines()[-1])
            found.append((name, self.read(name)))
        self.assertEqual(found[0], found[1])
        self.assertTrue(found[0][1].startswith(b"mutate"))
        self.assertEqual(self.run_driver("-runs=1", os.path.join(self.folder, found[0][0])).stdout,
                         "")

    def test_an_unknown_flag_a_bad_number_and_a_missing_file_are_refused(self):
        for argument, message in (("-jobs=2", "fuzz: -jobs=2: unknown flag\n"),
                                  ("-runs=many", "fuzz: -runs=many: expected a number\n"),
                                  ("/nowhere", "fuzz: /nowhere: not found\n")):
            done = self.run_driver(argument)
            self.assertEqual((done.returncode, done.stderr), (2, message))

    def test_a_kept_offender_is_read_back_byte_for_byte(self):
        script = os.path.join(script_main.ROOT, "tools", "keep_offender.py")
        crash = self.write("crash", b"\0\n\\~")
        kept = subprocess.run([sys.executable, "-B", script, crash, "fault_fuzz", "a NUL"],
                              stdout=subprocess.PIPE, text=True, check=True,
                              env=dict(os.environ, NINFER_OFFENDERS=self.folder)).stdout.strip()
        self.assertEqual(kept, os.path.join(self.folder, "fault_fuzz", "crash.offender"))
        done = self.run_driver(kept)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(self.read("crash-crash.offender"), b"\0\n\\~")
        absent = subprocess.run([sys.executable, "-B", script, "absent", "fault_fuzz", "x"], cwd=self.folder,
                                stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual((absent.returncode, absent.stderr),
                         (2, "keep_offender.py: absent: cannot read: No such file or directory\n"))
        # Every byte, and text at the width of a line.
        for data in (bytes(range(256)) * 3, b"# " + b"x " * 200, b"", b"#"):
            path = self.write("all", data)
            kept = subprocess.run([sys.executable, "-B", script, path, "fault_fuzz", "all"],
                                  stdout=subprocess.PIPE, text=True, check=True,
                                  env=dict(os.environ, NINFER_OFFENDERS=self.folder)).stdout.strip()
            lines = open(kept, encoding="ascii").read().split("\n")
            self.assertTrue(lines[0].startswith("# 2") and lines[0].endswith(": all"))
            body = "".join(lines[1:]).encode().decode("unicode_escape").encode("latin-1")
            self.assertEqual(body, data)
            self.assertEqual(self.run_driver(kept).returncode, 0)

    def test_an_offender_without_a_dated_reason_is_refused(self):
        path = self.write("x.offender", b"abort\n")
        done = self.run_driver(path)
        self.assertEqual(done.returncode, 2)
        self.assertIn("x.offender: expected a first line of `# year-month-day: reason`, found none",
                      done.stderr)

    def test_an_unknown_escape_in_an_offender_is_refused(self):
        path = self.write("x.offender", b"# 2025-01-31: an escape\na\\q\n")
        done = self.run_driver(path)
        self.assertEqual(done.returncode, 2)
        self.assertIn("x.offender: expected \\n, \\\\ or \\x and two digits, found \\q", done.stderr)


if __name__ == "__main__":
    script_main.main()
