"""Writes an input that failed as an .offender file: the day, the reason, and the bytes as text.

usage: keep_offender.py FILE TARGET REASON

The result is tests/fuzz/offenders/TARGET/<name of FILE>.offender, which tests/fuzz/driver.cc reads.
Tested by tests/fuzz_driver_test.py.
"""

import datetime
import os
import sys

WIDTH = 96


def encode(data):
    """The bytes with C escapes, broken into lines; breaks mean nothing when read back."""
    lines = []
    line = ""
    for byte in data:
        char = chr(byte)
        if char == "\n":
            piece = "\\n"
        elif char == "\\":
            piece = "\\\\"
        elif 0x20 <= byte < 0x7F:
            piece = char
        else:
            piece = "\\x%02x" % byte
        if len(line) + len(piece) > WIDTH:
            lines.append(line)
            line = ""
        # The first line must not look like a comment.
        line += "\\x23" if piece == "#" and not line and not lines else piece
    # Blanks at the end of a line are lost in editors.
    whole = [each[:-1] + "\\x20" if each.endswith(" ") else each for each in lines + [line]]
    return "\n".join(whole) + "\n"


def main(arguments):
    if len(arguments) != 3:
        print(__doc__.splitlines()[2], file=sys.stderr)
        return 2
    path, target, reason = arguments
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = os.environ.get("NINFER_OFFENDERS", os.path.join(root, "tests", "fuzz", "offenders"))
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        print("keep_offender.py: %s: cannot read: %s" % (path, error.strerror), file=sys.stderr)
        return 2
    kept = os.path.join(folder, target, os.path.basename(path) + ".offender")
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    with open(kept, "w", encoding="ascii") as file:
        file.write("# %s: %s\n%s" % (datetime.date.today(), " ".join(reason.split()), encode(data)))
    print(kept)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
