"""Tests ninfer-bench as a user meets it: the 2x2 on the bundled model, throughput, formats, and refusals. No time is
asserted."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

import script_main

DEMO = os.path.join(script_main.ROOT, "models", "demo")


def bench(*arguments):
    program = os.path.join(script_main.BIN, "ninfer-bench")
    return subprocess.run([program] + list(arguments), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, timeout=600, check=False)


class BenchTest(unittest.TestCase):
    def tables(self, *arguments):
        done = bench(*arguments, "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def refused(self, message, *arguments):
        done = bench(*arguments)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", "ninfer-bench: %s\n" % message))


class StoryTest(BenchTest):
    def test_the_four_say_the_same_within_each_type(self):
        tables = self.tables(DEMO, "--new-tokens", "6,5", "-r", "1", "--attention", "0")
        self.assertEqual(len(tables), 4)  # two types, two prompts
        for table, (kind, prompt, count) in zip(tables, [("f32", "Deep learning is", 6),
                                                         ("f32", "What does hello mean", 5),
                                                         ("bf16", "Deep learning is", 6),
                                                         ("bf16", "What does hello mean", 5)]):
            self.assertIn("demo, %s weights and activations" % kind, table["title"])
            self.assertIn('"%s"' % prompt, table["title"])
            self.assertIn("%d new tokens" % count, table["title"])
            rows = table["rows"]
            self.assertEqual([(row["engine"], row["kv_cache"]) for row in rows],
                             [("ninfer eager", "no"), ("ninfer eager", "yes"),
                              ("ninfer compiled", "no"), ("ninfer compiled", "yes")])
            if kind == "f32":
                self.assertEqual(table["notes"][0], "Ids of ninfer's engines: equal.")
            self.assertEqual(len(set(row["ids_digest"] for row in rows)) == 1, "equal" in table["notes"][0])
            for row in rows:
                # Prompt tokens are not counted: the rate is that of the new ones.
                self.assertAlmostEqual(row["tokens_per_second"] * row["seconds"], count, places=6)
                self.assertGreater(row["scratch_mib"], 0)
                self.assertGreater(row["first_token_ms"], 0)

    def test_random_weights_are_labelled_and_start_from_fixed_ids(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "config.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 300,
                           "n_positions": 256, "n_embd": 64, "n_layer": 2, "n_head": 2}, file)
            tables = self.tables("--random-weights", path, "--formats", "f32", "--new-tokens", "3,3", "-r", "1",
                                 "--attention", "0")
        self.assertIn("with random weights", tables[0]["title"])
        self.assertIn("fixed ids (4 tokens)", tables[0]["title"])

    def test_a_model_of_few_positions_is_continued_as_far_as_they_reach(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "config.json")
            for name, key in (("GPT2LMHeadModel", "n_positions"), ("LlamaForCausalLM", "max_position_embeddings")):
                with open(path, "w", encoding="utf-8") as file:
                    json.dump({"architectures": [name], "model_type": "gpt2" if name.startswith("GPT2") else "llama",
                               "vocab_size": 3, key: 11, "n_embd": 64, "n_layer": 2, "n_head": 2, "hidden_size": 64,
                               "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}, file)
                tables = self.tables("--random-weights", path, "--formats", "f32", "--new-tokens", "3,50", "-r", "1",
                                     "--attention", "0")
                self.assertIn("3 new tokens", tables[0]["title"])
                self.assertNotIn("the model's context", " ".join(tables[0]["notes"]))
                self.assertIn("fixed ids (4 tokens), 7 new tokens", tables[1]["title"])
                self.assertIn("50 new tokens were asked for: the model's context is 11.", tables[1]["notes"])
                self.assertEqual(len(set(row["ids_digest"] for row in tables[1]["rows"])), 1)

    def test_forms_of_attention_agree_and_naive_stores_most(self):
        table = self.tables(DEMO, "--formats", "f32", "--new-tokens", "1,1", "-r", "1", "--attention", "64,256")[-1]
        self.assertIn("attention of 4 query and 2 KV heads of 32, f32", table["title"])
        self.assertEqual([row["positions"] for row in table["rows"]], [64, 256])
        for row in table["rows"]:
            self.assertLess(float(row["largest_difference"]), 1e-4)
        longest = table["rows"][1]
        self.assertGreater(longest["naive_kib"], longest["efficient_kib"])
        self.assertGreater(longest["efficient_kib"], longest["flash_kib"])
        # Four heads' scores in f32, less what they share with what lives before and after them.
        scores = 4 * 256 ** 2 * 4 / 1024
        self.assertGreater(longest["naive_kib"] - longest["flash_kib"], 0.75 * scores)


class ThroughputTest(BenchTest):
    def test_every_depth_has_its_rows_and_its_share(self):
        rows = self.tables(DEMO, "-p", "16,40", "-n", "4", "-d", "0,70", "-r", "2")[0]["rows"]
        self.assertEqual([row["test"] for row in rows],
                         ["pp16", "pp40", "tg4", "pp16 @ d70", "pp40 @ d70", "tg4 @ d70"])
        for row in rows:
            self.assertEqual(len(row["samples"]), 2)
            self.assertAlmostEqual(row["share_percent"],
                                   100 * row["tokens_per_second"] / row["limit_tokens_per_second"], places=6)
        self.assertGreater(rows[5]["bytes_per_token"], rows[2]["bytes_per_token"])
        self.assertGreater(rows[3]["operations"], rows[0]["operations"])
        self.assertEqual((rows[0]["weights"], rows[0]["activations"], rows[0]["kv_cache"]), ("bf16",) * 3)  # as stored

    def test_texts_at_a_time_read_the_weights_once_and_each_cache(self):
        rows = self.tables(DEMO, "-n", "3", "--batch", "1,2,20", "--depth", "0,300", "-r", "1")[0]["rows"]
        self.assertEqual([row["test"] for row in rows],
                         ["tg3", "tg3 x2", "tg3 x20", "tg3 @ d300", "tg3 x2 @ d300", "tg3 x20 @ d300"])
        step = [row["bytes_per_token"] * row["texts"] for row in rows]
        for one, many, texts in ((0, 2, 20), (3, 5, 20), (3, 4, 2)):
            self.assertGreater(step[many], step[one])
            self.assertLess(step[many], texts * step[one])
            self.assertEqual(rows[many]["operations"], texts * rows[one]["operations"])
        # What one more cache adds, 19 times.
        self.assertAlmostEqual(step[5] - step[3], 19 * (step[4] - step[3]), places=3)
        for row in rows:
            self.assertGreater(row["matrix_share_percent"], 0)
            self.assertLessEqual(row["matrix_share_percent"], row["share_percent"] + 1e-6)

    def test_a_window_is_all_that_is_counted_and_texts_go_back_behind_it(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "config.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "vocab_size": 75,
                           "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                           "num_key_value_heads": 2, "max_position_embeddings": 768, "sliding_window": 64}, file)
            rows = self.tables("--random-weights", path, "-p", "40", "-n", "3", "--batch", "1,3", "--depth", "300,600",
                               "-r", "2")[0]["rows"]
            beyond = self.tables("--random-weights", path, "-n", "1", "--depth", "1000", "-r", "1")[0]["rows"]
        self.assertEqual([row["test"] for row in rows[:3]], ["pp40 @ d300", "tg3 @ d300", "tg3 x3 @ d300"])
        for near, far in zip(rows[:3], rows[3:]):
            self.assertEqual((near["bytes_per_token"], near["operations"]), (far["bytes_per_token"], far["operations"]))
            self.assertEqual(len(far["samples"]), 2)
        # Random weights have whatever context is asked for.
        self.assertEqual(beyond[0]["test"], "tg1 @ d1000")

    def test_a_batch_is_decoded_beside_a_prompt_too(self):
        rows = self.tables(DEMO, "-p", "8", "--batch", "2", "-r", "1")[0]["rows"]
        self.assertEqual([row["test"] for row in rows], ["pp8", "tg64 x2"])

    def test_formats_share_a_table_that_names_types_and_bits(self):
        tables = self.tables(DEMO, "--formats", "f32,f16,int8,int4", "--depth", "0", "-n", "2", "-r", "1")
        self.assertEqual(len(tables), 1)
        rows = tables[0]["rows"]
        self.assertEqual([(row["weights"], row["kv_cache"]) for row in rows],
                         [("f32", "f32"), ("f16", "f32"), ("int8_g32", "bf16"), ("int4_g32", "bf16")])
        bits = [row["bits_per_weight"] for row in rows]
        for found, least, most in zip(bits, (32, 16, 8.5, 4.5), (32.5, 16.5, 9, 5)):
            self.assertGreaterEqual(found, least)
            self.assertLess(found, most)

    def test_activations_and_the_cache_have_types_of_their_own(self):
        (table,) = self.tables(DEMO, "--formats", "int8:channel", "--activations", "int8:row", "--kv-cache", "int8", "-n", "2", "-r", "1")
        (row,) = table["rows"]
        self.assertEqual((row["weights"], row["activations"], row["kv_cache"]), ("int8_channel", "int8:row into linears, else bf16", "int8"))

    def test_a_plot_shows_every_row(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "plot.svg")
            rows = self.tables(DEMO, "--batch", "1,2,3", "-n", "2", "-r", "1", "--plot", path)[0]["rows"]
            picture = xml.etree.ElementTree.parse(path).getroot()
        self.assertEqual(picture.tag, "{http://www.w3.org/2000/svg}svg")
        circles = [node for node in picture.iter("{http://www.w3.org/2000/svg}circle")]
        self.assertEqual(len(circles), len(rows) + 1)  # and one in the legend

    def test_csv_has_a_line_for_each_test(self):
        done = bench(DEMO, "-n", "2", "-r", "1", "-o", "csv")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        self.assertEqual([(row["engine"], row["test"]) for row in rows], [("ninfer", "tg2")])


class RooflineTest(BenchTest):
    def test_kernels_and_the_rest_are_the_step(self):
        tables = self.tables(DEMO, "--roofline", "-n", "4", "-p", "40", "--depth", "100", "--batch", "1,3", "-r", "1")
        self.assertEqual([re.search(r"cache bf16, (.*?), compiled", table["title"]).group(1) for table in tables],
                         ["pp40 @ d100", "tg4 @ d100", "tg4 x3 @ d100"])
        for table in tables:
            kernels, (every, rest, step) = table["rows"][:-3], table["rows"][-3:]
            self.assertEqual((every["kernel"], rest["kernel"], step["kernel"]),
                             ("all kernels", "barriers and rest", "prompt" if table is tables[0] else "step"))
            for key in ("launches", "megabytes", "megaoperations", "predicted_us", "measured_us"):
                self.assertAlmostEqual(every[key], sum(row[key] for row in kernels), places=6)
            self.assertAlmostEqual(step["measured_us"], every["measured_us"] + rest["measured_us"], places=6)
            self.assertGreater(rest["measured_us"], 0)
            self.assertEqual(set(row["family"] for row in kernels),
                             {"linear", "attention", "rowwise", "kv_append", "argmax"})
        # What the plan's launches multiply is what the imported graph does.
        for table in tables:
            every, step = table["rows"][-3], table["rows"][-1]
            self.assertAlmostEqual(every["megaoperations"] / step["megaoperations"], 1, places=6)
            self.assertGreater(every["megabytes"], step["megabytes"])  # buffers, too


class ProgressTest(BenchTest):
    def test_every_row_is_told_in_a_pipe_as_it_is_measured(self):
        done = bench(DEMO, "--formats", "f32", "--new-tokens", "2,1", "-r", "1", "--attention", "64")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 9, lines)  # four engines, two prompts, one length
        self.assertRegex(lines[0], r"^ninfer-bench: 1 of 9: f32 ninfer eager without cache, 2 tokens: [0-9.]+ tok/s$")
        self.assertRegex(lines[7], r"^ninfer-bench: 8 of 9: f32 ninfer compiled with cache, 1 token: [0-9.]+ tok/s$")
        self.assertRegex(lines[8], r"^ninfer-bench: 9 of 9: f32 forms of attention at 64 positions: [0-9.]+ ms as flash$")

    def test_an_interrupt_ends_a_measurement_in_its_middle(self):
        program = os.path.join(script_main.BIN, "ninfer-bench")
        # Without an interrupt this would take ten minutes at least.
        process = subprocess.Popen([program, DEMO, "-n", "2", "-r", "10000"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with process:
            process.stderr.readline()  # it measures
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=120)
        self.assertEqual((process.returncode, out), (130, ""))
        self.assertTrue(error.endswith("ninfer-bench: interrupted\n"), error[-200:])


class RefusalTest(BenchTest):
    def test_a_model_is_asked_for(self):
        self.refused("expected a model folder or --random-weights, found neither")
        self.refused("expected a model folder or --random-weights, found both", DEMO, "--random-weights", "gpt2-124m")
        self.refused("no-such-folder: expected a model folder or a plan, found nothing", "no-such-folder")

    def test_a_plan_has_no_2x2(self):
        file = os.path.join(DEMO, "config.json")
        self.refused(file + ": expected a model folder for the 2x2, found a file (with -p, -n or --roofline a plan will do)", file)

    def test_values_are_checked_by_name(self):
        self.refused("--output: expected md, csv or json, found 'xml'", DEMO, "-o", "xml")
        self.refused("--formats: expected f32, bf16, f16, int8, int8:channel, int4, int4:128, int4a, int4a:128, nu4, found 'int3'", DEMO, "--formats", "int3")
        self.refused("--formats: expected f32 or bf16 for the 2x2, found 'int8'", DEMO, "--formats", "int8")
        self.refused("--activations: expected -p, -n, --depth, --batch or --roofline, found none", DEMO, "--activations", "int8:row")
        self.refused("--kv-cache: expected auto, f32, bf16, int8, found 'int4'", DEMO, "-n", "2", "--kv-cache", "int4")
        self.refused("--batch: expected 1 to 512, found 0", DEMO, "--batch", "0")
        self.refused("--depth: expected 0 to 16777216, found -1", DEMO, "--depth", "-1")
        self.refused("--plot: expected -p, -n, --depth or --batch, found none", DEMO, "--plot", "x.svg")
        self.refused("--plot: expected -p, -n, --depth or --batch, found --roofline", DEMO, "--plot", "x.svg", "--roofline")
        self.refused("--plot: expected a folder nowhere, found none", DEMO, "-n", "1", "--plot", "nowhere/x.svg")
        self.refused("--peers: expected no --roofline, whose kernels are ours alone, found it", DEMO, "--roofline",
                     "--peers", "torch")
        self.refused("-n: expected 1 to 16777216, found 0", DEMO, "-n", "0")
        self.refused("--new-tokens: expected 2 numbers, found 1", DEMO, "--new-tokens", "5")

    def test_an_unknown_shape_is_refused_with_the_known_ones(self):
        self.refused("--random-weights: expected smollm2-135m, gpt2-124m, qwen2.5-0.5b, tinyllama-1.1b, "
                     "llama-3.2-1b, llama-3-8b or the path of a config.json, found 'gpt5'", "--random-weights", "gpt5", "-n", "4")

    def test_a_text_longer_than_the_context_is_refused(self):
        self.refused("-p, -n, --depth: expected texts of at most 1024 positions, the context's length, found 1030",
                     DEMO, "-n", "6", "-d", "1024", "-r", "1")


if __name__ == "__main__":
    script_main.main()
