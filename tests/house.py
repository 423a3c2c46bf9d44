"""The rules of the house that a script can check. Run by tests/house_test.py, or by hand: python3 tests/house.py

Each rule is a function of a tree that yields findings; a finding names file, line, what was expected and what was
found. To add a rule, add a function to RULES and a planted offender to tests/house_test.py.
"""

import os
import re
import sys

# What each room may include, besides itself: what stands below it. A file alone opens that file alone.
COMPILE_SIDE = ["base", "hub", "formats", "ir", "program", "eager", "frontend", "passes", "codegen", "plan", "text",
                "image"]
INCLUDES = {
    "base": [],
    "hub": ["base"],
    "formats": ["base"],
    "ir": ["base"],
    "program": ["ir", "formats", "base"],
    "eager": ["program", "ir", "formats", "base"],
    "frontend": ["ir", "base"],
    "passes": ["program", "ir", "formats", "base"],
    "codegen": ["program", "ir", "formats", "base"],
    "cuda/generate": ["program", "ir", "formats", "base"],
    "cuda/host_shim": ["cuda/generate", "program", "ir", "formats", "base"],
    "cuda/host_driver": ["cuda/host_shim", "cuda/generate", "base"],
    "cuda/driver": ["runtime", "plan", "base"],
    "text": ["base"],
    "image": ["base"],
    "plan": ["base"],
    "runtime": ["plan", "text", "image", "base", "compiler/ninfer_compiler.h"],
    "serve": ["runtime", "text", "plan", "base"],
    "compiler": COMPILE_SIDE + ["cuda/generate", "cuda/driver", "runtime"],
}
# Programs, tests and benchmarks stand on top and may include every room.
TOP = ["tools", "tests", "bench"]
# Except these programs: they are small, and reach the compiler through its C interface alone.
SMALL_PROGRAMS = re.compile(r"^tools/(ninfer[-_])?(run|serve|tokenize)(?![a-z])")
SMALL_MAY_INCLUDE = ["tools", "serve", "cuda/driver", "runtime", "text", "image", "plan", "base", "compiler/ninfer_compiler.h"]
NO_JSON = ["ir", "program", "formats", "codegen", "eager"]
HEAD_NAMES_A_TEST = ["passes", "codegen", "runtime"]
LINE_LIMIT = 500
PASS_LINE_LIMIT = 400

# Stems spelt the British way, outside code: a name of a library is written as code.
SPELLING = [(us + "(?=[aei])", us[:-1] + "s") for us in (
    "optimiz canonicaliz quantiz initializ serializ vectoriz materializ specializ generaliz minimiz "
    "maximiz summariz recogniz synchroniz organiz prioritiz utiliz customiz finaliz parallelliz "
    "realiz emphasiz factoriz memoriz standardiz visualiz characteriz penaliz categoriz").split()]
SPELLING += [("analyz", "analys"), ("behavior", "behaviour"), ("color", "colour"),
             ("neighbor", "neighbour"), ("favor", "favour"), ("honor", "honour"), ("labeled", "labelled"),
             ("modeled", "modelled"), ("canceled", "cancelled"), ("canceling", "cancelling"),
             ("signaled", "signalled"), ("fulfill(?!e|i)", "fulfil"), ("center", "centre")]
SPELLING = [(re.compile(r"^(%s)" % us, re.IGNORECASE), british) for us, british in SPELLING]

# Written in pieces, so that this file does not offend.
UNFINISHED = re.compile(r"\b(%s)\b" % "|".join(
    ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "not " + "implemented", "un" + "implemented"]))
MACHINE_PATH = re.compile(r"(?<![\w.$}~])/(work|home|root|tmp(?!/perf-)|mnt|Users)/\w")  # perf prescribes its path

CODE = (".cc", ".h", ".def")
WORDS = re.compile(r"(?<![\w:./`@$-])[A-Za-z]+(?![\w`(]|::)")


class Tree:
    """The project's text files by their path from the root."""

    def __init__(self, root):
        self.root = root
        self.files = []
        self._texts = {}
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != ".git" and name != "__pycache__"
                                and not (folder == root and name.startswith("build")))
            self.files += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(names)]

    def text(self, path):
        if path not in self._texts:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
                self._texts[path] = file.read()
        return self._texts[path]

    def exists(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def with_suffix(self, suffixes, rooms=None):
        """The files that end so, in the given rooms only."""
        for path in self.files:
            if path.endswith(suffixes) and (rooms is None or room_of(path) in rooms):
                yield path

    def written(self):
        """Every file that a person wrote: code, scripts, build files and pages."""
        for path in self.files:
            name = os.path.basename(path)
            if name.endswith(CODE + (".py", ".sh", ".cmake", ".md", ".ir", ".kp")) or name == "CMakeLists.txt":
                yield path
            elif "." not in name.lstrip(".") and name != "LICENSE":
                with open(os.path.join(self.root, path), "rb") as file:
                    if file.read(2) == b"#!":
                        yield path


def room_of(path):
    """The room a path from the root lies in; "" for files beside the rooms."""
    for room in INCLUDES:
        if path.startswith(room + "/"):
            return room
    folder = path.split("/")[0]
    return folder if "/" in path else ""


def split_code(text):
    """C++ text as (code, comments), each with the other's characters blanked; strings are blanked in both."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'',
                         re.DOTALL)
    blank = lambda piece: re.sub(r"[^\n]", " ", piece)
    code, comments, end = [], [], 0
    for match in pattern.finditer(text):
        before, piece = text[end:match.start()], match.group()
        is_comment = piece.startswith(("//", "/*"))
        code += [before, blank(piece)]
        comments += [blank(before), piece if is_comment else blank(piece)]
        end = match.end()
    return "".join(code) + text[end:], "".join(comments) + blank(text[end:])


def prose_of(tree, path):
    """The lines of a page, or of the comments of code, with code spans and fences blanked."""
    text = tree.text(path)
    if path.endswith(CODE):
        lines = split_code(text)[1].split("\n")
    elif path.endswith(".md"):
        lines, fenced = [], False
        for line in text.split("\n"):
            fence = line.lstrip().startswith("```")
            lines.append("" if fenced or fence else re.sub(r"\]\([^)]*\)|https?://\S+", "]", line))
            fenced ^= fence
    else:
        lines = [line[line.index("#"):] if re.search(r"(^|\s)#", line) else "" for line in text.split("\n")]
    return [re.sub(r"`[^`]*`|<[^>]*>", " ", line) for line in lines]


def finding(path, line, expected, found):
    return "%s:%d: expected %s, found %s" % (path, line, expected, found)


def matches(tree, paths, pattern, code_only=True):
    """(path, line number, match) for each line of the code that the pattern matches."""
    for path in paths:
        text = split_code(tree.text(path))[0] if code_only else tree.text(path)
        for number, line in enumerate(text.split("\n"), 1):
            match = re.search(pattern, line)
            if match:
                yield path, number, match


def may_include(path, target):
    """None where the include is allowed, else the list that it should have been from."""
    room = room_of(path)
    allowed = None
    if SMALL_PROGRAMS.match(path):
        allowed = SMALL_MAY_INCLUDE
    elif room in INCLUDES:
        allowed = [room] + INCLUDES[room]
    if allowed is None or room_of(target) in allowed or target in allowed:
        return None
    return allowed


def includes_follow_the_table(tree):
    rooms = set(INCLUDES) | set(TOP)
    for path, number, match in matches(tree, tree.with_suffix(CODE, rooms), r'^\s*#\s*include\s+"([^"]+)"', False):
        target = match.group(1)
        room = room_of(target)
        if room not in rooms:
            if tree.exists(os.path.join(os.path.dirname(path), target)):
                yield finding(path, number, "an include written from the root", '"%s"' % target)
            continue  # a library's header
        allowed = may_include(path, target)
        if allowed is not None:
            yield finding(path, number, "an include from " + ", ".join(allowed), '"%s"' % target)


def llvm_stays_in_codegen(tree):
    paths = [path for path in tree.with_suffix(CODE) if room_of(path) != "codegen"]
    for path, number, match in matches(tree, paths, r'#\s*include\s+["<](llvm(-c)?/[^">]+)', False):
        yield finding(path, number, "LLVM headers in codegen/ alone", match.group(1))


def json_stays_out_of_the_core(tree):
    for path, number, _ in matches(tree, tree.with_suffix(CODE, NO_JSON), r"#\s*include\s+.nlohmann/", False):
        yield finding(path, number, "no JSON in " + ", ".join(NO_JSON), "nlohmann/json")


def only_base_reads_the_environment(tree):
    paths = [path for path in tree.with_suffix(CODE) if room_of(path) != "base"]
    for path, number, match in matches(tree, paths, r"\b(secure_)?getenv\b|\benviron\b"):
        yield finding(path, number, "GetEnv of base/file.h", match.group())


def ops_are_told_apart_in_few_places(tree):
    for path, number, match in matches(tree, tree.with_suffix(CODE), r"\bcase\s+(\w+::)*Op::k(##)?"):
        allowed = (room_of(path) in ("eager", "codegen", "cuda/generate") or path.startswith("passes/lower")
                   or room_of(path) == "ir" and match.group(2))
        if not allowed:
            yield finding(path, number, "a property from ir/ops.def (`case Op::` belongs in eager/, lowering, emitters)",
                          match.group().strip())


def heads_name_their_tests(tree):
    for path in tree.with_suffix(".cc", HEAD_NAMES_A_TEST):
        head = re.match(r"(//[^\n]*\n|\s)*", tree.text(path)).group()
        joined = re.sub(r"\n\s*//", " ", head)
        named = joined.partition("Tested by")[2]
        tests = re.findall(r"\btests/[\w./-]*\w", named)
        if not tests:
            yield finding(path, 1, '"Tested by tests/..." in the comment at its head', "none")
        for test in tests:
            if not tree.exists(test):
                yield finding(path, 1, "a test that exists", test)


def passes_have_a_file_and_a_golden(tree):
    """One pass, one file, one golden file, all of one name."""
    if not tree.exists("passes/passes.def"):
        return
    rows = re.finditer(r'^PASS\(\s*\w+,\s*(\w+),\s*"([\w-]+)"', tree.text("passes/passes.def"), re.MULTILINE)
    for row in rows:
        line = tree.text("passes/passes.def")[:row.start()].count("\n") + 1
        name = row.group(2)
        source = "passes/%s.cc" % name.replace("-", "_")
        if not tree.exists(source):
            yield finding("passes/passes.def", line, source + " for the pass " + name, "no such file")
        golden = r"tests/(program/)?passes/%s\.\w+$" % name.replace("-", "[-_]")
        goldens = [path for path in tree.files if re.match(golden, path)]
        if not goldens:
            yield finding("passes/passes.def", line, "a golden file tests/passes/%s.ir" % name, "none")


def files_are_short(tree):
    for path in tree.with_suffix((".cc", ".h", ".py", ".cu")):
        limit = PASS_LINE_LIMIT if room_of(path) == "passes" else LINE_LIMIT
        lines = tree.text(path).count("\n")
        if lines > limit:
            yield finding(path, limit + 1, "at most %d lines (split it by idea)" % limit, "%d lines" % lines)


def nothing_is_unfinished(tree):
    for path, number, match in matches(tree, tree.written(), UNFINISHED, False):
        yield finding(path, number, "finished work", '"%s"' % match.group())


def no_path_of_one_machine(tree):
    paths = [path for path in tree.written() if path not in ("tests/house.py", "tests/house_test.py")]
    for path, number, match in matches(tree, paths, MACHINE_PATH, False):
        yield finding(path, number, "a path relative to the tree, or a flag", match.group() + "...")


def threads_are_joined(tree):
    for path, number, match in matches(tree, tree.with_suffix(CODE), r"(\.|->)\s*detach\s*\(\s*\)"):
        yield finding(path, number, "a thread that is joined", match.group())


def rooms_do_not_print_to_streams(tree):
    for path, number, match in matches(tree, tree.with_suffix(CODE, INCLUDES), r"#\s*include\s*<iostream>"):
        yield finding(path, number, "a Status, a callback or <cstdio>", match.group())


def spelling_is_british(tree):
    for path in tree.written():
        if not path.endswith(CODE + (".md", ".py", ".sh", ".cmake", "CMakeLists.txt")):
            continue
        for number, line in enumerate(prose_of(tree, path), 1):
            for word in WORDS.findall(line):
                if not (word.islower() or word.istitle()):
                    continue  # a name
                for us, british in SPELLING:
                    if us.match(word):
                        yield finding(path, number, '"%s"' % us.sub(british, word.lower(), 1), '"%s"' % word)


RULES = [includes_follow_the_table, llvm_stays_in_codegen, json_stays_out_of_the_core, only_base_reads_the_environment,
         ops_are_told_apart_in_few_places, heads_name_their_tests, passes_have_a_file_and_a_golden, files_are_short,
         nothing_is_unfinished, no_path_of_one_machine, threads_are_joined, rooms_do_not_print_to_streams,
         spelling_is_british]


def check(root):
    """All findings of all rules on the tree below root."""
    tree = Tree(root)
    return [text for rule in RULES for text in rule(tree)]


if __name__ == "__main__":
    found = check(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    print("\n".join(found) if found else "the house is in order")
    sys.exit(1 if found else 0)
