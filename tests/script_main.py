"""What the tests that are scripts share: the --bin flag, the report of each case, and status 77 where none could run."""

import argparse
import os
import shutil
import subprocess
import sys
import unittest
import xml.sax.saxutils

SKIPPED = 77
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build", "bin")
PEERS = os.path.join(ROOT, "build", "peers", "torch", "bin", "python3")  # of bench/peers/install.sh


def can_import(python, modules):
    return shutil.which(python) and subprocess.run([python, "-c", "import " + modules], check=False,
                                                     stderr=subprocess.DEVNULL).returncode == 0


def python_with(modules, variable):
    """The Python that an environment variable names, else this one, else that of bench/peers/install.sh; None where it
    cannot import the modules."""
    named = os.environ.get(variable)
    return next((python for python in ([named] if named else [sys.executable, PEERS]) if can_import(python, modules)), None)


class Result(unittest.TextTestResult):
    """Keeps what became of each case, for a report like those of gtest (see tests/summary.py)."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.cases = {}

    def startTest(self, test):
        super().startTest(test)
        self.cases[test.id()] = ""

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.cases[test.id()] = "<skipped message=%s/>" % xml.sax.saxutils.quoteattr(reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.cases[test.id()] = "<failure/>"

    def addError(self, test, err):
        super().addError(test, err)
        self.cases[test.id()] = "<failure/>"

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.cases[test.id()] = "<failure/>"

    def write(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write("<testsuites>\n")
            for name, outcome in self.cases.items():
                file.write('<testcase name=%s status="run">%s</testcase>\n'
                           % (xml.sax.saxutils.quoteattr(name), outcome))
            file.write("</testsuites>\n")


def main():
    """Runs the unittest cases of the calling script; --bin names the folder of the built programs."""
    global BIN
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=BIN)
    options, rest = parser.parse_known_args()
    BIN = os.path.abspath(options.bin)
    runner = unittest.TextTestRunner(resultclass=Result)
    result = unittest.main(module="__main__", argv=[sys.argv[0]] + rest, exit=False, testRunner=runner).result
    report = os.environ.get("GTEST_OUTPUT", "").partition("xml:")[2]
    if report:
        result.write(report)
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun == len(result.skipped) > 0:
        sys.exit(SKIPPED)
