"""Tests ninfer-run as a user sees it: what goes to which stream, exit statuses, every flag, and every bad input."""

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
PROMPT = "Once upon a time"


def golden():
    with open(os.path.join(DEMO, "golden.json"), encoding="utf-8") as file:
        return json.load(file)


def program(name="ninfer-run"):
    return os.path.join(script_main.BIN, name)


def has_compiler():
    return os.path.exists(os.path.join(os.path.dirname(script_main.BIN), "lib", "libninfer-compiler.so"))


def read_npy(path):
    """Shape and floats of a little-endian f32 .npy file."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
    (length,) = struct.unpack_from("<H", data, 8)
    header = data[10:10 + length].decode()
    assert (10 + length) % 64 == 0 and "'<f4'" in header and "False" in header, header
    shape = tuple(int(part) for part in re.search(r"\((\d+), (\d+)\)", header).groups())
    return shape, struct.unpack("<%df" % (shape[0] * shape[1]), data[10 + length:])


def read_safetensors(path):
    """Name to (type, shape, bytes); fails unless sizes equal shapes and the tensors fill the file, in any order. Where
    the format's own reader is installed, it must accept the file too."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, after = entry["data_offsets"]
        size = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4}[entry["dtype"]]
        for dim in entry["shape"]:
            size *= dim
        assert begin == end and after - begin == size, (name, entry)
        tensors[name], end = (entry["dtype"], entry["shape"], data[begin:after]), after
    assert end == len(data), (end, len(data))
    try:
        from safetensors import safe_open  # pylint: disable=import-outside-toplevel
    except ImportError:
        return tensors
    with safe_open(path, "np") as opened:
        assert sorted(opened.keys()) == sorted(tensors)
    return tensors


class RunTest(unittest.TestCase):
    """One compiled plan for all cases."""

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(program()):
            raise unittest.SkipTest("not built: " + program())
        if not has_compiler():
            raise unittest.SkipTest("not built: libninfer-compiler.so")
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = cls.temporary.name
        cls.environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(cls.folder, "cache"))
        done = cls.run_program(DEMO, "--weights=f32", "--max-tokens=1")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        plans = os.listdir(os.path.join(cls.folder, "cache", "ninfer"))
        assert len(plans) == 1, plans
        cls.plan = os.path.join(cls.folder, "demo.plan")
        shutil.copy(os.path.join(cls.folder, "cache", "ninfer", plans[0]), cls.plan)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def run_program(cls, *arguments, stdin=subprocess.DEVNULL, text=None, environment=None):
        return subprocess.run([program(), *arguments], stdin=None if text is not None else stdin, input=text,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
                              env=environment or cls.environment)

    def run_ok(self, *arguments, **keywords):
        done = self.run_program(*arguments, **keywords)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def run_json(self, *arguments, **keywords):
        return json.loads(self.run_ok(self.plan, "--json", *arguments, **keywords).stdout)

    def expect_refusal(self, message, *arguments, **keywords):
        """Exit status 2, nothing on standard output, one line on standard error."""
        done = self.run_program(*arguments, **keywords)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertEqual(done.stderr, "ninfer-run: %s\n" % message)

    def path(self, name):
        return os.path.join(self.folder, name)

    # What comes out.

    def test_the_text_goes_to_standard_output_and_nothing_else(self):
        done = self.run_ok(self.plan, "--prompt", PROMPT, "--temperature=0", "--max-tokens=40")
        self.assertTrue(golden()["text"].startswith(done.stdout.rstrip("\n")), done.stdout)
        self.assertTrue(done.stdout.startswith(PROMPT + ", "))
        self.assertEqual(done.stderr, "")

    def test_the_prompt_can_be_left_out_of_the_output(self):
        done = self.run_ok(self.plan, "--prompt", PROMPT, "--temperature=0", "--max-tokens=40", "--no-echo")
        self.assertTrue(golden()["text"][len(PROMPT):].startswith(done.stdout.rstrip("\n")), done.stdout)

    def test_greedy_ids_are_those_of_the_golden(self):
        found = self.run_json("--prompt", PROMPT, "--temperature=0")
        self.assertEqual(found["prompt_ids"] + found["ids"], golden()["greedy_ids"])
        self.assertEqual(found["finish"], "end id")
        self.assertEqual(found["stats"]["prompt_tokens"], 4)
        self.assertEqual(found["stats"]["generated_tokens"], len(found["ids"]))

    def test_the_eager_engine_gives_the_same_ids(self):
        done = self.run_ok(DEMO, "--engine=eager", "--weights=f32", "--json", "--prompt", PROMPT, "--temperature=0",
                           "--max-tokens=20")
        found = json.loads(done.stdout)
        self.assertEqual(found["engine"], "eager")
        self.assertEqual(found["prompt_ids"] + found["ids"], golden()["greedy_ids"][:24])

    def test_ids_in_and_chunks_give_the_same(self):
        whole = self.run_json("--prompt", PROMPT, "--temperature=0", "--max-tokens=20")
        for chunk in (1, 3, 16):
            found = self.run_json("--prompt-ids", ",".join(map(str, whole["prompt_ids"])), "--chunk=%d" % chunk,
                                  "--temperature=0", "--max-tokens=20")
            self.assertEqual(found["ids"], whole["ids"])

    def test_logits_are_of_every_position_and_do_not_depend_on_threads_or_chunks(self):
        first = None
        for flags in (["--threads=1"], ["--threads=2"], ["--threads=2", "--chunk=1"], ["--threads=1", "--chunk=3"]):
            self.run_ok(self.plan, "--prompt", PROMPT, "--temperature=0", "--max-tokens=5", "--logits",
                        self.path("l.npy"), *flags)
            shape, values = read_npy(self.path("l.npy"))
            self.assertEqual(shape, (9, 1101))
            first = first or values
            self.assertEqual(values, first, flags)

    def test_stop_strings_end_the_text(self):
        found = self.run_json("--prompt", PROMPT, "--temperature=0", "--stop=nothing", "--stop", " named")
        self.assertEqual((found["finish"], found["text"]), ("stop string", ", there was a stubborn otter"))

    def test_an_ignored_end_id_does_not_end_the_text(self):
        found = self.run_json("--prompt", PROMPT, "--temperature=0", "--ignore-eos", "--max-tokens=120")
        self.assertEqual(len(found["ids"]), 120)

    def test_a_seed_repeats_a_text(self):
        texts = [self.run_json("--prompt", PROMPT, "--seed=%d" % seed, "--temperature=1", "--max-tokens=30")["ids"]
                 for seed in (1, 1, 2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_sampling_follows_the_model_unless_told_otherwise(self):
        defaults = self.run_json("--prompt", PROMPT, "--max-tokens=1")["sampling"]
        self.assertEqual((defaults["sample"], defaults["temperature"], defaults["top_p"]), (True, 0.7, 0.95))
        told = self.run_json("--prompt", PROMPT, "--max-tokens=1", "--top-k=3", "--top-p=0.5", "--seed=9")["sampling"]
        self.assertEqual((told["top_k"], told["top_p"], told["seed"], told["temperature"]), (3, 0.5, 9, 0.7))

    def test_statistics_go_to_standard_error(self):
        done = self.run_ok(self.plan, "--prompt", PROMPT, "--max-tokens=20", "--temperature=0", "--stats")
        for words in ("load ", "weights ", "prompt    4 tokens", "generated 20 tokens", "MB a token", "% of "):
            self.assertIn(words, done.stderr)
        self.assertNotIn("generated", done.stdout)

    def test_weights_memory_is_as_asked(self):
        for memory, found in (("map", "mapped"), ("copy", "copied")):
            stats = self.run_json("--prompt", PROMPT, "--max-tokens=2", "--weights-memory", memory)["stats"]
            self.assertEqual(stats["weights_memory"], found)

    def test_tensors_are_dumped_by_eager_and_by_plans_that_keep_them(self):
        for arguments in ((self.plan,), (DEMO, "--engine=eager")):
            path = self.path("dump.safetensors")
            self.run_ok(*arguments, "--prompt", PROMPT, "--max-tokens=3", "--temperature=0", "--dump-tensors=.",
                        "--dump-to", path)
            self.assertGreater(len(read_safetensors(path)), 3)

    def test_tensors_that_none_has_are_refused_before_any_text(self):
        message = "--dump-tensors: expected the name of a tensor that is kept, found \"^soul$\", which none has"
        for prefix, arguments in ((self.plan + ": ", (self.plan,)), ("", (DEMO, "--engine=eager"))):
            self.expect_refusal(prefix + message, *arguments, "--dump-tensors=^soul$", "--dump-to",
                                self.path("soul.safetensors"))
            self.assertFalse(os.path.exists(self.path("soul.safetensors")))

    def dumped(self, *arguments, tokens=1, names=r"^hidden\.\d+$"):
        """What a prompt of nine ids, in three steps, and its answer leave behind."""
        path = self.path("dump.safetensors")
        ids = ",".join(map(str, golden()["greedy_ids"][:9]))
        self.run_ok(*arguments, "--prompt-ids", ids, "--chunk=4", "--max-tokens=%d" % tokens, "--temperature=0",
                    "--dump-tensors=" + names, "--dump-to", path)
        found = {}
        for name, (dtype, shape, data) in read_safetensors(path).items():
            if dtype == "BF16":
                bits = struct.unpack("<%dH" % (len(data) // 2), data)
                data = struct.pack("<%dI" % len(bits), *(b << 16 for b in bits))
            found[name] = (shape, struct.unpack("<%df" % (len(data) // 4), data))
        return found

    def test_without_a_cache_a_text_is_dumped_once_however_often_it_was_computed(self):
        for arguments in ((DEMO, "--weights=f32"), (DEMO, "--engine=eager")):
            found = self.dumped(*arguments, "--disable-pass=kv-cache", "--no-cache", tokens=3, names="^(hidden.0|logits)$")
            # Two tokens of the answer went in, and three rows of logits were asked for.
            self.assertEqual([found[name][0][0] for name in ("hidden.0", "logits")], [9 + 2, 3], arguments)

    def test_a_plan_dumps_the_hidden_rows_that_eager_has(self):
        reference = self.dumped(DEMO, "--engine=eager", "--weights=f32")
        with open(os.path.join(DEMO, "config.json"), encoding="utf-8") as file:
            layers = json.load(file)["num_hidden_layers"]
        names = sorted("hidden.%d" % i for i in range(layers + 1))
        self.assertEqual(sorted(reference), names)
        for dtype, bound in (("f32", 1e-4), ("bf16", 0.06)):
            found = self.dumped(DEMO, "--weights", dtype, "--activations", dtype)
            self.assertEqual(sorted(found), names, dtype)
            for name in names:
                shape, expected = reference[name]
                self.assertEqual((shape[0], found[name][0]), (9, shape), name)
                largest = max(map(abs, expected))
                error = max(abs(a - b) for a, b in zip(expected, found[name][1])) / largest
                self.assertLessEqual(error, bound, "%s in %s" % (name, dtype))
            if dtype == "bf16":  # the two are not one and the same run
                self.assertNotEqual(found["hidden.6"][1], reference["hidden.6"][1])

    # What goes in.

    def test_piped_text_is_the_prompt(self):
        found = self.run_json("--temperature=0", "--max-tokens=3", text=PROMPT + "\n")
        self.assertEqual(found["prompt_ids"], golden()["prompt_ids"])

    def test_a_file_is_the_prompt(self):
        with open(self.path("prompt.txt"), "w", encoding="utf-8") as file:
            file.write(PROMPT)
        found = self.run_json("--temperature=0", "--max-tokens=3", "--prompt-file", self.path("prompt.txt"))
        self.assertEqual(found["prompt_ids"], golden()["prompt_ids"])

    def test_with_nothing_else_a_plan_starts_with_its_default_prompt(self):
        for arguments, keywords in (((), {}), ((), {"text": ""}), (("--prompt-file", os.devnull), {})):
            found = self.run_json("--max-tokens=5", *arguments, **keywords)
            self.assertEqual(found["prompt_ids"], golden()["prompt_ids"])
        done = self.run_ok(DEMO, "--engine=eager", "--max-tokens=5", "--temperature=0")
        self.assertTrue(done.stdout.startswith("Once upon a time, "), done.stdout)

    def test_without_a_default_prompt_a_plan_starts_with_its_first_token(self):
        folder = self.path("promptless")
        shutil.copytree(DEMO, folder)
        path = os.path.join(folder, "generation_config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        del config["default_prompt"]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        found = json.loads(self.run_ok(folder, "--json", "--max-tokens=5").stdout)
        self.assertEqual(found["prompt_ids"], [config["bos_token_id"]])

    def test_closed_standard_input_is_no_prompt(self):
        done = subprocess.run("exec '%s' '%s' --max-tokens=3 <&-" % (program(), self.plan), shell=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    # Folders and the cache.

    def test_a_folder_is_compiled_once_and_then_comes_from_the_cache(self):
        environment = dict(self.environment, XDG_CACHE_HOME=self.path("cache2"))
        flags = (DEMO, "-v", "--prompt", PROMPT, "--temperature=0", "--max-tokens=5", "--json")
        first = self.run_ok(*flags, environment=environment)
        self.assertRegex(first.stderr, r"compiled in [0-9.]+ s\nwriting the plan to .*cache2/ninfer/demo-[0-9a-f]+\.plan\n"
                                       r"first kernel ready after [0-9.]+ s\n")
        second = self.run_ok(*flags, environment=environment)
        self.assertRegex(second.stderr, r"^plan from the cache: .*cache2/ninfer/demo-[0-9a-f]+\.plan\n$")
        first, second = json.loads(first.stdout), json.loads(second.stdout)
        self.assertEqual(first["text"], second["text"])
        self.assertEqual(first["content_digest"], second["content_digest"])

    def test_a_damaged_cached_plan_is_compiled_again(self):
        environment = dict(self.environment, XDG_CACHE_HOME=self.path("cache3"))
        self.run_ok(DEMO, "--max-tokens=1", environment=environment)
        folder = self.path("cache3/ninfer")
        with open(os.path.join(folder, os.listdir(folder)[0]), "r+b") as file:
            file.seek(1000)
            file.write(b"\xff\xfe\xfd")
        done = self.run_ok(DEMO, "--max-tokens=1", "-v", environment=environment)
        self.assertIn("compiling again: ", done.stderr)

    def test_code_for_another_cpu_is_made_anew_with_one_line_that_says_so(self):
        hidden = json.loads(self.run_ok(self.plan, "--json", "--max-tokens=1").stdout)["engine"]
        environment = dict(self.environment,
                           NINFER_HIDE_CPU_FEATURES="avx512f,avx512_bf16,avx512bw,avx512vl,avx512dq,avx_vnni")
        done = self.run_program(self.plan, "--prompt", PROMPT, "--temperature=0", "--max-tokens=20", "--json",
                                environment=environment)
        if "x86-64-v3" in hidden:
            self.skipTest("this CPU has nothing to hide")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"^code for \S+ needs avx512.*, which this CPU lacks; generating code anew\n$")
        found = json.loads(done.stdout)
        self.assertIn("x86-64-v3", found["engine"])
        self.assertEqual(found["prompt_ids"] + found["ids"], golden()["greedy_ids"][:24])

    # Endings.

    def test_ctrl_c_ends_it_with_the_statistics(self):
        # A context that no machine fills before the signal comes.
        process = subprocess.Popen([program(), DEMO, "--context=100000", "--no-cache", "--ignore-eos", "--prompt", PROMPT],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment)
        process.stdout.read(20)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, errors)
        self.assertIn(b"ended by: cancelled", errors)

    def test_text_is_refused_where_the_model_has_no_tokenizer(self):
        mute = self.path("mute")
        os.mkdir(mute)
        for name in ("config.json", "model.safetensors"):
            shutil.copy(os.path.join(DEMO, name), mute)
        done = self.run_program(mute, "--no-cache", "--prompt", PROMPT)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr.split("\n")[-2],
                         "ninfer-run: --prompt: the model has no tokenizer: expected --prompt-ids, found text")
        self.assertEqual(self.run_ok(mute, "--no-cache", "--prompt-ids=1,2", "--max-tokens=2").stdout.count(" "), 2)

    def test_help_goes_to_standard_output(self):
        done = self.run_ok("--help")
        for flag in ("--prompt-ids", "--temperature", "--weights-memory", "--dump-tensors"):
            self.assertIn(flag, done.stdout)

    def test_the_program_is_small_and_needs_the_c_library_alone(self):
        with open(program(), "rb") as file:
            data = file.read()
        if b"__asan_init" in data or b"__tsan_init" in data:
            self.skipTest("built for a sanitiser")
        self.assertLess(os.path.getsize(program()), 5000000)
        libraries = subprocess.run(["ldd", program()], stdout=subprocess.PIPE, text=True, check=True).stdout
        names = {os.path.basename(line.split()[0]) for line in libraries.splitlines()}
        self.assertLessEqual({name.split(".")[0] for name in names},
                             {"linux-vdso", "libc", "libm", "libdl", "libpthread", "ld-linux-x86-64"})

    # Refusals.

    def test_an_empty_prompt_is_refused_when_it_was_given(self):
        self.expect_refusal("--prompt: expected a value, found none", self.plan, "--prompt", "")

    def test_prompts_that_do_not_fit_are_refused(self):
        self.expect_refusal("prompt: expected at most 1024 tokens, the context's length, found 1025", self.plan,
                            "--prompt-ids", ",".join(["5"] * 1025))
        self.expect_refusal("prompt: token 1: expected an id from 0 to 1100, found 1101", self.plan,
                            "--prompt-ids=5,1101")
        self.expect_refusal("--prompt-ids: expected numbers separated by commas, found \"x\"", self.plan,
                            "--prompt-ids=5,x")

    def test_flags_that_contradict_each_other_are_refused(self):
        self.expect_refusal("expected one of --prompt, --prompt-file and --prompt-ids, found 2", self.plan,
                            "--prompt=a", "--prompt-ids=1")
        self.expect_refusal("expected --dump-tensors and --dump-to together, found one", self.plan, "--dump-to=x")
        self.expect_refusal("--weights: expected a model folder, found " + self.plan, self.plan,
                            "--weights=f32")
        self.expect_refusal(self.plan + ": --engine=eager: expected a model folder, found a plan", self.plan,
                            "--engine=eager")

    def test_values_out_of_bounds_are_refused(self):
        self.expect_refusal("--temperature: expected 0 to 1e+09, found -1", self.plan, "--temperature=-1")
        self.expect_refusal("--top-p: expected 0 to 1, found 1.5", self.plan, "--top-p=1.5")
        self.expect_refusal("--weights-memory: expected auto, map or copy, found \"swap\"", self.plan,
                            "--weights-memory=swap")
        for flag in ("--max-tokens=-1", "--threads=0", "--chunk=0", "--engine=gpu", "--nonsense", "--seed=x"):
            done = self.run_program(self.plan, flag)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)

    def test_what_is_no_model_is_refused(self):
        self.expect_refusal("/nowhere: expected a plan or a model folder, found nothing", "/nowhere")
        empty = self.path("empty")
        os.makedirs(empty, exist_ok=True)
        done = self.run_program(empty)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
        self.assertIn("config.json", done.stderr)

    def test_a_plan_that_was_cut_is_refused(self):
        cut = self.path("cut.plan")
        size = os.path.getsize(self.plan)
        for length in (0, 10, 63, 64, 1000, size // 2, size - 1):
            shutil.copy(self.plan, cut)
            os.truncate(cut, length)
            done = self.run_program(cut)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
            self.assertTrue(done.stderr.startswith("ninfer-run: " + cut + ": "), done.stderr)

    def test_a_plan_with_a_byte_changed_is_refused(self):
        spoilt = self.path("spoilt.plan")
        size = os.path.getsize(self.plan)
        for at in (0, 12, 70, 2000, size // 2, size - 1):
            shutil.copy(self.plan, spoilt)
            with open(spoilt, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 0x41]))
            done = self.run_program(spoilt)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)

    def test_files_that_cannot_be_written_are_named(self):
        done = self.run_program(self.plan, "--prompt=a", "--max-tokens=1", "--logits=/nowhere/l.npy")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, "ninfer-run: /nowhere/l.npy: cannot write: No such file or directory\n")

    def test_a_full_disk_under_standard_output_is_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([program(), self.plan, "--max-tokens=3"], stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (2, "ninfer-run: standard output: cannot write\n"))

    def test_a_folder_without_the_compiler_is_refused(self):
        alone = self.path("alone")
        os.makedirs(alone, exist_ok=True)
        shutil.copy(program(), alone)
        done = subprocess.run([os.path.join(alone, "ninfer-run"), DEMO], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                              env=dict(self.environment, XDG_CACHE_HOME=self.path("none")))
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr, "ninfer-run: %s: a model folder needs the compiler: libninfer-compiler.so: not found "
                         "beside the program, in ../lib or on the library path\n" % DEMO)

    def test_without_the_bundled_plan_a_model_must_be_named(self):
        alone = self.path("alone2")
        os.makedirs(alone, exist_ok=True)
        shutil.copy(program(), alone)
        done = subprocess.run([os.path.join(alone, "ninfer-run")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("the model that ships with ninfer: not found; name a plan or a model folder", done.stderr)

    def test_loading_is_quick_when_the_file_is_in_memory(self):
        best = min(self.run_json("--max-tokens=1", "--prompt", PROMPT)["stats"]["load_seconds"] for _ in range(5))
        self.assertLess(best, 0.5)

    def test_a_story_needs_no_more_than_moments(self):
        start = time.monotonic()
        self.run_ok(self.plan, "--max-tokens=100")
        self.assertLess(time.monotonic() - start, 20)


if __name__ == "__main__":
    script_main.main()
