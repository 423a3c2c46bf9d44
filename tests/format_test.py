"""Every C++ file is laid out as .clang-format says. Mend with: clang-format -i FILE

The layout differs a little from one major version of clang-format to the next, so only Debian 12's counts; with another
one, or with none, the test is skipped.
"""

import re
import shutil
import subprocess
import unittest

import house
import script_main

VERSION = 14


def find_clang_format():
    """The program and why there is none."""
    for name in ("clang-format-%d" % VERSION, "clang-format"):
        program = shutil.which(name)
        if program is None:
            continue
        printed = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
        found = re.search(r"version (\d+)", printed)
        if found and int(found.group(1)) == VERSION:
            return program, ""
    return None, "clang-format %d was not found" % VERSION


class FormatTest(unittest.TestCase):

    def setUp(self):
        self.program, why = find_clang_format()
        if self.program is None:
            self.skipTest(why)

    def check(self, arguments, text=None):
        return subprocess.run([self.program, "--dry-run", "-Werror", *arguments], cwd=script_main.ROOT, input=text,
                              stderr=subprocess.PIPE, text=True, check=False)

    def test_every_file_is_formatted(self):
        files = sorted(house.Tree(script_main.ROOT).with_suffix((".cc", ".h")))
        self.assertGreater(len(files), 0)
        done = self.check(["--ferror-limit=1", *files])
        lines = [line for line in done.stderr.split("\n") if "error:" in line]
        self.assertEqual(done.returncode, 0, "\n".join(["clang-format would change:"] + lines))

    def test_a_badly_formatted_file_is_found(self):
        self.assertNotEqual(self.check(["--assume-filename=ir/a.cc"], "int  x ;\n").returncode, 0)


if __name__ == "__main__":
    script_main.main()
