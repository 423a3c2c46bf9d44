"""Which of the language cases of huggingface.js transformers renders otherwise, and how.

    chat_language_cases.py language-cases.json real-templates.json > data/chat_differences.json

Those cases were written for JavaScript, which prints `true` and `["a"]` where Python prints `True` and `['a']`. Needs
jinja2 (PyPI); the environment is the one that transformers sets up. Long texts are kept as their FNV-1a hash.
"""

import datetime
import json
import sys

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2025, 7, 10)


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


def outcome(template, variables):
    try:
        return {"text": environment().from_string(template).render(**variables)}
    except Exception as error:
        return {"error": type(error).__name__}


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return "%016x" % value


def main():
    different = {}
    with open(sys.argv[1], encoding="utf-8") as file:
        for name, case in json.load(file).items():
            made = outcome(case["template"], case["context"])
            # Python before 3.13 takes no `count=` in str.replace.
            if made != {"text": case["expected"]} and name != "REPLACE":
                different[name] = made
    with open(sys.argv[2], encoding="utf-8") as file:
        for case in json.load(file):
            made = outcome(case["chat_template"], case["data"])
            if made != {"text": case["target"]}:
                different[case["name"]] = {"fnv1a": fnv1a(made["text"])}
    rows = ["%s: %s" % (json.dumps(name), json.dumps(made)) for name, made in sorted(different.items())]
    print("{\n" + ",\n".join(rows) + "\n}")


if __name__ == "__main__":
    main()
