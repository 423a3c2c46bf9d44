"""Runs the commands of the README's first screen, as they stand there."""

import os
import re
import subprocess
import tempfile
import unittest

import script_main


def commands():
    with open(os.path.join(script_main.ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    block = re.search(r"## Four commands\n\n```sh\n(.*?)```", text, re.DOTALL).group(1)
    return [line.partition("#")[0].strip() for line in block.splitlines()]


class ReadmeTest(unittest.TestCase):

    def not_ignored(self, names):
        """Those of the names that git would show at the root of the tree as untracked files."""
        with open(os.path.join(script_main.ROOT, ".gitignore"), encoding="utf-8") as file:
            ignored = [line.strip().strip("/") for line in file]
        return [name for name in names if name not in ["build", "models"] + ignored]

    def test_the_four_commands_do_what_they_say(self):
        path, *found = commands()
        self.assertEqual(path, "export PATH=$PWD/build/bin:$PATH")
        self.assertEqual([line.split()[0] for line in found],
                         ["ninfer-compile", "ninfer-run", "ninfer-compile", "ninfer-bench"])
        for line in found:
            program = os.path.join(script_main.BIN, line.split()[0])
            if not os.path.exists(program):
                self.skipTest("not built: " + line.split()[0])
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(os.path.join(script_main.ROOT, "models"), os.path.join(folder, "models"))
            os.symlink(os.path.dirname(script_main.BIN), os.path.join(folder, "build"))
            outputs = []
            for line in found:
                done = subprocess.run(path + "\n" + line, shell=True, cwd=folder, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
                self.assertEqual(done.returncode, 0, line + "\n" + done.stderr)
                outputs.append(done.stdout)
            self.assertTrue(outputs[1].startswith("Once upon a time"), outputs[1])
            self.assertIn("index.txt", os.listdir(os.path.join(folder, "dump")))
            self.assertEqual(self.not_ignored(os.listdir(folder)), [])
            for cell in ("eager", "compiled", "cache", "naive", "flash"):
                self.assertIn(cell, outputs[3])


if __name__ == "__main__":
    script_main.main()
