"""Tests tools/setup.sh with made-up package programs, the flags of ./test, and the count that ends it."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import script_main

NEEDED = ["bash", "env", "grep", "id", "mktemp", "rm", "tail"]


class SetupTest(unittest.TestCase):
    """setup.sh sees nothing but the programs of one folder."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name
        for name in NEEDED:
            os.symlink(shutil.which(name), os.path.join(self.folder, name))
        self.calls = os.path.join(self.folder, "calls")

    def program(self, name, body):
        path = os.path.join(self.folder, name)
        if os.path.lexists(path):
            os.remove(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!%s\n%s\n" % (shutil.which("bash"), body))
        os.chmod(path, 0o755)

    def packages(self, missing):
        self.program("dpkg-query", 'case " %s " in *" ${*: -1} "*) exit 1 ;; *) printf installed ;; esac' % missing)

    def run_setup(self):
        script = os.path.join(script_main.ROOT, "tools", "setup.sh")
        environment = {"PATH": self.folder, "TMPDIR": self.folder}
        done = subprocess.run([os.path.join(self.folder, "bash"), script], env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.stdout, "")
        called = ""
        if os.path.exists(self.calls):
            with open(self.calls, encoding="utf-8") as file:
                called = file.read()
        left = [name for name in os.listdir(self.folder) if name.startswith("tmp.")]
        self.assertEqual(left, [])
        return done.returncode, done.stderr, called

    def apt(self, status="0", printed=""):
        self.program("id", "echo 0")
        self.program("apt-get", 'echo "$DEBIAN_FRONTEND $*" >>%s\n%s\nexit %s' % (self.calls, printed, status))

    def test_a_machine_that_has_all_is_left_alone(self):
        self.packages(missing="")
        self.apt()
        self.assertEqual(self.run_setup(), (0, "", ""))

    def test_only_what_is_missing_is_installed_after_an_update(self):
        self.packages(missing="ccache gdb")
        self.apt()
        status, said, called = self.run_setup()
        self.assertEqual((status, said), (0, "setup: installing ccache gdb\n"))
        self.assertEqual(called, "noninteractive -qq update\n"
                                 "noninteractive -qq install -y --no-install-recommends ccache gdb\n")

    def test_another_user_than_root_installs_through_sudo(self):
        self.packages(missing="ccache")
        self.apt()
        self.program("id", "echo 1000")
        self.program("sudo", 'echo sudo >>%s\nexec "$@"' % self.calls)
        status, _, called = self.run_setup()
        self.assertEqual((status, called.split("\n")[0]), (0, "sudo"))

    def test_neither_root_nor_sudo_is_one_clear_line(self):
        self.packages(missing="ccache")
        self.apt()
        self.program("id", "echo 1000")
        self.assertEqual(self.run_setup(), (1, "setup: root or sudo is needed to install packages; "
                                               "the packages that are missing: ccache\n", ""))

    def test_a_machine_without_apt_is_one_clear_line(self):
        self.packages(missing="ccache gdb")
        self.assertEqual(self.run_setup(), (1, "setup: apt-get was not found (Debian 12 is expected); "
                                               "the packages that are missing: ccache gdb\n", ""))

    def test_a_failure_of_apt_is_told_with_its_reason(self):
        self.packages(missing="ccache")
        self.apt(status="100", printed="echo 'E: no network'; echo 'more'")
        status, said, _ = self.run_setup()
        self.assertEqual((status, said.split("\n")[1]),
                         (1, "setup: apt-get update failed (E: no network); the packages that are missing: ccache"))


class TestFlagsTest(unittest.TestCase):

    def expect_refusal(self, arguments, message):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([os.path.join(script_main.ROOT, "test"), *arguments], cwd=folder, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", message))

    def test_an_unknown_flag_is_refused(self):
        for word in ("--fast", "--full=some"):
            self.expect_refusal([word], "test: expected --full, --full=release|asan|tsan or -R REGEX, found %s\n" % word)

    def test_a_filter_without_its_expression_is_refused(self):
        self.expect_refusal(["-R"], "test: -R: expected a regular expression, found nothing\n")


class UsageTest(unittest.TestCase):
    """Scripts that build say how they are called before they build anything."""

    def run_script(self, script, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.run([os.path.join(script_main.ROOT, script), *arguments], cwd=folder, text=True, timeout=20,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)

    def test_help_is_printed_at_once(self):
        for script in ("demo", "test", "tools/fuzz"):
            for flag in ("-h", "--help"):
                done = self.run_script(script, flag)
                self.assertEqual((done.returncode, done.stderr), (0, ""), script)
                self.assertIn(script, done.stdout)

    def test_what_is_no_target_is_refused_at_once(self):
        self.assertEqual(self.run_script("demo", "--fast").stderr, "demo: expected no arguments, found --fast\n")
        done = self.run_script("tools/fuzz", "--fast")
        self.assertEqual((done.returncode, done.stderr.split()[0]), (2, "usage:"))


class BuildTest(unittest.TestCase):
    """tools/build.sh with a made-up cmake, whose output is no terminal's."""

    def build(self, cmake):
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, "tools"))
            script = shutil.copy(os.path.join(script_main.ROOT, "tools", "build.sh"), os.path.join(root, "tools"))
            for path, body in (("tools/setup.sh", "exit 0"), ("cmake", 'case $1 in --build) %s ;; esac' % cmake)):
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write("#!/usr/bin/env bash\n%s\n" % body)
                os.chmod(os.path.join(root, path), 0o755)
            environment = dict(os.environ, PATH=root + os.pathsep + os.environ["PATH"])
            done = subprocess.run([script, "release"], env=environment, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.stdout, "")
        return done.returncode, done.stderr

    def test_a_long_build_tells_of_every_tenth_and_a_short_one_of_nothing(self):
        steps = 'for i in $(seq %d); do echo "[$i/%d] Building x"; done'
        status, said = self.build(steps % (40, 40))
        self.assertEqual((status, said.splitlines()[0], said.count("\n")), (0, "build: 10% (4 of 40 steps)", 10))
        self.assertEqual(self.build(steps % (3, 3)), (0, ""))

    def test_a_build_that_fails_shows_why_and_not_what_went_well(self):
        self.assertEqual(self.build('echo "[1/3] Building x"; echo "x.cc:1: error: y"; exit 1'), (1, "x.cc:1: error: y\n"))


class SummaryTest(unittest.TestCase):

    def summary(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
            script = os.path.join(script_main.ROOT, "tests", "summary.py")
            done = subprocess.run([sys.executable, "-B", script, folder], stdout=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout

    def test_cases_are_counted_and_the_reasons_of_skipping_listed(self):
        skip = '<testcase name="%s" status="run" result="skipped"><skipped message="x_test.cc:2&#x0A;no data: x"/></testcase>'
        self.assertEqual(self.summary({
            "ctest.junit": '<testsuite><testcase name="x_test" status="run"/><testcase name="y" status="run"/>'
                           '<testcase name="z" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase></testsuite>',
            "x_test.xml": "<testsuites><testsuite>" + skip % "A" + skip % "B" +
                          '<testcase name="C" status="run" result="completed"/><testcase name="D" status="notrun"/>'
                          "</testsuite></testsuites>"}),
            (0, "skipped 2: no data: x\nskipped 1: z cannot run here\n2 passed, 0 failed, 3 skipped\n"))

    def test_failed_cases_crashes_and_missing_programs_fail(self):
        self.assertEqual(self.summary({
            "ctest.junit": '<testsuite><testcase name="x_test" status="fail"/><testcase name="crashed" status="fail"/>'
                           '<testcase name="cut" status="fail"/><testcase name="none" status="notrun"/></testsuite>',
            "x_test.xml": '<testsuites><testcase name="A" status="run"><failure/></testcase>'
                          '<testcase name="B" status="run"/></testsuites>',
            "cut.xml": "<testsuites><testc"}), (1, "1 passed, 4 failed, 0 skipped\n"))

    def test_a_run_without_results_fails(self):
        self.assertEqual(self.summary({}), (1, "0 passed, 1 failed, 0 skipped\n"))
        self.assertEqual(self.summary({"ctest.junit": "<testsuite/>"}), (1, "0 passed, 0 failed, 0 skipped\n"))


if __name__ == "__main__":
    script_main.main()
