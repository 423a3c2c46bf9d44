"""Tests what all programs have in common: one line and exit status 2 for what a user can cause, at the machine's limits too."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import script_main

DEMO = os.path.join(script_main.ROOT, "models", "demo")
WIDE_FEATURES = "avx512f,avx512_bf16,avx512bw,avx512vl,avx512dq,avx512cd,avx_vnni"


def program(name):
    return os.path.join(script_main.BIN, name)


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


class ProgramsTest(unittest.TestCase):
    """One compiled plan for all cases, and a folder of its own for each."""

    @classmethod
    def setUpClass(cls):
        for name in ("ninfer-compile", "ninfer-run", "ninfer-opt", "ninfer-inspect", "ninfer-bench", "ninfer-tokenize"):
            if not os.path.exists(program(name)):
                raise unittest.SkipTest("not built: " + name)
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.top = temporary.name
        cls.environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(cls.top, "cache"))
        cls.plan = os.path.join(cls.top, "demo.bin")
        subprocess.run([program("ninfer-compile"), DEMO, "-q", "-o", cls.plan], check=True)

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=self.top)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_program(self, *command, before="", stdout=subprocess.PIPE, hidden=""):
        """`before` is what the shell does first, such as setting a limit."""
        environment = dict(self.environment, NINFER_HIDE_CPU_FEATURES=hidden)
        return subprocess.run(["bash", "-c", before + ' exec "$@"', "bash", program(command[0]), *command[1:]],
                              stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
                              errors="replace", timeout=120, check=False, env=environment)

    @staticmethod
    def without_progress(text):
        """What a program says, but for the rows that the bench tells as they come."""
        return re.sub(r"(?m)^ninfer-bench: \d+ of \d+: .*\n", "", text)

    def expect_one_line(self, message, *command, **keywords):
        """Exit status 2 and one line, from this program, that holds the message."""
        done = self.run_program(*command, **keywords)
        said = self.without_progress(done.stderr)
        self.assertEqual((done.returncode, said.count("\n")), (2, 1), done.stderr)
        self.assertTrue(said.startswith(command[0] + ": "), done.stderr)
        self.assertIn(message, done.stderr)
        return done

    def model(self, **changes):
        """A copy of the bundled model whose generation_config.json, config.json differ."""
        folder = self.path("model")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(DEMO, folder)
        for name, change in changes.items():
            path = os.path.join(folder, name + ".json")
            write_json(path, dict(read_json(path), **change))
        return folder

    # The machine's limits.

    def need_address_limits(self):
        if self.run_program("ninfer-run", "--help", before="ulimit -v 8000000;").returncode != 0:
            self.skipTest("these programs need more address space than any limit would leave them: sanitised")

    def test_weights_larger_than_memory_are_refused(self):
        self.need_address_limits()
        config = self.path("huge.json")
        for change in ({"vocab_size": 2147483647}, {"hidden_size": 1 << 24, "head_dim": 1 << 22},
                       {"hidden_size": 1 << 24, "head_dim": 1 << 24, "num_attention_heads": 1 << 24}):
            write_json(config, dict(read_json(os.path.join(DEMO, "config.json")), **change))
            self.expect_one_line("", "ninfer-compile", "--random-weights", config, "-o", self.path("huge.bin"),
                                 before="ulimit -v 16000000;")
        self.assertEqual(os.listdir(self.folder), ["huge.json"])

    def test_a_vocabulary_larger_than_memory_is_refused(self):
        config = self.path("huge.json")
        write_json(config, dict(read_json(os.path.join(DEMO, "config.json")), vocab_size=2147483647))
        self.expect_one_line("bytes, the memory that this process may have, found ", "ninfer-compile",
                             "--random-weights", config, "-o", self.path("huge.bin"))

    def test_too_little_memory_is_one_line_whatever_the_limit(self):
        self.need_address_limits()
        failed = 0
        for kilobytes in (60000, 120000, 240000, 320000, 400000):
            for command in (("ninfer-compile", DEMO, "-o", self.path("x.bin"), "-q"),
                            ("ninfer-run", DEMO, "--engine=eager", "--max-tokens=3", "--no-echo")):
                done = self.run_program(*command, before="ulimit -v %d;" % kilobytes)
                if done.returncode == 0:
                    continue
                failed += 1
                if done.stderr.count("\n") == 1 and "error while loading shared libraries" in done.stderr:
                    continue
                self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), (kilobytes, command, done.stderr))
        self.assertGreater(failed, 0)

    def test_eager_takes_memory_for_the_text_and_not_for_the_context(self):
        self.need_address_limits()
        start = time.monotonic()
        done = self.run_program("ninfer-run", DEMO, "--engine=eager", "--context", "16777216", "--max-tokens=3",
                                before="ulimit -v 8000000;")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(time.monotonic() - start, 30)

    def test_a_limit_on_file_sizes_leaves_nothing_behind(self):
        self.expect_one_line("x.npy: cannot write: File too large", "ninfer-run", self.plan, "--logits",
                             self.path("x.npy"), "--max-tokens=200", "--ignore-eos", before="ulimit -f 100;")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_plan_that_the_cache_cannot_take_is_no_failure_and_leaves_nothing_behind(self):
        done = self.run_program("ninfer-run", DEMO, "--max-tokens=3",
                                before="ulimit -f 100; export XDG_CACHE_HOME=%s;" % self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the plan was not kept: ", done.stderr)
        self.assertEqual(os.listdir(self.path("ninfer")), [])

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_a_full_disk_under_standard_output_is_an_error_of_every_program(self):
        graph = self.path("graph.ir")
        subprocess.run([program("ninfer-compile"), DEMO, "-q", "--stop-after=fuse", "-o", graph], check=True)
        with open("/dev/full", "wb") as full:
            for command in (("ninfer-compile", DEMO, "-o", self.path("x.bin"), "--print-after", "all"),
                            ("ninfer-compile", DEMO, "--stop-after=fuse"), ("ninfer-compile", "--list-passes"),
                            ("ninfer-inspect", self.plan), ("ninfer-inspect", self.plan, "--bytes"),
                            ("ninfer-opt", "--list-ops"), ("ninfer-opt", graph),
                            ("ninfer-run", self.plan, "--max-tokens=3"), ("ninfer-run", self.plan, "--json"),
                            ("ninfer-bench", self.plan, "-n", "1", "-r", "1"),
                            *((name, "--help") for name in ("ninfer-compile", "ninfer-inspect", "ninfer-opt",
                                                            "ninfer-run", "ninfer-bench"))):
                with self.subTest(command=command):
                    self.expect_one_line("standard output: cannot write", *command, stdout=full)
        self.assertEqual(os.listdir(self.folder), ["graph.ir"])

    # Flags.

    def test_a_flag_with_values_leaves_the_next_word_alone(self):
        for flag in (("--formats", "f32"), ("-p", "8"), ("-n", "8"), ("-d", "0"), ("--batch", "2"),
                     ("--plot", "x.svg"), ("--new-tokens", "5,5"), ("--attention", "0")):
            with self.subTest(flag=flag):
                self.expect_one_line("nowhere: expected a model folder or a plan, found nothing", "ninfer-bench", *flag,
                                     "nowhere")
        self.expect_one_line("nowhere.ir: cannot open", "ninfer-opt", "--prompt-ids", "1,2", "nowhere.ir", "--run")

    def test_print_changed_is_spelled_alike(self):
        for before in ("ninfer-compile", DEMO, "--stop-after=fuse"), ("ninfer-opt", self.path("graph.ir"), "--passes=cse"):
            if before[0] == "ninfer-opt":
                subprocess.run([program("ninfer-compile"), DEMO, "-q", "--stop-after=canonicalise", "-o", before[1]],
                               check=True)
            done = self.run_program(*before, "--print-changed=diff")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.expect_one_line("--print-changed: ", *before, "--print-changed=all")

    def test_an_empty_value_is_refused_however_it_is_spelled_and_takes_no_other_argument(self):
        for name, model, *flags in (("ninfer-run", self.plan, "--prompt", "--temperature", "--prompt-file", "--prompt-ids",
                                     "--stop", "--logits", "--seed", "--weights", "--json"),
                                    ("ninfer-compile", DEMO, "-o", "--default-prompt", "--context", "--quality"),
                                    ("ninfer-tokenize", DEMO, "--file", "--certify"), ("ninfer-opt", "x.ir", "-o"),
                                    ("ninfer-inspect", self.plan, "--section"), ("ninfer-bench", DEMO, "-n", "--formats")):
            for flag in flags:
                with self.subTest(flag=flag):
                    message = flag + ": expected a value, found none"
                    self.expect_one_line(message, name, model, flag + "=", "--json")
                    if flag not in ("--json", "--quality"):  # which stand alone
                        self.expect_one_line(message, name, model, flag, "")
                        self.expect_one_line(message, name, model, flag)
        self.assertEqual(os.listdir(self.folder), [])

    def test_wrong_flags_are_named_with_what_was_expected_and_found(self):
        run, opt, inspect = ("ninfer-run", self.plan), ("ninfer-opt", "x.ir"), ("ninfer-inspect",)
        tokenize = ("ninfer-tokenize", DEMO)
        for message, *command in (
                ("--temperature: expected a number, found 'abc'", *run, "--temperature=abc"),
                ("--top-k: expected a whole number, found '1.5'", *run, "--top-k=1.5"),
                ("--max-tokens: expected 0 to 2147483647, found -1", *run, "--max-tokens=-1"),
                ("--max-tokens: expected 0 to 2147483647, found 'many'", *run, "--max-tokens=many"),
                ("--threads: expected 1 to 1024, found 0", *run, "--threads", "0"),
                ("--engine: expected compiled or eager, found 'foo'", *run, "--engine=foo"),
                ("--prompt-ids: expected a value, found none", *run, "--prompt-ids"),
                ("--seed: expected one value, found 2", *run, "--seed=1", "--seed=2"),
                ("--json: expected true or false, found 'abc'", *run, "--json=abc"),
                ("--weights: expected a model folder, found " + self.plan, *run, "--weights=int8"),
                ("--disable-pass: expected a model folder, found " + self.plan, *run, "--disable-pass=cse"),
                ("expected arguments that --help lists, found --nonsense stray -z", *run, "--nonsense", "stray", "-z"),
                ("--attention: expected naive, efficient or flash, found 'x'", *opt, "--attention=x"),
                ("--prompt-ids: expected a whole number, found 'x'", *opt, "--prompt-ids", "1,x"),
                ("--prompt-ids: expected -2147483648 to 2147483647, found 2147483648", *opt, "--prompt-ids=2147483648"),
                ("plan: expected a value, found none", *inspect),
                ("expected one of a text, --file, --decode and --certify, found 2", *tokenize, "x", "--decode=1")):
            with self.subTest(command=command):
                done = self.expect_one_line("", *command)
                self.assertEqual(done.stderr, "%s: %s\n" % (command[0], message))

    def test_a_short_flag_takes_a_value_behind_an_equals_sign_too(self):
        self.assertEqual(self.run_program("ninfer-compile", DEMO, "-q", "-o=" + self.path("x.bin")).returncode, 0)
        self.assertEqual(os.listdir(self.folder), ["x.bin"])

    def test_an_empty_system_prompt_is_one(self):
        self.expect_one_line("--system: expected --chat, found none", "ninfer-run", self.plan, "--system=")

    def test_a_seed_that_does_not_fit_is_refused(self):
        for seed in ("-1", "18446744073709551616", "x"):
            self.expect_one_line("--seed: expected 0 to 18446744073709551615, found \"%s\"" % seed, "ninfer-run",
                                 self.plan, "--seed", seed)
        self.assertEqual(self.run_program("ninfer-run", self.plan, "--seed", "18446744073709551615",
                                          "--max-tokens=1").returncode, 0)

    def test_flags_that_eager_has_no_use_for_are_named(self):
        for flag in ("--attention=naive", "--target=native"):
            self.expect_one_line(flag.split("=")[0] + ": of no use with the eager engine", "ninfer-run", DEMO,
                                 "--engine=eager", flag)

    def test_a_path_that_is_not_utf8_is_refused_as_such(self):
        for command in (("ninfer-run", b"a\xff"), ("ninfer-run", b"a\xff", "--engine=eager"),
                        ("ninfer-compile", b"a\xff", "-o", self.path("x.bin")), ("ninfer-bench", b"a\xff")):
            self.expect_one_line("model: expected UTF-8, found \"a\\xff\"", *command)

    def test_files_that_cannot_be_written_are_found_before_any_text(self):
        for flags in (("--logits=/nowhere/x.npy",), ("--dump-tensors=.", "--dump-to=/nowhere/x.safetensors")):
            done = self.expect_one_line(": cannot write: No such file or directory", "ninfer-run", self.plan, *flags)
            self.assertEqual(done.stdout, "")

    def test_an_output_does_not_take_the_place_of_an_input_or_of_another_output(self):
        model, plan, text = self.model(), self.path("aa.bin"), self.path("graph.ir")
        shutil.copy(self.plan, plan)
        subprocess.run([program("ninfer-compile"), DEMO, "-q", "--stop-after=fuse", "-o", text], check=True)
        weights, link = os.path.join(model, "model.safetensors"), self.path("link")
        os.symlink(weights, link)
        prompt, new = self.path("prompt.txt"), self.path("new")
        shutil.copy(text, prompt)
        def state(path):
            found = os.lstat(path)
            return found.st_ino, found.st_size, found.st_mtime_ns

        before = {path: state(path) for path in (weights, plan, text, prompt, link)}
        for message, *command in (
                ("-o: expected another file than the model has", "ninfer-compile", model, "-o", weights),
                ("-o: expected another file than the model has", "ninfer-compile", model, "-o", link),
                ("-o: expected another file than --from-ir", "ninfer-compile", "--from-ir", text, "--weights-from", model,
                 "-o", text),
                ("-o: expected another file than --weights-from has", "ninfer-compile", "--from-ir", text,
                 "--weights-from", model, "-o", weights),
                ("--logits: expected another file than the model", "ninfer-run", plan, "--logits", plan),
                ("--logits: expected another file than the model has", "ninfer-run", model, "--logits", weights),
                ("--logits: expected another file than --prompt-file", "ninfer-run", plan, "--prompt-file", prompt,
                 "--logits", os.path.join(self.folder, ".", "prompt.txt")),
                ("--dump-to: expected another file than --logits", "ninfer-run", plan, "--dump-tensors=.", "--logits", new,
                 "--dump-to", os.path.join(self.folder, ".", "new")),
                ("-o: expected another file than the text", "ninfer-opt", text, "-o", text),
                ("--dump-ir: expected another folder than the one of --from-ir", "ninfer-compile", "--from-ir", text,
                 "--weights-from", model, "-o", plan, "--dump-ir", self.folder),
                ("--dump-ir: expected another folder than the one of the text", "ninfer-opt", text, "--passes=cse",
                 "--dump-ir", self.folder)):
            with self.subTest(command=command):
                done = self.expect_one_line(message + ", found " + command[-1], *command)
                self.assertEqual(done.stdout, "")
        self.assertEqual({path: state(path) for path in before}, before)
        self.assertFalse(os.path.exists(new))

    def test_a_plan_in_its_model_folder_may_be_replaced(self):
        model = self.model()
        for _ in range(2):
            done = self.run_program("ninfer-compile", model, "-q", "-o", os.path.join(model, "plan.bin"))
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_values_that_mean_nothing_are_refused(self):
        compile_ = ("ninfer-compile", DEMO, "-o", self.path("x.bin"))
        for message, *command in (
                ("--prompt-ids: expected numbers separated by commas, found \"\"", "ninfer-run", self.plan,
                 "--prompt-ids=1,,2"),
                ("--prompt-ids: expected values separated by commas, found '1,,2'", "ninfer-opt", "x.ir",
                 "--prompt-ids=1,,2"),
                ("--decode: expected ids from 0 to 1100, found 99999", "ninfer-tokenize", DEMO, "--decode", "1 99999"),
                ("--decode: expected ids from 0 to 1100, found -1", "ninfer-tokenize", DEMO, "--decode=-1"),
                ("model: expected a plan or a model folder, found ''", "ninfer-run", ""),
                ("--dump-asm: expected code to be made, found --stop-after", *compile_, "--stop-after=cse", "--dump-asm=x"),
                ("--max-sequences: expected 1 to 65536, found 2147483647", *compile_, "--max-sequences=2147483647"),
                *((flag + ": expected 1 to 2147483647, found 0", *compile_, flag + "=0")
                  for flag in ("--context", "--max-tokens", "--max-sequences", "--max-rows"))):
            with self.subTest(command=command):
                done = self.expect_one_line(message, *command)
                self.assertEqual(done.stdout, "")
        done = self.expect_one_line("--stop-after: expected at most ", "ninfer-compile", DEMO, "--stop-after=cse.99")
        self.assertIn(", the rewrites that it made, found 99\n", done.stderr)

    def test_more_threads_than_cpus_are_worth_a_line_of_the_bench(self):
        done = self.run_program("ninfer-bench", self.plan, "-n", "1", "-r", "1", "-t", "99")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(self.without_progress(done.stderr), r"^ninfer-bench: -t 99: this process may use \d+ CPUs: threads will wait\n$")

    def test_every_program_tells_its_version(self):
        for name in ("ninfer-compile", "ninfer-run", "ninfer-opt", "ninfer-inspect", "ninfer-bench", "ninfer-tokenize"):
            done = self.run_program(name, "--version")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, name + " 0.1.0\n", ""))

    def test_opt_reads_standard_input(self):
        graph = self.path("graph.ir")
        subprocess.run([program("ninfer-compile"), DEMO, "-q", "--stop-after=fuse", "-o", graph], check=True)
        piped = subprocess.run("'%s' - < '%s'" % (program("ninfer-opt"), graph), shell=True, stdout=subprocess.PIPE,
                               timeout=120, check=True)
        with open(graph, "rb") as file:
            self.assertEqual(piped.stdout, file.read())

    def test_help_tells_types_and_defaults(self):
        compile_, run = (self.run_program(name, "--help").stdout for name in ("ninfer-compile", "ninfer-run"))
        for flag in ("--context", "--max-tokens", "--threads", "--random-seed"):
            self.assertRegex(compile_, flag + " INT")
        self.assertIn("Piped standard input is the prompt", run)
        for words in ("compiled (default)", "auto (default)", "native", "as many as there are CPUs"):
            self.assertIn(words, run)

    # Models.

    def test_sampling_defaults_out_of_bounds_are_refused_by_file_and_key(self):
        for key, value, message in (("temperature", -1, "temperature: expected 0 to 1e+09, found -1"),
                                    ("top_p", 7, "top_p: expected 0 to 1, found 7"),
                                    ("min_p", -1, "min_p: expected 0 to 1, found -1"),
                                    ("repetition_penalty", 0, "repetition_penalty: expected 0.001 to 1000, found 0"),
                                    ("eos_token_id", -4, "eos_token_id: expected ids of 0 and above, found -4"),
                                    ("eos_token_id", [0, -4], "eos_token_id: expected ids of 0 and above, found [0,-4]")):
            folder = self.model(generation_config={key: value})
            self.expect_one_line("generation_config.json: " + message, "ninfer-compile", folder, "-o", self.path("x.bin"))

    def test_what_the_model_is_generated_with_and_is_not_done_is_one_line(self):
        folder = self.model(generation_config={"num_beams": 4, "no_repeat_ngram_size": 2})
        for command in (("ninfer-compile", folder, "-o", self.path("x.bin")),
                        ("ninfer-run", folder, "--engine=eager", "-v", "--max-tokens=1")):
            done = self.run_program(*command)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("generation_config.json: num_beams = 4, no_repeat_ngram_size = 2: not done here", done.stderr)

    def test_as_many_tokens_follow_as_the_model_asks_for_where_no_flag_says_otherwise(self):
        folder = self.model(generation_config={"max_new_tokens": 3})
        for model in (folder, DEMO):
            for flags, count in (((), 3 if model == folder else 20), (("--max-tokens=20",), 20)):
                done = self.run_program("ninfer-run", model, "--json", "--ignore-eos", "--context=24",
                                        "--prompt-ids=1,2,3,4", "--no-cache", *flags)
                self.assertEqual(len(json.loads(done.stdout)["ids"]), count, done.stderr)

    def test_half_of_a_tokenizer_is_named(self):
        folder = self.model()
        os.remove(os.path.join(folder, "tokenizer.json"))
        write_json(os.path.join(folder, "vocab.json"), {"a": 0})
        done = self.run_program("ninfer-compile", folder, "-o", self.path("x.bin"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(": no tokenizer (vocab.json is there, merges.txt is not): only ids can go in and out", done.stderr)

    def test_a_repetition_penalty_changes_the_most_likely_text_and_is_the_models_by_default(self):
        greedy = ("--temperature=0", "--prompt-ids=1,2,3", "--max-tokens=40", "--ignore-eos", "--json", "--no-cache")

        def ids(model, *flags):
            done = self.run_program("ninfer-run", model, *greedy, *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)["ids"]

        plain, told = ids(DEMO), ids(DEMO, "--repetition-penalty=50")
        self.assertNotEqual(plain, told)
        self.assertGreater(len(set(told)), len(set(plain)))
        folder = self.model(generation_config={"repetition_penalty": 50})
        self.assertEqual(ids(folder), told)
        self.assertEqual(ids(folder, "--repetition-penalty=1"), plain)

    def test_random_weights_of_a_file_are_refused_by_its_name(self):
        config = self.path("odd.json")
        write_json(config, {"architectures": ["None"]})
        self.expect_one_line("odd.json: architectures: ", "ninfer-compile", "--random-weights", config,
                             "-o", self.path("x.bin"))

    def test_a_file_of_the_model_that_is_there_and_is_no_file_is_refused_by_what_it_is(self):
        makers = (("a link to nothing", lambda path: os.symlink("nowhere", path)),
                  ("a loop of links", lambda path: os.symlink(path, path)),
                  ("a folder", os.mkdir), ("a named pipe", os.mkfifo))
        for name, programs in (("tokenizer.json", ("ninfer-compile", "ninfer-tokenize")),
                               ("tokenizer_config.json", ("ninfer-compile", "ninfer-tokenize")),
                               ("special_tokens_map.json", ("ninfer-tokenize",)),
                               ("generation_config.json", ("ninfer-compile",)), ("config.json", ("ninfer-compile",)),
                               ("model.safetensors", ("ninfer-compile",))):
            for kind, make in makers:
                path = os.path.join(self.model(), name)
                if os.path.exists(path):
                    os.remove(path)
                make(path)
                for each in programs:
                    with self.subTest(name=name, kind=kind, program=each):
                        rest = ("-o", self.path("x.bin")) if each == "ninfer-compile" else ("text",)
                        self.expect_one_line(path + ": expected a file, found " + kind, each, os.path.dirname(path), *rest)

    def test_a_cut_or_malformed_checkpoint_of_any_kind_is_one_line_that_names_it(self):
        for kind, name in (("torch-zip", "pytorch_model.bin"), ("torch-legacy", "pytorch_model.bin"),
                           ("openai", "model.ckpt.index")):
            folder = self.path(kind)
            shutil.copytree(os.path.join(script_main.ROOT, "tests", "data", "checkpoints", kind), folder)
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                whole = file.read()
            done = self.run_program("ninfer-run", folder, "--engine=eager", "--prompt-ids=1", "--max-tokens=1")
            self.assertEqual(done.returncode, 0, done.stderr)
            for spoilt in (b"", whole[:1], whole[:len(whole) // 2], whole[:-1], whole[::-1], b"\xff" * len(whole)):
                with open(path, "wb") as file:
                    file.write(spoilt)
                with self.subTest(kind=kind, size=len(spoilt), start=spoilt[:9]):
                    self.expect_one_line(path + ": ", "ninfer-compile", folder, "-q", "-o", self.path("x.bin"))

    def test_weights_that_are_not_finite_are_named_and_not_blamed_on_the_compiler(self):
        name = "model.layers.2.mlp.up_proj.weight"
        folder = self.model()
        path = os.path.join(folder, "model.safetensors")
        with open(path, "r+b") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            at = 8 + length + json.loads(file.read(length))[name]["data_offsets"][0]
            for value, spelling in ((b"\xc0\x7f", "nan"), (b"\x80\x7f", "inf")):
                file.seek(at + 2 * 5)
                file.write(value)
                file.flush()
                for flags in ((), ("--verify-each",)):
                    done = self.expect_one_line("the model's own logits: expected finite numbers, found ",
                                                "ninfer-compile", folder, "-o", self.path("x.bin"), *flags)
                    self.assertIn("; tensor \"%s\" holds %s at element 5\n" % (name, spelling), done.stderr)

    def test_what_the_compiler_says_of_a_model_does_not_precede_its_refusal(self):
        folder = self.model()
        with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as file:
            file.write("{\"model\": ")
        self.expect_one_line("tokenizer.json: ", "ninfer-compile", folder, "-o", self.path("x.bin"))
        self.expect_one_line("tokenizer.json: ", "ninfer-run", folder)
        self.expect_one_line("prompt: token 0: expected an id ", "ninfer-run", DEMO, "--prompt-ids=9999")

    # Other CPUs.

    def test_a_folder_is_compiled_for_the_features_that_are_not_hidden(self):
        done = self.run_program("ninfer-run", DEMO, "--max-tokens=3", "--json", hidden=WIDE_FEATURES)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("x86-64-v3", json.loads(done.stdout)["engine"])

    def test_code_for_a_greater_cpu_is_made_anew_in_process(self):
        done = self.run_program("ninfer-run", DEMO, "--target=x86-64-v4", "--max-tokens=3", "--json", hidden=WIDE_FEATURES)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("which this CPU lacks; generating code anew\n", done.stderr)
        self.assertIn("x86-64-v3", json.loads(done.stdout)["engine"])

    def test_where_no_target_fits_there_is_one_line(self):
        for model in (DEMO, self.plan):
            self.expect_one_line("to fit this CPU, found none that does", "ninfer-run", model,
                                 hidden=WIDE_FEATURES + ",avx2,sse2")
        self.assertFalse(any(".tmp." in name for _, _, names in os.walk(self.top) for name in names))

    # Endings.

    def test_a_plan_that_is_cut_while_it_runs_is_one_line(self):
        plan = self.path("cut.bin")
        shutil.copy(self.plan, plan)
        process = subprocess.Popen([program("ninfer-run"), plan, "--prompt-ids=1", "--ignore-eos", "--no-verify"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        process.stdout.read(1)
        os.truncate(plan, 4096)
        _, errors = process.communicate(timeout=60)
        # Weights in memory of their own do not notice.
        self.assertIn((process.returncode, errors),
                      ((0, b""), (2, b"ninfer-run: a file was cut short, or became unreadable, while it was in use\n")))

    def test_ctrl_c_ends_the_wait_for_a_pipe(self):
        process = subprocess.Popen([program("ninfer-run"), self.plan], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=self.environment)
        time.sleep(0.7)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        self.assertLess(time.monotonic() - start, 1)
        with process.stdin, process.stdout, process.stderr:
            self.assertEqual((process.returncode, process.stdout.read(), process.stderr.read()),
                             (130, "", "ninfer-run: interrupted\n"))


if __name__ == "__main__":
    script_main.main()
