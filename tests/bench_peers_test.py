"""Tests ninfer-bench --peers with a made-up engine in place of each one's Python, and what is said when PyPI cannot be
reached. Needs no network; no time is asserted."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import unittest

import script_main

DEMO = os.path.join(script_main.ROOT, "models", "demo")
SCRIPTS = os.path.join(script_main.ROOT, "bench", "peers")

# Stands where an engine's python3 would. Notes what it was asked, and fails as it is told to.
ENGINE = """#!/usr/bin/env python3
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
for line in sys.stdin:
    request = json.loads(line)
    with open(os.path.join(folder, "asked"), "a") as file:
        file.write(line)
    if request["op"] == "load":
        answer = {"version": "fake 1", "weights": "W-" + request["weights"], "activations": "A", "kv_cache": "C",
                  "bits": 8.5, "settings": os.path.basename(sys.argv[2])}
        if request["weights"] in %r:
            answer = {"error": "weights: none such"}
    else:
        answer = {"seconds": 0.25}
    print(json.dumps(answer), flush=True)
"""


class PeersTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name

    def engine(self, name, refuses=()):
        home = os.path.join(self.folder, name)
        os.makedirs(os.path.join(home, "bin"))
        path = os.path.join(home, "bin", "python3")
        with open(path, "w", encoding="utf-8") as file:
            file.write(ENGINE % (list(refuses),))
        os.chmod(path, 0o755)
        with open(os.path.join(home, "installed"), "w", encoding="utf-8"):
            pass

    def asked(self, name):
        with open(os.path.join(self.folder, name, "bin", "asked"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def bench(self, *arguments, **environment):
        program = os.path.join(script_main.BIN, "ninfer-bench")
        return subprocess.run([program, *arguments, "--peers-folder", self.folder], text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600, check=False,
                              env=dict(os.environ, **environment))

    def tables(self, *arguments, **environment):
        done = self.bench(*arguments, "-r", "2", "-o", "json", **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_each_engine_has_a_row_beside_ours(self):
        self.engine("llama.cpp")
        self.engine("openvino")
        table, = self.tables(DEMO, "-p", "20", "-n", "5", "--formats", "int8", "--peers=llama.cpp,openvino")
        self.assertEqual([(row["engine"], row["test"], row["weights"]) for row in table["rows"]],
                         [("ninfer", "pp20", "int8_g32"), ("llama.cpp", "pp20", "W-int8"), ("openvino", "pp20", "W-int8"),
                          ("ninfer", "tg5", "int8_g32"), ("llama.cpp", "tg5", "W-int8"), ("openvino", "tg5", "W-int8")])
        for row in table["rows"]:
            if row["engine"] != "ninfer":
                self.assertEqual(row["samples"], [row["tokens"] / 0.25] * 2)
                self.assertAlmostEqual(row["ratio_to_engine"] * row["tokens_per_second"],
                                       next(ours["tokens_per_second"] for ours in table["rows"]
                                            if ours["engine"] == "ninfer" and ours["test"] == row["test"]), places=6)
        self.assertIn("llama.cpp: fake 1, W-int8 weights of 8.50 bits overall, llama_cpp_peer.py.", table["notes"])
        self.assertIn("openvino: fake 1, W-int8 weights of 8.50 bits overall, openvino_peer.py.", table["notes"])

    def test_whatever_our_form_of_eight_bits_is_it_is_asked_for_its_own(self):
        self.engine("openvino")
        table, = self.tables(DEMO, "-n", "3", "--formats", "int8:channel", "--activations", "int8:row", "--peers=openvino")
        self.assertEqual([(row["engine"], row["weights"]) for row in table["rows"]],
                         [("ninfer", "int8_channel"), ("openvino", "W-int8")])

    def test_it_is_asked_for_the_shape_and_in_turns(self):
        self.engine("llama.cpp")
        self.tables(DEMO, "-p", "20", "-n", "5", "-d", "7", "--formats", "bf16", "-t", "1", "--peers=llama.cpp")
        load, *rest = self.asked("llama.cpp")
        with open(os.path.join(DEMO, "config.json"), encoding="utf-8") as file:
            self.assertEqual(load["config"], json.load(file))
        self.assertEqual((load["weights"], load["threads"], load["context"], load["cache"]),
                         ("bf16", 1, 20 + 7 + 1, os.path.join(self.folder, "cache")))
        # Once to warm up, then a round for each repetition; again at once where the machine's state changed.
        questions = [(question["op"], question["tokens"], question["depth"], question["batch"]) for question in rest]
        self.assertEqual([question for question, _ in itertools.groupby(questions)],
                         [("prefill", 20, 7, 1), ("decode", 5, 7, 1)] * 3)

    def test_a_format_that_one_lacks_leaves_a_line_and_the_table_goes_on(self):
        self.engine("llama.cpp", refuses=["int8"])
        self.engine("openvino")
        table, = self.tables(DEMO, "-n", "3", "--formats", "int8,bf16", "--peers=llama.cpp,openvino")
        self.assertEqual([(row["engine"], row["weights"]) for row in table["rows"]],
                         [("ninfer", "int8_g32"), ("openvino", "W-int8"),
                          ("ninfer", "bf16"), ("llama.cpp", "W-bf16"), ("openvino", "W-bf16")])
        self.assertIn("Not measured: llama.cpp: weights: none such", table["notes"])

    def test_without_a_network_there_is_a_line_and_the_table_goes_on(self):
        self.engine("openvino")
        table, = self.tables(DEMO, "-n", "3", "--peers=llama.cpp,openvino", PIP_NO_INDEX="1")
        self.assertEqual([row["engine"] for row in table["rows"]], ["ninfer", "openvino"])
        lines = [note for note in table["notes"] if note.startswith("Not measured: ")]
        self.assertEqual(len(lines), 1, lines)
        # One reason or the other: Debian's python3 may lack its module venv.
        self.assertRegex(lines[0], "^Not measured: llama.cpp: (could not be installed: ERROR: |expected python3 with its)")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "llama.cpp", "installed")))

    def test_refusals(self):
        def refused(message, *arguments):
            done = self.bench(*arguments)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", "ninfer-bench: %s\n" % message))
        known = "llama.cpp, openvino, onnxruntime, vllm, torch, transformers"
        refused("--peers: expected %s, found 'jax'" % known, DEMO, "-n", "2", "--peers=jax")
        refused("--peers: expected torch or transformers for the 2x2 (with -p or -n any), found all", DEMO, "--peers")
        refused("--peers: expected torch or transformers for the 2x2 (with -p or -n any), found llama.cpp",
                DEMO, "--peers=llama.cpp")
        refused("--peer-source: expected ik=FOLDER or llama.cpp=FOLDER, found 'ik'", DEMO, "-n", "2", "--peer-source", "ik")


class InstallTest(unittest.TestCase):
    def install(self, *arguments, **environment):
        return subprocess.run(["bash", os.path.join(SCRIPTS, "install.sh"), *arguments], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600,
                              check=False, env=dict(os.environ, PIP_NO_INDEX="1", **environment))

    def test_a_folder_is_asked_for(self):
        done = self.install()
        self.assertEqual((done.returncode, done.stderr), (2, "usage: install.sh FOLDER [NAME...]\n"))

    def test_an_unknown_name_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.install(folder, "jax")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, "", "jax: expected llama.cpp, openvino, onnxruntime, vllm, torch, ik=SOURCE or "
                                 "llama.cpp=SOURCE\n"))

    def test_a_base_that_fails_fails_what_stands_on_it(self):
        with tempfile.TemporaryDirectory() as folder:
            python = os.path.join(folder, "python3")
            with open(python, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\nexit 1\n")
            os.chmod(python, 0o755)
            done = self.install(folder, "openvino", PATH=folder + ":" + os.environ["PATH"])
        self.assertEqual((done.returncode, done.stderr.splitlines()),
                         (1, ["torch: expected python3 with its module venv (Debian: apt-get install python3-venv)",
                              "openvino: needs torch"]))


# A peer that is asked in the words of bench/peers/protocol.py.
PEER = """
import protocol
import os, sys

class Peer:
    def load(self, request):
        if request["weights"] == "none":
            raise protocol.Refusal("weights: expected some")
        if request["weights"] == "again" and not os.environ.get("WAS_HERE"):
            os.environ["WAS_HERE"] = "1"
            os.sched_setaffinity(0, protocol.CPUS[:1])
            protocol.restart(request)
        print("chatter")  # must not reach the answers
        self.settings = protocol.Settings(["broken", "slow", "fast", "slower"])
        return {"cpus": len(protocol.CPUS)}

    def prefill(self, request):
        seconds = {"slow": 2.0, "fast": 1.0, "slower": 3.0}
        if request["tokens"] > 1000:
            seconds = {}
        return self.settings.run(request, lambda name: seconds[name])

    def decode(self, request):
        return {"path": protocol.cached(request, "file", lambda path: self.make(path, request["fails"]))}

    def make(self, path, fails):
        with open(path, "x") as file:
            file.write("made")
        if fails:
            raise ValueError("no room\\non this disk")

protocol.serve(Peer())
"""


class ProtocolTest(unittest.TestCase):
    def answers(self, *requests):
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, "made_up_peer.py")
            with open(script, "w", encoding="utf-8") as file:
                file.write(PEER)
            process = subprocess.Popen([sys.executable, "-B", script], text=True, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       env=dict(os.environ, PYTHONPATH=SCRIPTS))
            with process:
                answers = []
                for request in requests:  # each is sent once the one before is answered
                    process.stdin.write(json.dumps(request) + "\n")
                    process.stdin.flush()
                    answers.append(json.loads(process.stdout.readline()))
                process.stdin.close()
                self.assertEqual(process.stdout.read(), "")
        self.assertEqual(process.returncode, 0)
        return answers

    def test_the_fastest_setting_is_kept_and_named(self):
        question = {"op": "prefill", "tokens": 512}
        self.assertEqual(self.answers({"op": "load", "weights": "f32"}, question, question)[1:],
                         [{"seconds": 1.0, "setting": "fast"}] * 2)

    def test_a_request_that_no_setting_can_do_is_an_error(self):
        self.assertEqual(self.answers({"op": "load", "weights": "f32"}, {"op": "prefill", "tokens": 1001})[1],
                         {"error": "KeyError: 'slower'"})

    def test_errors_are_a_line_and_the_next_request_is_answered(self):
        self.assertEqual(self.answers({"op": "load", "weights": "none"}, {"op": "load"},
                                      {"op": "load", "weights": "f32"}),
                         [{"error": "weights: expected some"}, {"error": "KeyError: 'weights'"},
                          {"cpus": len(os.sched_getaffinity(0))}])

    def test_files_are_made_once_for_each_shape_and_never_by_halves(self):
        with tempfile.TemporaryDirectory() as cache:
            def question(vocab, fails):
                return {"op": "decode", "config": {"model_type": "llama", "vocab_size": vocab}, "cache": cache,
                        "fails": fails}
            answers = self.answers(question(7, True), question(7, False), question(7, False), question(8, False))
            self.assertEqual(answers[0], {"error": "ValueError: no room"})
            self.assertEqual(answers[1], answers[2])
            self.assertNotEqual(answers[1], answers[3])
            self.assertEqual([os.listdir(os.path.dirname(answer["path"])) for answer in answers[2:]], [["file"]] * 2)

    def test_a_new_process_begins_with_the_same_request_on_all_cpus(self):
        self.assertEqual(self.answers({"op": "load", "weights": "again"}, {"op": "prefill", "tokens": 1}),
                         [{"cpus": len(os.sched_getaffinity(0))}, {"seconds": 1.0, "setting": "fast"}])


# Stand where the programs of a llama.cpp built from source would.
LLAMA_BENCH = """#!/bin/sh
echo "$@" >>"$(dirname "$0")/asked"
case "$*" in
--help) echo "%s" ;;
*"-fa 0"*) echo '[{"build_commit": "abc", "model_n_params": 1000, "avg_ns": 500000000}]' ;;
*) echo '[{"build_commit": "abc", "model_n_params": 1000, "avg_ns": 750000000}]' ;;
esac
"""
LLAMA_BATCHED_BENCH = """#!/bin/sh
echo "| PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |"
echo "|----|----|---|------|--------|----------|--------|----------|-----|-------|"
echo "|  8 |  4 | 3 |   36 |  0.100 |   240.00 |  0.250 |    48.00 | 0.4 |  90.0 |"
"""


class SourceTest(unittest.TestCase):
    """bench/peers/llama_source_peer.py on made-up programs; the package gguf is not needed to get as far as these."""

    def ask(self, help_text, *requests):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = os.path.join(temporary.name, "ik-source", "build")
        self.bin = os.path.join(folder, "bin")
        os.makedirs(self.bin)
        for name, text in (("llama-bench", LLAMA_BENCH % help_text), ("llama-batched-bench", LLAMA_BATCHED_BENCH),
                           ("llama-quantize", "#!/bin/sh\nprintf '%1000s' >\"$2\"\n")):
            path = os.path.join(self.bin, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, 0o755)
        stub = os.path.join(temporary.name, "stub")
        os.makedirs(stub)
        with open(os.path.join(stub, "gguf_model.py"), "w", encoding="utf-8") as file:
            file.write("def write(path, config, kind):\n    open(path, 'w').close()\n")
        # The stub comes first: the folder of a script is on its path before PYTHONPATH is.
        run = "import sys; sys.path.insert(0, %r); sys.argv = ['x', %r]; exec(open(%r).read())" % (
            stub, folder, os.path.join(SCRIPTS, "llama_source_peer.py"))
        load = {"op": "load", "config": {"model_type": "llama"}, "weights": "int8", "threads": 2, "context": 64,
                "cache": os.path.join(temporary.name, "cache")}
        done = subprocess.run([sys.executable, "-B", "-c", run], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              input="".join(json.dumps(request) + "\n" for request in (load, *requests)), timeout=60,
                              check=False, env=dict(os.environ, PYTHONPATH=SCRIPTS))
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def asked(self):
        with open(os.path.join(self.bin, "asked"), encoding="utf-8") as file:
            return file.read()

    def test_its_own_programs_measure_and_the_faster_attention_is_kept(self):
        load, prefill, deep, batched = self.ask(
            "--n-depth", {"op": "prefill", "tokens": 8, "depth": 0}, {"op": "decode", "tokens": 4, "depth": 5, "batch": 1},
            {"op": "decode", "tokens": 4, "depth": 8, "batch": 3})
        self.assertEqual((load["version"], load["weights"], load["bits"]), ("commit abc", "Q8_0", 8))
        self.assertEqual(prefill, {"seconds": 0.5, "setting": "attention without flash"})
        self.assertEqual(deep, {"seconds": 0.5, "setting": "attention without flash"})
        self.assertEqual(batched["seconds"], 0.25)
        self.assertIn("-p 0 -n 4 -d 5", self.asked())
        self.assertNotIn("-rtr", self.asked())

    def test_a_fork_repacks_and_takes_depth_its_own_way(self):
        _, deep, prefill = self.ask(
            "--run-time-repack", {"op": "decode", "tokens": 4, "depth": 5, "batch": 1},
            {"op": "prefill", "tokens": 8, "depth": 5})
        self.assertEqual(deep["seconds"], 0.5)
        self.assertIn("-rtr 1", self.asked())
        self.assertIn("-gp 5,4", self.asked())
        self.assertEqual(prefill, {"error": "prefill behind cached positions: not offered by its benchmark"})


if __name__ == "__main__":
    script_main.main()
