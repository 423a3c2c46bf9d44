"""Tests conversations of ninfer-run: --messages and its flags, and --chat on a pseudo-terminal and through a pipe."""

import json
import os
import pty
import select
import signal
import subprocess
import tempfile
import time
import unittest

import script_main

DEMO = os.path.join(script_main.ROOT, "models", "demo")
MESSAGES = [{"role": "user", "content": "Tell me a story about a cat."}]


def program(name="ninfer-run"):
    return os.path.join(script_main.BIN, name)


class Terminal:
    """ninfer-run on a pseudo-terminal of its own."""

    def __init__(self, *arguments, environment=None):
        self.child, self.file = pty.fork()
        if self.child == 0:
            os.execve(program(), [program(), *arguments], dict(environment, TERM="xterm"))
        self.seen = ""

    def wait_for(self, text, seconds=120):
        """Reads until `text` has come, and gives what came up to there."""
        end = time.time() + seconds
        while text not in self.seen:
            ready = select.select([self.file], [], [], max(0, end - time.time()))[0]
            if not ready:
                raise AssertionError("expected %r, found %r" % (text, self.seen))
            try:
                data = os.read(self.file, 65536)
            except OSError:
                data = b""
            if not data:
                raise AssertionError("expected %r, found the end after %r" % (text, self.seen))
            self.seen += data.decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text):
        os.write(self.file, text.encode())

    def finish(self, seconds=120):
        """The exit status; -1 for a signal."""
        end = time.time() + seconds
        while True:
            if not select.select([self.file], [], [], max(0, end - time.time()))[0]:
                os.kill(self.child, signal.SIGKILL)
                os.waitpid(self.child, 0)
                raise AssertionError("expected the end, found %r" % self.seen)
            try:
                data = os.read(self.file, 65536)
            except OSError:
                data = b""
            if not data:
                break
            self.seen += data.decode(errors="replace")
        os.close(self.file)
        status = os.waitpid(self.child, 0)[1]
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1


class ChatTest(unittest.TestCase):
    """One compiled plan for all cases."""

    @classmethod
    def setUpClass(cls):
        for name in ("ninfer-run", "ninfer-compile"):
            if not os.path.exists(program(name)):
                raise unittest.SkipTest("not built: " + program(name))
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = cls.temporary.name
        cls.environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(cls.folder, "cache"))
        cls.plan = cls.path("demo.plan")
        subprocess.run([program("ninfer-compile"), "--quiet", DEMO, "-o", cls.plan], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def path(cls, name, contents=None):
        path = os.path.join(cls.folder, name)
        if contents is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(contents if isinstance(contents, str) else json.dumps(contents))
        return path

    def run_program(self, *arguments, text=""):
        return subprocess.run([program(), self.plan, *arguments], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=300, check=False, env=self.environment)

    def show(self, *arguments):
        done = self.run_program("--show-prompt", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refused(self, *arguments):
        done = self.run_program(*arguments)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr.strip()

    # --messages

    def test_messages_become_the_text_of_the_template(self):
        file = self.path("messages.json", MESSAGES)
        self.assertIn("<|im_start|>user\nTell me a story about a cat.<|im_end|>", self.show("--messages", file))
        self.assertTrue(self.show("--messages", file).endswith("<|im_start|>assistant\n"))

    def test_a_last_message_of_the_assistant_is_continued(self):
        file = self.path("open.json", MESSAGES + [{"role": "assistant", "content": "Once upon"}])
        self.assertTrue(self.show("--messages", file).endswith("<|im_start|>assistant\nOnce upon"))

    def test_tools_documents_and_variables_reach_the_template(self):
        template = self.path("all.jinja", "{{ tools | tojson }}|{{ documents | tojson }}|{{ mood }}|{{ messages[0].role }}")
        shown = self.show("--messages", self.path("m.json", {"messages": MESSAGES}), "--tools",
                          self.path("t.json", [{"type": "function"}]), "--documents", self.path("d.json", [{"text": "x"}]),
                          "--chat-template", template, "--chat-template-kwargs", '{"mood": "glad"}')
        self.assertEqual(shown, '[{"type": "function"}]|[{"text": "x"}]|glad|user')

    def test_parts_that_no_template_would_show_are_refused_by_their_type(self):
        for kind in ("image_url", "input_audio", "video"):
            part = {"type": kind, kind: {"url": "data:image/png;base64,AAAA"}}
            content = [{"type": "text", "text": "What is this?"}, part]
            file = self.path("m.json", [{"role": "user", "content": content}])
            self.assertIn("messages: expected parts of type \"text\" or \"image\", found \"%s\"" % kind,
                          self.refused("--messages", file))

    def test_the_answer_to_messages_is_the_answer_to_their_prompt(self):
        file = self.path("messages.json", MESSAGES)
        answer = json.loads(self.run_program("--messages", file, "--json", "--max-tokens=20", "--temperature=0").stdout)
        ids = ",".join(str(id) for id in answer["prompt_ids"])
        again = json.loads(self.run_program("--prompt-ids", ids, "--json", "--max-tokens=20", "--temperature=0").stdout)
        self.assertEqual(answer["ids"], again["ids"])
        self.assertGreater(len(answer["ids"]), 0)

    def test_special_tokens_of_the_folder_are_variables_of_the_template(self):
        template = self.path("eos.jinja", "[{{ eos_token }}]")
        with open(os.path.join(DEMO, "tokenizer_config.json"), encoding="utf-8") as file:
            eos = json.load(file)["eos_token"]
        eos = eos if isinstance(eos, str) else eos["content"]
        self.assertEqual(self.show("--messages", self.path("m.json", MESSAGES), "--chat-template", template), "[%s]" % eos)

    # Bad input

    def test_contradicting_flags_are_refused(self):
        file = self.path("messages.json", MESSAGES)
        self.assertEqual(self.refused("--chat", "--messages", file),
                         "ninfer-run: expected one of --chat and --messages, found both")
        self.assertEqual(self.refused("--messages", file, "--prompt", "x"),
                         "ninfer-run: expected a conversation or a prompt, found both")
        self.assertEqual(self.refused("--system", "x"), "ninfer-run: --system: expected --chat, found none")
        self.assertEqual(self.refused("--tools", file),
                         "ninfer-run: flags for conversations: expected --chat or --messages, found none")
        self.assertEqual(self.refused("--chat", "--json"),
                         "ninfer-run: --chat: expected none of --json, --logits and --dump-to, found one")

    def test_files_that_are_no_conversations_are_refused(self):
        bad = self.path("bad.json", "[{")
        self.assertEqual(self.refused("--messages", bad), "ninfer-run: %s: not valid JSON" % bad)
        for text, found in (("3", "number"), ("{}", "object"), ('{"messages": 3}', "in it number")):
            self.assertEqual(self.refused("--messages", self.path("bad.json", text)),
                             'ninfer-run: %s: expected an array of messages, or an object with the key "messages" that '
                             'holds one, found %s' % (bad, found))
        self.assertEqual(self.refused("--messages", self.path("bad.json", "[]")),
                         "ninfer-run: %s: expected one message at least, found none" % bad)
        self.assertEqual(self.refused("--messages", self.path("m.json", MESSAGES), "--tools", self.path("bad.json", "{}")),
                         "ninfer-run: %s: expected an array of tools, found object" % bad)
        self.assertIn("inside one another", self.refused("--messages", self.path("bad.json", "[" * 100000)))
        self.assertIn("chat template, line", self.refused("--messages", self.path("bad.json", '[{"role": "user"}]')))

    def test_values_nested_without_end_are_refused(self):
        deep = "[" * 200000 + "]" * 200000
        file = self.path("m.json", MESSAGES)
        deep_file = self.path("deep.json", '[{"role": "user", "content": %s, "name": "x", "more": 1}]' % deep)
        too_deep = "ninfer-run: %s: expected at most %d arrays and objects inside one another, found more"
        self.assertEqual(self.refused("--messages", deep_file), too_deep % (deep_file, 210))
        for flag in ("tools", "documents"):
            self.assertEqual(self.refused("--messages", file, "--" + flag, deep_file), too_deep % (deep_file, 210))
        self.assertEqual(self.refused("--messages", file, "--chat-template-kwargs", '{"a": %s}' % deep[190000:210000]),
                         too_deep % ("--chat-template-kwargs", 210))
        message = '[{"role": "user", "content": %s}]'
        self.assertEqual(self.refused("--messages", self.path("deep.json", message % ("[" * 199 + "]" * 199))),
                         too_deep % ("messages", 200))
        template = self.path("json.jinja", "{{ messages | tojson }}")
        shown = self.show("--messages", self.path("m.json", message % ("[" * 198 + "]" * 198)), "--chat-template", template)
        self.assertEqual(shown.count("["), 199)

    def test_a_template_that_is_wrong_is_refused_with_its_line(self):
        template = self.path("bad.jinja", "one\n{% if %}")
        self.assertEqual(self.refused("--messages", self.path("m.json", MESSAGES), "--chat-template", template),
                         "ninfer-run: chat template, line 2: TemplateSyntaxError: Expected an expression, got 'end of "
                         "statement block'")

    # --chat

    def chat(self, *arguments):
        return Terminal(self.plan, "--chat", "--temperature=0", *arguments, environment=self.environment)

    def test_a_conversation_in_the_terminal_keeps_its_cache(self):
        saved = self.path("saved.json")
        terminal = self.chat("--max-tokens=12", "--system", "Be kind.")
        terminal.wait_for("> ")
        terminal.type("Tell me a story.\r")
        terminal.wait_for("\n")
        terminal.wait_for("> ")
        terminal.type("Go on.\r")
        terminal.wait_for("\n")
        terminal.wait_for("> ")
        terminal.type("/stats\r")
        terminal.wait_for("cache     ")
        reused = int(terminal.wait_for(" of the prompt's "))
        total = int(terminal.wait_for(" tokens were there"))
        self.assertGreater(reused, 20)
        self.assertLess(reused, total)
        terminal.wait_for("> ")
        terminal.type("/save %s\r" % saved)
        terminal.wait_for("saved " + saved)
        terminal.wait_for("> ")
        terminal.type("/quit\r")
        self.assertEqual(terminal.finish(), 0)
        with open(saved, encoding="utf-8") as file:
            messages = json.load(file)
        self.assertEqual([m["role"] for m in messages], ["system", "user", "assistant", "user", "assistant"])
        self.assertEqual([messages[i]["content"] for i in (0, 1, 3)], ["Be kind.", "Tell me a story.", "Go on."])
        # The same answer as without a cache of earlier turns.
        file = self.path("again.json", messages[:4])
        again = json.loads(self.run_program("--messages", file, "--json", "--max-tokens=12", "--temperature=0").stdout)
        self.assertEqual(again["text"], messages[4]["content"])

    def test_lines_are_edited_and_remembered(self):
        terminal = self.chat("--max-tokens=3")
        terminal.wait_for("> ")
        terminal.type("/helx\x7fp\r")  # a backspace
        terminal.wait_for("begin again")
        terminal.wait_for("> ")
        terminal.type("/stats\r")
        terminal.wait_for("no answer yet")
        terminal.wait_for("> ")
        terminal.type("\x1b[A\x1b[A\r")  # the line before the last one
        terminal.wait_for("begin again")
        terminal.wait_for("> ")
        terminal.type("\x04")
        self.assertEqual(terminal.finish(), 0)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        terminal = self.chat("--ignore-eos")
        terminal.wait_for("> ")
        # The answer may be over before Ctrl-C comes: a few tries.
        for _ in range(50):
            terminal.type("Tell me a story.\r")
            terminal.wait_for("\n")
            terminal.wait_for(" ")  # of the answer: Ctrl-C before it would take the question away
            terminal.type("\x03")
            time.sleep(1)  # with it goes the output that is under way, which may be the prompt
            terminal.type("/stats\r")
            terminal.wait_for("ended by: ")
            ended = terminal.wait_for(",")
            terminal.wait_for("> ")
            terminal.type("/reset\r")
            terminal.wait_for("begun again")
            terminal.wait_for("> ")
            if ended == "cancelled":
                break
        self.assertEqual(ended, "cancelled")
        for _ in range(3):  # at an empty line, as often as one likes
            terminal.type("\x03")
            terminal.wait_for("(/quit or Ctrl-D ends)")
            terminal.wait_for("> ")
        terminal.type("/quit\r")
        self.assertEqual(terminal.finish(), 0)

    def test_a_key_pressed_as_the_prompt_appears_is_not_lost(self):
        for _ in range(100):
            terminal = self.chat()
            terminal.wait_for("> ")
            terminal.type("\x03")
            terminal.wait_for("(/quit or Ctrl-D ends)")
            terminal.wait_for("> ")
            terminal.type("\x04")
            self.assertEqual(terminal.finish(), 0)

    def test_lines_of_a_pipe_are_answered_one_by_one(self):
        done = self.run_program("--chat", "--temperature=0", "--max-tokens=5", text="Hello\n\n/stats\nBye")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 2)
        self.assertIn("of the prompt's", done.stderr)

    def test_a_conversation_that_is_full_says_so_and_can_begin_again(self):
        text = "%s\n%s\n%s\n/reset\nHello\n/stats\n" % ("long words " * 300, "more words " * 300, "Hello")
        done = self.run_program("--chat", "--temperature=0", "--max-tokens=3", text=text)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"ninfer-run: the conversation is full: expected at most 1023 tokens, found \d+; "
                                      r"/reset begins again\n")
        self.assertTrue(done.stderr.endswith("ninfer-run: --chat: expected an answer to every message, found 1 message "
                                             "without\n"), done.stderr)
        self.assertIn("begun again\nengine", done.stderr)

    def test_a_message_that_is_too_long_by_itself_is_called_that(self):
        done = self.run_program("--chat", "--max-tokens=3", text="long words " * 1000)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"^ninfer-run: the message is too long: expected at most 1023 tokens, found \d+\n")

    def test_an_answer_that_fills_the_context_says_so(self):
        done = self.run_program("--chat", "--temperature=0", "--ignore-eos", text="Hello\n")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, "(the conversation is full; /reset begins again)\n")

    def test_commands_are_listed_once_and_an_unknown_one_is_one_line(self):
        done = self.run_program("--chat", text="/help\n/foo\n")
        self.assertEqual(done.returncode, 0)
        self.assertIn("/help        list the commands\n", done.stderr)
        self.assertTrue(done.stderr.endswith("\nno command /foo; /help lists them\n"), done.stderr)
        self.assertEqual(done.stderr.count("/quit"), 1)

    def test_one_token_is_not_tokens(self):
        done = self.run_program("--prompt-ids=5", "--max-tokens=1", "--stats")
        self.assertRegex(done.stderr, r"prompt    1 token, .*\ngenerated 1 token, ")

    def test_a_template_that_wants_parts_is_given_parts(self):
        template = self.path("parts.jinja", "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'text' %}"
                             "{{ c['text'] }}\n{% endif %}{% endfor %}{% endfor %}")
        saved = os.path.join(self.folder, "parts.json")
        done = self.run_program("--chat", "--chat-template", template, "--system=Be kind.", "--max-tokens=2",
                                text="Once upon a time\n/save %s\n" % saved)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(saved, encoding="utf-8") as file:
            messages = json.load(file)
        self.assertEqual([message["content"][0]["text"] for message in messages[:2]], ["Be kind.", "Once upon a time"])
        path = self.path("asked.json", messages[:2])
        self.assertEqual(self.show("--chat-template", template, "--messages", path), "Be kind.\nOnce upon a time\n")

    def test_a_model_without_a_template_has_no_chat(self):
        folder = os.path.join(self.folder, "plain")
        os.makedirs(folder)
        for name in os.listdir(DEMO):
            if name not in ("tokenizer_config.json", "chat_template.jinja"):
                os.symlink(os.path.join(DEMO, name), os.path.join(folder, name))
        plan = self.path("plain.plan")
        subprocess.run([program("ninfer-compile"), "--quiet", folder, "-o", plan], check=True)
        done = subprocess.run([program(), plan, "--chat"], input="Hi\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=300, check=False, env=self.environment)
        self.assertEqual(done.returncode, 2)
        self.assertIn("expected a model with a chat template, found one without", done.stderr)

    def test_a_template_that_does_not_parse_is_a_line_of_the_compiler_and_refuses_chats_alone(self):
        folder = os.path.join(self.folder, "broken")
        os.makedirs(folder)
        for name in os.listdir(DEMO):
            if name not in ("chat_template.jinja",):
                os.symlink(os.path.join(DEMO, name), os.path.join(folder, name))
        with open(os.path.join(folder, "chat_template.jinja"), "w", encoding="utf-8") as file:
            file.write("a\n{% sparkle %}")
        plan = self.path("broken.plan")
        made = subprocess.run([program("ninfer-compile"), folder, "-o", plan], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=300, check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("cannot be used: chat template, line 2: TemplateSyntaxError: Encountered unknown tag 'sparkle'.",
                      made.stdout + made.stderr)
        for arguments, status in ((["--prompt", "Once", "--max-tokens=2"], 0), (["--chat"], 2)):
            done = subprocess.run([program(), plan, *arguments], input="", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, timeout=300, check=False, env=self.environment)
            self.assertEqual(done.returncode, status, done.stderr)


if __name__ == "__main__":
    script_main.main()
