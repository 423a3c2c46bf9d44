"""Tests pictures of ninfer-run as a user sees them: PNG and JPEG, plans and folders, both engines, and every bad input.
What is expected was computed by transformers (tests/data/vision-processor)."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

import script_main

DATA = os.path.join(script_main.ROOT, "tests", "data")
MODEL = os.path.join(DATA, "hf-models", "smolvlm")
PROCESSOR = os.path.join(DATA, "vision-processor")
PICTURES = os.path.join(DATA, "image-processing")
EXACT = ["--weights=f32", "--activations=f32", "--kv-cache=f32"]


def program(name="ninfer-run"):
    return os.path.join(script_main.BIN, name)


def picture(name):
    return os.path.join(PICTURES, name)


def golden():
    with open(os.path.join(PROCESSOR, "golden.json"), encoding="utf-8") as file:
        return json.load(file)


class Pictures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(cls.folder, "cache"))
        cls.models, cls.plans = {}, {}
        for split in (True, False):
            model = os.path.join(cls.folder, "split" if split else "whole")
            os.mkdir(model)
            for source in (MODEL, PROCESSOR):
                for name in os.listdir(source):
                    if name.startswith(("golden", "make_", "positions")) or name.endswith("old-style.json"):
                        continue
                    shutil.copyfile(os.path.join(source, name), os.path.join(model, name))
            if not split:
                cls.change(model, "preprocessor_config.json", do_image_splitting=False)
            cls.models[split], cls.plans[split] = model, model + ".bin"
            subprocess.run([program("ninfer-compile"), model, "-o", cls.plans[split], "--quiet", *EXACT], check=True,
                           env=cls.environment)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @staticmethod
    def change(model, name, **values):
        path = os.path.join(model, name)
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**config, **values}, file)

    def run_program(self, *arguments):
        return subprocess.run([program(), *arguments], capture_output=True, text=True, env=self.environment, timeout=300,
                              stdin=subprocess.DEVNULL)

    def generate(self, *arguments):
        run = self.run_program(*arguments, "--json", "--max-tokens=12", "--ignore-eos", "--temperature=0")
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)

    def refused(self, message, *arguments):
        run = self.run_program(*arguments)
        self.assertEqual((run.returncode, run.stdout), (2, ""), run.stderr)
        self.assertEqual(len(run.stderr.strip().split("\n")), 1, run.stderr)
        self.assertIn(message, run.stderr)

    def flags(self, case):
        return ["--prompt", case["text"], *("--image=" + picture(name) for name in case["pictures"])]

    def test_plans_answer_as_transformers_does(self):
        for case in golden():
            with self.subTest(case["text"]):
                answer = self.generate(self.plans[case["split"]], *self.flags(case))
                self.assertEqual(answer["prompt_ids"], case["ids"])
                self.assertEqual(answer["ids"], case["greedy_ids"])

    def test_folders_and_the_eager_engine_answer_so_too(self):
        for case in golden()[:3]:
            with self.subTest(case["text"]):
                model = self.models[case["split"]]
                for engine in ([*EXACT], ["--engine=eager", *EXACT[:2]]):
                    answer = self.generate(model, *engine, *self.flags(case))
                    self.assertEqual(answer["ids"], case["greedy_ids"], engine)

    def test_chunks_of_the_prompt_change_nothing(self):
        case = golden()[0]
        for chunk in ("1", "7"):
            answer = self.generate(self.plans[True], "--chunk", chunk, *self.flags(case))
            self.assertEqual(answer["ids"], case["greedy_ids"])

    def test_a_text_without_a_mark_has_its_pictures_first(self):
        case = golden()[1]
        answer = self.generate(self.plans[True], "--prompt=Say", "--image=" + picture("wide.png"))
        self.assertEqual(answer["prompt_ids"], case["ids"])

    def test_a_picture_needs_no_text(self):
        png = "--image=" + picture("wide.png")
        self.assertEqual(self.generate(self.plans[True], png)["prompt_ids"],
                         self.generate(self.plans[True], png, "--prompt=<image>")["prompt_ids"])

    def test_messages_have_the_special_tokens_of_a_processor(self):
        png, path = "--image=" + picture("wide.png"), os.path.join(self.folder, "one.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}], file)
        self.assertEqual(self.generate(self.plans[True], png, "--messages", path)["prompt_ids"],
                         self.generate(self.plans[True], png, "--prompt=User:<image> What?\nAssistant:")["prompt_ids"])

    def test_messages_have_pictures_by_path_and_by_flag(self):
        path = os.path.join(self.folder, "messages.json")
        shown = []
        for part, flags in (({"type": "image", "path": picture("wide.png")}, []),
                            ({"type": "image"}, ["--image=" + picture("wide.png")])):
            with open(path, "w", encoding="utf-8") as file:
                json.dump([{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}], file)
            run = self.run_program(self.plans[True], "--messages", path, "--show-prompt", *flags)
            self.assertEqual(run.returncode, 0, run.stderr)
            shown.append(run.stdout)
            self.assertEqual(len(self.generate(self.plans[True], "--messages", path, *flags)["ids"]), 12)
        expanded = golden()[1]["expanded"][:-len("Say")]
        self.assertEqual(shown[0], "User:" + expanded + " What?\nAssistant:")
        self.assertEqual(shown[1], shown[0])

    def test_bad_pictures_and_numbers_of_them_are_refused(self):
        plan, png = self.plans[True], picture("wide.png")
        with open(png, "rb") as file:
            data = file.read()
        broken, text = os.path.join(self.folder, "broken.png"), os.path.join(self.folder, "text.png")
        with open(broken, "wb") as file:
            file.write(data[:len(data) // 2])
        with open(text, "w", encoding="utf-8") as file:
            file.write("no picture")
        self.refused("broken.png: PNG: ", plan, "--prompt=a", "--image", broken)
        self.refused("text.png: expected a PNG or a JPEG, found a file that begins with 6e 6f 20 70", plan, "--prompt=a",
                     "--image", text)
        self.refused("absent.png", plan, "--prompt=a", "--image", os.path.join(self.folder, "absent.png"))
        self.refused("prompt: expected a mark <image> for each of 2 pictures, found 1", plan, "--prompt=<image>a",
                     "--image", png, "--image", png)
        self.refused("prompt: expected a mark <image> for each of 1 picture, found 2", plan, "--prompt=<image>a<image>",
                     "--image", png)
        self.refused("prompt: expected --image for each mark <image>, found none for 1", plan, "--prompt=a<image>b")
        self.refused("--image: expected a text or --messages, found --prompt-ids", plan, "--prompt-ids=4,5", "--image", png)
        self.refused("--image: expected a text or --messages, found --chat", plan, "--chat", "--image", png)
        self.refused("expected at most 128 tokens", plan, "--prompt=" + "<image>" * 8, *["--image=" + png] * 8)

    def test_models_that_do_not_see_refuse_pictures(self):
        png = picture("wide.png")
        self.refused("--image: expected a model that sees, found one of text alone", "--prompt=a", "--image", png)
        blind = os.path.join(self.folder, "no-processor")
        shutil.copytree(self.models[True], blind)
        os.remove(os.path.join(blind, "preprocessor_config.json"))
        self.refused("--image: expected a model with preprocessor_config.json, found one without", blind, "--engine=eager",
                     "--prompt=a", "--image", png)

    def test_a_picture_for_a_model_without_a_tokenizer_is_refused(self):
        mute = os.path.join(self.folder, "no-tokenizer")
        shutil.copytree(self.models[True], mute)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            os.remove(os.path.join(mute, name))
        self.refused("ninfer-run: --image: the model has no tokenizer: ", mute, "--engine=eager", "--image",
                     picture("wide.png"))

    def test_what_the_processor_asks_for_and_is_not_done_is_refused(self):
        for name, message, values in (
                ("preprocessor_config.json", "resample: expected 1, Lanczos, found 3", {"resample": 3}),
                ("preprocessor_config.json", "max_image_size: expected a longest_edge of at most 48 that 24 divides",
                 {"max_image_size": {"longest_edge": 64}}),
                ("preprocessor_config.json", "image_std: expected three numbers other than 0", {"image_std": [1, 0, 1]}),
                ("preprocessor_config.json", "do_convert_rgb: expected true, found false", {"do_convert_rgb": False}),
                ("processor_config.json", "image_seq_len: expected 4, what max_image_size gives, found 64",
                 {"image_seq_len": 64}),
                ("config.json", "vision_config.image_size: expected a multiple of patch_size times scale_factor, 24",
                 {"vision_config": {"image_size": 40, "patch_size": 8, "hidden_size": 48}}),
                ("config.json", "text_config.model_type: expected \"llama\", found \"mamba\"",
                 {"text_config": {"model_type": "mamba"}})):
            with self.subTest(message):
                model = os.path.join(self.folder, "asks")
                shutil.copytree(self.models[True], model)
                self.change(model, name, **values)
                self.refused(message, model, "--engine=eager", "--prompt=a")
                shutil.rmtree(model)


if __name__ == "__main__":
    script_main.main()
