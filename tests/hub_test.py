"""Tests models by name of the hub (hub/) against a server of the hub's API on the loopback address (hub_server.py), and
the cache against huggingface_hub itself, where a Python has it (NINFER_HUB_PYTHON, this one, or bench/peers/install.sh's)."""

import base64
import hashlib
import os
import pty
import shutil
import socket
import subprocess
import tempfile
import unittest

import script_main
from hub_server import Hub, Repository, etag_of

DATA = os.path.join(script_main.ROOT, "tests", "data")
NAME = "hf:org/tiny"
NEEDED = ["config.json", "encoder.json", "model.safetensors", "vocab.bpe"]


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def folder(*parts):
    """The files of a folder of tests/data."""
    path = os.path.join(DATA, *parts)
    return {name: read(path, name) for name in sorted(os.listdir(path))}


def tiny():
    """A model with more in its repository than is needed."""
    files = folder("checkpoints", "safetensors")
    for name in ("encoder.json", "vocab.bpe"):
        files[name] = read(DATA, "checkpoints", "openai", name)
    files["README.md"] = b"# Tiny\n"
    files["pytorch_model.bin"] = read(DATA, "checkpoints", "torch-zip", "pytorch_model.bin")
    files["onnx/model.onnx"] = b"x" * 1000
    return files


class HubTest(unittest.TestCase):

    def setUp(self):
        self.program = os.path.join(script_main.BIN, "ninfer-compile")
        if not os.path.exists(self.program):
            self.skipTest("not built: " + self.program)
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.home = os.path.join(temporary.name, "hf")
        self.cache = os.path.join(self.home, "hub")
        self.hub = Hub({"org/tiny": Repository(tiny())})
        self.addCleanup(self.hub.close)
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))
                            and not name.lower().endswith("_proxy")}
        self.environment.update(HF_HOME=self.home, HF_ENDPOINT=self.hub.url, HF_HUB_DOWNLOAD_TIMEOUT="5",
                                XDG_CACHE_HOME=os.path.join(temporary.name, "xdg"))
        self.first_pass = subprocess.run([self.program, "--list-passes"], stdout=subprocess.PIPE, text=True,
                                         check=True).stdout.split()[0]

    def compile(self, name=NAME, **environment):
        """Imports the model and runs the first pass: no code is generated."""
        return subprocess.run([self.program, name, "--stop-after=" + self.first_pass],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
                              env=dict(self.environment, **environment))

    def passes(self, name=NAME, **environment):
        done = self.compile(name, **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def refused(self, expected, name=NAME, **environment):
        done = self.compile(name, **environment)
        self.assertEqual(done.returncode, 2, done.stderr)
        lines = done.stderr.strip().split("\n")
        self.assertEqual(lines[-1], "ninfer-compile: " + expected)

    def repository(self, *parts):
        return os.path.join(self.cache, "models--org--tiny", *parts)

    def snapshot(self):
        """The snapshot's files by name."""
        commit = self.hub.repositories["org/tiny"].refs["main"]
        path = self.repository("snapshots", commit)
        return {name: read(path, name) for name in sorted(os.listdir(path))}


class FetchTest(HubTest):

    def test_what_is_needed_is_fetched_and_nothing_else(self):
        self.passes()
        self.assertEqual(sorted(self.hub.fetched()), NEEDED)
        self.assertEqual(self.snapshot(), {name: tiny()[name] for name in NEEDED})

    def test_the_layout_is_that_of_huggingface_hub(self):
        self.passes()
        commit = self.hub.repositories["org/tiny"].refs["main"]
        self.assertEqual(read(self.repository("refs", "main")).decode(), commit)
        for name in NEEDED:
            etag = etag_of(name, tiny()[name])
            self.assertEqual(os.readlink(self.repository("snapshots", commit, name)), "../../blobs/" + etag)
            self.assertEqual(read(self.repository("blobs", etag)), tiny()[name])
        self.assertEqual(sorted(os.listdir(self.repository("blobs"))),
                         sorted(etag_of(name, tiny()[name]) for name in NEEDED))
        self.assertIn("tokenizer.json", os.listdir(self.repository(".no_exist", commit)))

    def test_a_second_run_asks_for_the_listing_alone(self):
        self.passes()
        self.hub.requests.clear()
        self.passes()
        self.assertEqual([request[1:3] for request in self.hub.requests],
                         [("GET", "/api/models/org/tiny/revision/main")])

    def test_a_commit_that_is_there_asks_for_nothing(self):
        commit = self.hub.repositories["org/tiny"].refs["main"]
        self.passes(NAME + "@" + commit)
        self.hub.requests.clear()
        self.passes(NAME + "@" + commit)
        self.assertEqual(self.hub.requests, [])

    def test_a_branch_that_moved_fetches_what_changed(self):
        self.passes()
        files = tiny()
        files["config.json"] += b" "
        self.hub.repositories["org/tiny"].push("main", files)
        self.hub.requests.clear()
        self.passes()
        self.assertEqual(self.hub.fetched(), ["config.json"])
        self.assertEqual(self.snapshot()["config.json"], files["config.json"])

    def test_a_revision_with_a_slash_is_fetched_by_its_name(self):
        commit = self.hub.repositories["org/tiny"].push("refs/pr/1", tiny())
        self.passes(NAME + "@refs/pr/1")
        self.assertEqual(read(self.repository("refs", "refs", "pr", "1")).decode(), commit)

    def test_a_model_that_was_renamed_is_followed(self):
        self.hub.moved["old/name"] = "org/tiny"
        self.passes("hf:old/name")
        self.assertEqual(sorted(self.hub.fetched()), NEEDED)

    def test_every_chat_template_is_fetched_into_its_folder(self):
        files = tiny()
        templates = ["additional_chat_templates/rag.jinja", "additional_chat_templates/tool_use.jinja"]
        for name in templates:
            files[name] = b"{{ messages }}"
        commit = self.hub.repositories["org/tiny"].push("main", files)
        self.passes(NAME + "@" + commit)
        self.assertEqual(sorted(self.hub.fetched()), sorted(NEEDED + templates[:1]))  # both are one blob
        for name in templates:
            path = self.repository("snapshots", commit, name)
            self.assertEqual(os.readlink(path), "../../../blobs/" + etag_of(name, files[name]))
            self.assertEqual(read(path), files[name])
        self.hub.requests.clear()
        self.passes(NAME + "@" + commit)
        self.assertEqual(self.hub.requests, [])
        os.unlink(path)
        os.unlink(self.repository(".no_exist", commit, "additional_chat_templates", "*.jinja"))
        self.passes(NAME + "@" + commit)
        self.assertTrue(os.path.exists(path))

    def test_a_tiktoken_file_is_found_by_its_ending(self):
        draft = os.path.join(script_main.ROOT, "models", "demo-draft")
        files = {name: read(draft, name) for name in ("config.json", "model.safetensors")}
        files["some.tiktoken"] = b"".join(b"%s %d\n" % (base64.b64encode(bytes([i])), i) for i in range(256))
        commit = self.hub.repositories["org/tiny"].push("main", files)
        self.passes()
        self.assertEqual(sorted(self.hub.fetched()), ["config.json", "model.safetensors", "some.tiktoken"])
        self.hub.requests.clear()
        self.passes(NAME + "@" + commit)
        self.assertEqual(self.hub.requests, [])

    def test_shards_that_the_index_names_are_fetched(self):
        for model, index in ((("hf-models", "llama-sharded"), "model.safetensors.index.json"),
                             (("checkpoints", "torch-sharded"), "pytorch_model.bin.index.json")):
            files = folder(*model)
            files["pytorch_model-of-another-format.bin"] = b"x"
            self.hub.repositories["org/tiny"] = Repository(files)
            self.hub.requests.clear()
            shutil.rmtree(self.cache, ignore_errors=True)
            self.passes()
            fetched = self.hub.fetched()
            self.assertIn(index, fetched)
            self.assertEqual(sorted(name for name in fetched if name.endswith((".safetensors", ".bin"))),
                             sorted(name for name in files if "-of-0" in name))

    def test_the_cache_folder_follows_the_environment(self):
        other = os.path.join(self.home, "other")
        self.passes(HF_HUB_CACHE=other)
        self.assertTrue(os.path.isdir(os.path.join(other, "models--org--tiny", "snapshots")))
        self.assertFalse(os.path.exists(self.cache))


class TokenTest(HubTest):

    def setUp(self):
        super().setUp()
        self.hub.repositories["org/tiny"].private = True

    def test_the_token_goes_to_the_hub_and_to_no_other_host(self):
        self.passes(HF_TOKEN="hf_secret")
        roles = set()
        for role, _, _, headers in self.hub.requests:
            roles.add(role)
            self.assertEqual(headers.get("Authorization"), "Bearer hf_secret" if role == "hub" else None)
        self.assertEqual(roles, {"hub", "cdn"})

    def test_the_token_file_is_read(self):
        os.makedirs(self.home)
        with open(os.path.join(self.home, "token"), "w", encoding="ascii") as file:
            file.write("hf_secret\n")
        self.passes()

    def test_a_token_that_is_refused_is_said_to_be(self):
        self.refused("hf:org/tiny: expected a valid token in HF_TOKEN, found one that %s refuses" % self.hub.url,
                     HF_TOKEN="hf_wrong")


class BreakTest(HubTest):

    def test_a_transfer_that_breaks_goes_on_where_it_broke(self):
        self.hub.breaks = {"model.safetensors": [100, 1000, 0, 2000], "encoder.json": [7]}
        self.passes()
        ranges = [headers.get("Range") for role, _, _, headers in self.hub.requests if role == "cdn"]
        self.assertEqual(ranges, [None, "bytes=100-", "bytes=1100-", "bytes=1100-", "bytes=3100-"])
        self.assertEqual(self.snapshot()["model.safetensors"], tiny()["model.safetensors"])

    def test_an_address_that_expired_is_asked_for_again(self):
        self.hub.expired = 1
        self.passes()
        asked = [path for role, method, path, _ in self.hub.requests
                 if role == "hub" and method == "HEAD" and path.endswith("model.safetensors")]
        self.assertEqual(len(asked), 2)

    def test_the_next_run_goes_on_from_what_is_kept(self):
        self.hub.breaks = {"model.safetensors": [100] + [0] * 20}
        data = tiny()["model.safetensors"]
        self.refused("hf:org/tiny: model.safetensors: expected %d bytes, found 100: the transfer broke off; they are "
                     "kept, and the next run goes on from there" % len(data))
        blob = self.repository("blobs", hashlib.sha256(data).hexdigest())
        self.assertEqual(read(blob + ".incomplete"), data[:100])
        self.assertFalse(os.path.exists(blob))
        self.hub.breaks.clear()
        self.hub.requests.clear()
        self.passes()
        self.assertEqual([headers.get("Range") for role, _, _, headers in self.hub.requests if role == "cdn"],
                         ["bytes=100-"])
        self.assertFalse(os.path.exists(blob + ".incomplete"))

    def test_a_server_that_sends_the_whole_again_is_taken_at_its_word(self):
        self.hub.ranges = False
        self.hub.breaks = {"model.safetensors": [100]}
        self.passes()
        self.assertEqual(self.snapshot()["model.safetensors"], tiny()["model.safetensors"])

    def test_wrong_bytes_are_refused_and_thrown_away(self):
        for name, other in (("model.safetensors", tiny()["model.safetensors"][:-1] + b"?"),
                            ("config.json", tiny()["config.json"].replace(b"4", b"5"))):
            self.hub.corrupt = {name: other}
            done = self.compile()
            self.assertEqual(done.returncode, 2)
            self.assertIn("%s: expected bytes with hash %s, found %s; they were thrown away"
                          % (name, etag_of(name, tiny()[name]), etag_of(name, other)), done.stderr)
            self.assertEqual([blob for blob in os.listdir(self.repository("blobs"))
                              if blob.startswith(etag_of(name, tiny()[name]))], [])
            self.hub.corrupt = {}
            self.passes()
            shutil.rmtree(self.cache)

    def test_a_file_that_cannot_be_written_is_named_with_the_reason(self):
        path = self.repository("blobs", hashlib.sha256(tiny()["model.safetensors"]).hexdigest()) + ".incomplete"
        os.makedirs(path)
        self.refused(path + ": cannot write: Is a directory")
        self.assertEqual([request for request in self.hub.requests if request[0] == "cdn"], [])

    def test_a_file_longer_than_was_said_is_refused(self):
        self.hub.corrupt = {"model.safetensors": tiny()["model.safetensors"] + b"more"}
        done = self.compile()
        self.assertEqual(done.returncode, 2)
        self.assertIn("expected %d bytes, found more" % len(tiny()["model.safetensors"]), done.stderr)


class RefusalTest(HubTest):

    def test_a_gated_model_says_where_to_ask(self):
        self.hub.repositories["org/tiny"].gated = True
        self.refused("hf:org/tiny: expected access to a gated model, found none without a token: ask for it at "
                     "%s/org/tiny and set HF_TOKEN" % self.hub.url)

    def test_a_model_that_is_not_there(self):
        self.refused("hf:org/none: expected a model at %s/org/none, found none, or a private one, without a token"
                     % self.hub.url, "hf:org/none")

    def test_a_revision_that_is_not_there(self):
        self.refused("hf:org/tiny@v9: expected a branch, tag or commit v9, found none in org/tiny", NAME + "@v9")

    def test_a_repository_without_a_model(self):
        self.hub.repositories["org/tiny"] = Repository({"README.md": b"x"})
        self.refused("hf:org/tiny: expected config.json, found none")
        self.hub.repositories["org/tiny"] = Repository({"config.json": b"{}", "model.gguf": b"x"})
        self.refused("hf:org/tiny: expected model.safetensors or pytorch_model.bin, or the .index.json of either, "
                     "found none")
        self.assertEqual(self.hub.fetched(), [])

    def test_a_shard_that_is_not_there(self):
        files = folder("hf-models", "llama-sharded")
        shard = sorted(name for name in files if "-of-0" in name)[1]
        del files[shard]
        self.hub.repositories["org/tiny"] = Repository(files)
        self.refused("hf:org/tiny: expected %s, found no such file" % shard)

    def test_a_server_in_trouble(self):
        self.hub.statuses = {"^/api/": 503}
        self.refused("hf:org/tiny: expected a complete copy in %s, found none; hf:org/tiny: expected the list of files "
                     "from %s, found status 503: as the test asked" % (self.cache, self.hub.url))

    def test_names_that_are_none(self):
        for name, found in (("hf:", "no name"), ("hf:a/b/c", "a/b/c"), ("hf:../x", "../x"), ("hf:a b/c", "a b/c")):
            self.refused("%s: expected hf:organisation/model, found %s" % (name, found), name)
        for revision in ("", "../x", "/x", "a//b", ".x"):
            self.refused("%s@%s: expected a branch, tag or commit behind @, found %s"
                         % (NAME, revision, revision or "none"), NAME + "@" + revision)
        self.assertEqual(self.hub.requests, [])


class OfflineTest(HubTest):

    def test_offline_takes_what_is_there_and_asks_for_nothing(self):
        self.refused("hf:org/tiny: expected a complete copy in %s, found none; HF_HUB_OFFLINE is set" % self.cache,
                     HF_HUB_OFFLINE="1")
        self.assertEqual(self.hub.requests, [])
        self.passes()
        self.hub.requests.clear()
        self.passes(HF_HUB_OFFLINE="1")
        self.assertEqual(self.hub.requests, [])

    def test_offline_with_a_part_says_so(self):
        self.passes()
        commit = self.hub.repositories["org/tiny"].refs["main"]
        os.remove(self.repository("snapshots", commit, "model.safetensors"))
        self.refused("hf:org/tiny: expected a complete copy in %s, found a part of %s; HF_HUB_OFFLINE is set"
                     % (self.cache, commit), HF_HUB_OFFLINE="1")

    def test_a_hub_out_of_reach_gives_the_copy_and_says_so(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nowhere = "http://127.0.0.1:%d" % free.getsockname()[1]
        done = self.compile(HF_ENDPOINT=nowhere)
        self.assertEqual(done.returncode, 2)
        self.assertIn("expected a complete copy in %s, found none; %s cannot be reached: " % (self.cache, nowhere),
                      done.stderr)
        self.passes()
        self.assertIn("%s cannot be reached: " % nowhere, self.passes(HF_ENDPOINT=nowhere))


class ProgramTest(HubTest):

    def run_model(self, name):
        return subprocess.run([os.path.join(script_main.BIN, "ninfer-run"), name, "--prompt=ab", "--max-tokens=2",
                               "--temperature=0"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120, check=False, env=self.environment)

    def test_ninfer_run_takes_the_name(self):
        library = os.path.join(os.path.dirname(script_main.BIN), "lib", "libninfer-compiler.so")
        if not os.path.exists(library):
            self.skipTest("not built: " + library)
        by_name = self.run_model(NAME)
        self.assertEqual(by_name.returncode, 0, by_name.stderr)
        commit = self.hub.repositories["org/tiny"].refs["main"]
        by_path = self.run_model(self.repository("snapshots", commit))
        self.assertEqual((by_path.returncode, by_path.stdout), (0, by_name.stdout))
        refused = self.run_model("hf:org/none")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("ninfer-run: hf:org/none: expected a model at ", refused.stderr)

    def test_a_bar_is_shown_on_a_terminal_alone(self):
        self.assertNotIn("model.safetensors", self.passes())
        shutil.rmtree(self.home)
        master, slave = pty.openpty()
        process = subprocess.Popen([self.program, NAME, "--stop-after=" + self.first_pass],
                                   stdout=subprocess.DEVNULL, stderr=slave, env=self.environment)
        os.close(slave)
        shown = b""
        try:
            while True:
                piece = os.read(master, 4096)
                if not piece:
                    break
                shown += piece
        except OSError:  # the other side is closed
            pass
        os.close(master)
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertIn(b"model.safetensors (", shown)


HUB_PYTHON = script_main.python_with("huggingface_hub", "NINFER_HUB_PYTHON")


class SharedCacheTest(HubTest):
    """The cache as huggingface_hub fills and reads it."""

    def setUp(self):
        super().setUp()
        if HUB_PYTHON is None:
            self.skipTest("huggingface_hub is not installed (NINFER_HUB_PYTHON names a Python that has it)")

    def python(self, text, **environment):
        done = subprocess.run([HUB_PYTHON, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=120, check=False, env=dict(self.environment, **environment))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.split()

    def test_what_huggingface_hub_fetched_is_not_fetched_again(self):
        self.python("from huggingface_hub import hf_hub_download\n"
                    "for name in %r: hf_hub_download('org/tiny', name)" % NEEDED)
        self.passes(HF_HUB_OFFLINE="1")
        self.hub.requests.clear()
        self.passes()
        self.assertEqual(self.hub.fetched(), [])

    def test_huggingface_hub_finds_what_was_fetched(self):
        self.passes()
        self.hub.requests.clear()
        paths = self.python("from huggingface_hub import hf_hub_download\n"
                            "for name in %r: print(hf_hub_download('org/tiny', name))" % NEEDED, HF_HUB_OFFLINE="1")
        self.assertEqual([read(path) for path in paths], [tiny()[name] for name in NEEDED])
        # Online too: nothing but questions.
        self.python("from huggingface_hub import hf_hub_download\n"
                    "for name in %r: hf_hub_download('org/tiny', name)" % NEEDED)
        self.assertEqual(self.hub.fetched(), [])

    def test_huggingface_hub_knows_which_files_do_not_exist(self):
        self.passes()
        known = self.python("from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache\n"
                            "print(try_to_load_from_cache('org/tiny', 'tokenizer.json') is _CACHED_NO_EXIST)")
        self.assertEqual(known, ["True"])

    def test_huggingface_hubs_own_check_finds_the_cache_in_order(self):
        self.passes()
        known = self.python("from huggingface_hub import scan_cache_dir\n"
                            "found = scan_cache_dir()\n"
                            "print(len(found.warnings), [r.repo_id for r in found.repos][0], "
                            "len(list(list(found.repos)[0].revisions)[0].files))")
        self.assertEqual(known, ["0", "org/tiny", str(len(NEEDED))])


if __name__ == "__main__":
    script_main.main()
