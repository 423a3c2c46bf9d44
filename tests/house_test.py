"""Holds the project to the rules of tests/house.py, and each rule to a planted offender that it must find."""

import os
import tempfile
import unittest

import house
import script_main

HEAD = "// Adds.\n// Tested by tests/x_test.cc.\n"


class HouseTest(unittest.TestCase):

    def findings(self, rule, files):
        """What the rule finds in a tree of these files."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                path = os.path.join(root, path)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            return list(rule(house.Tree(root)))

    def expect(self, rule, files, *expected):
        self.assertEqual(self.findings(rule, files), list(expected))

    def test_the_project_keeps_every_rule(self):
        found = house.check(script_main.ROOT)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_an_include_from_above_is_found(self):
        self.expect(house.includes_follow_the_table,
                    {"ir/a.cc": '// A.\n#include "base/file.h"\n#include "ir/a.h"\n#include "passes/pass.h"\n'},
                    'ir/a.cc:4: expected an include from ir, base, found "passes/pass.h"')

    def test_one_file_of_a_room_can_be_opened_alone(self):
        self.expect(house.includes_follow_the_table,
                    {"compiler/a.cc": '#include "runtime/executor.h"\n#include "plan/plan.h"\n'})
        found = self.findings(house.includes_follow_the_table,
                              {"compiler/a.cc": '#include "serve/engine.h"\n',
                               "cuda/driver/a.cc": '#include "runtime/executor.h"\n#include "program/program.h"\n'})
        self.assertEqual([text.split(": ")[0] for text in found], ["compiler/a.cc:1", "cuda/driver/a.cc:2"])

    def test_small_programs_reach_the_compiler_through_its_c_interface(self):
        for name in ("run.cc", "ninfer-run.cc", "ninfer_run.cc", "run_main.cc", "run/main.cc", "serve.cc"):
            path = "tools/" + name
            found = self.findings(house.includes_follow_the_table,
                                  {path: '#include "compiler/ninfer_compiler.h"\n#include "compiler/compile.h"\n'})
            self.assertEqual(len(found), 1, name)
        self.expect(house.includes_follow_the_table, {"tools/opt.cc": '#include "passes/pass.h"\n'})

    def test_an_include_without_its_room_is_found(self):
        self.expect(house.includes_follow_the_table, {"ir/a.cc": '#include "module.h"\n#include "absl/x.h"\n#include "cblas.h"\n', "ir/module.h": ""},
                    'ir/a.cc:1: expected an include written from the root, found "module.h"')

    def test_llvm_outside_codegen_is_found(self):
        self.expect(house.llvm_stays_in_codegen,
                    {"codegen/a.cc": '#include "llvm/IR/Module.h"\n', "compiler/a.cc": '#include "llvm/IR/Module.h"\n',
                     "tests/a.cc": "#include <llvm-c/Core.h>\n"},
                    "compiler/a.cc:1: expected LLVM headers in codegen/ alone, found llvm/IR/Module.h",
                    "tests/a.cc:1: expected LLVM headers in codegen/ alone, found llvm-c/Core.h")

    def test_json_in_the_core_is_found(self):
        found = self.findings(house.json_stays_out_of_the_core,
                              {room + "/a.cc": '#include "nlohmann/json.hpp"\n' for room in house.NO_JSON + ["frontend"]})
        self.assertEqual([text.split("/")[0] for text in found], sorted(house.NO_JSON))

    def test_getenv_outside_base_is_found_but_not_in_comments_and_strings(self):
        self.expect(house.only_base_reads_the_environment,
                    {"base/file.cc": "std::getenv(name);\n", "runtime/a.cc": '// getenv\nf("getenv");\nstd::getenv("X");\n'},
                    "runtime/a.cc:3: expected GetEnv of base/file.h, found getenv")

    def test_a_switch_over_ops_outside_its_places_is_found(self):
        files = {path: "case Op::kAdd:\n" for path in ("eager/a.cc", "codegen/a.cc", "passes/lower.cc",
                                                       "passes/lower_linear.cc")}
        files["ir/a.cc"] = "  case Op::k##enumerator:\n"
        self.expect(house.ops_are_told_apart_in_few_places, files)
        for path in ("passes/fuse.cc", "ir/a.cc", "frontend/a.cc"):
            self.expect(house.ops_are_told_apart_in_few_places, {path: "\n  case ir::Op::kAdd:\n"},
                        path + ":2: expected a property from ir/ops.def (`case Op::` belongs in eager/, lowering, "
                        "emitters), found case ir::Op::k")

    def test_a_head_without_its_test_is_found(self):
        rule = house.heads_name_their_tests
        self.expect(rule, {"runtime/a.cc": HEAD, "tests/x_test.cc": ""})
        self.expect(rule, {"runtime/a.cc": "// Adds. Tested by\n// tests/x_test.cc and tests/y_test.cc.\n",
                           "tests/x_test.cc": "", "tests/y_test.cc": ""})
        self.expect(rule, {"runtime/a.cc": HEAD}, "runtime/a.cc:1: expected a test that exists, found tests/x_test.cc")
        self.expect(rule, {"passes/a.cc": "int a;  // Tested by tests/x_test.cc\n", "tests/x_test.cc": ""},
                    'passes/a.cc:1: expected "Tested by tests/..." in the comment at its head, found none')

    def test_a_pass_without_file_or_golden_is_found(self):
        self.expect(house.passes_have_a_file_and_a_golden,
                    {"passes/passes.def": '// PASS(x)\nPASS(MODULE, KvCache, "kv-cache", true,\n "a", "b")\n'
                                          'PASS(MODULE, Fuse, "fuse", true, "a", "b")\n',
                     "passes/kv_cache.cc": "", "tests/passes/fuse.ir": ""},
                    "passes/passes.def:2: expected a golden file tests/passes/kv-cache.ir, found none",
                    "passes/passes.def:4: expected passes/fuse.cc for the pass fuse, found no such file")

    def test_a_long_file_is_found(self):
        self.expect(house.files_are_short,
                    {"ir/a.cc": "\n" * 501, "ir/b.h": "\n" * 500, "ir/c.def": "\n" * 900,
                     "passes/a.cc": "\n" * 401, "passes/b.cc": "\n" * 400},
                    "ir/a.cc:501: expected at most 500 lines (split it by idea), found 501 lines",
                    "passes/a.cc:401: expected at most 400 lines (split it by idea), found 401 lines")

    def test_unfinished_work_is_found_in_code_scripts_and_pages(self):
        word = "TO" + "DO"
        self.expect(house.nothing_is_unfinished,
                    {"ir/a.cc": "// %s: more\n" % word, "README.md": "\n%s\n" % word,
                     "tools/x": "#!/bin/sh\n# %s\n" % word, "ir/b.cc": "mkostemp(\"XX" + "XXXX\")\n"},
                    'README.md:2: expected finished work, found "%s"' % word,
                    'ir/a.cc:1: expected finished work, found "%s"' % word,
                    'tools/x:2: expected finished work, found "%s"' % word)

    def test_a_path_of_one_machine_is_found(self):
        self.expect(house.no_path_of_one_machine,
                    {"ir/a.cc": 'f("/home/me/x");\nf("a/home/x");\nf("$HOME/tmp/x");\nf("/tmp/perf-1.map");\n'},
                    "ir/a.cc:1: expected a path relative to the tree, or a flag, found /home/m...")

    def test_a_detached_thread_is_found(self):
        self.expect(house.threads_are_joined, {"runtime/a.cc": "thread.detach();\nx->detach ();\nscan.detached();\n"},
                    "runtime/a.cc:1: expected a thread that is joined, found .detach()",
                    "runtime/a.cc:2: expected a thread that is joined, found ->detach ()")

    def test_iostream_in_a_room_is_found(self):
        self.expect(house.rooms_do_not_print_to_streams,
                    {"plan/a.cc": "#include <iostream>\n", "tools/a.cc": "#include <iostream>\n"},
                    "plan/a.cc:1: expected a Status, a callback or <cstdio>, found #include <iostream>")

    def test_american_spelling_is_found_in_comments_and_pages_but_not_in_code(self):
        z = "z"  # keeps the words below out of this file
        self.expect(house.spelling_is_british,
                    {"ir/a.cc": "int optimi%ser;  // Optimi%ses the `optimi%ser`, llvm::Optimi%ser.\nf(\"optimi%se\");\n"
                                .replace("%s", z),
                     "docs/a.md": "The behav" + "ior\n```\noptimi%se\n```\nof [it](optimi%se) and `quanti%se`\n"
                                  .replace("%s", z),
                     "tools/a.py": "optimi%se = 1  # quanti%sed\n".replace("%s", z)},
                    'docs/a.md:1: expected "behaviour", found "behav' + 'ior"',
                    'ir/a.cc:1: expected "optimises", found "Optimi%ses"'.replace("%s", z),
                    'tools/a.py:1: expected "quantised", found "quanti%sed"'.replace("%s", z))

    def test_every_rule_is_tested(self):
        with open(__file__, encoding="utf-8") as file:
            text = file.read()
        for rule in house.RULES:
            self.assertIn("house." + rule.__name__, text, "no test plants an offender for " + rule.__name__)


if __name__ == "__main__":
    script_main.main()
