"""Counts test cases: summary.py FOLDER... prints why cases were skipped, then "N passed, N failed, N skipped".

A folder holds ctest.junit, as ctest writes it, and NAME.xml of each gtest program or script NAME, whose cases are counted
one by one; any other test counts as one. A program that failed without a failing case (it crashed) counts as one failed.
Tested by tests/scripts_test.py.
"""

import collections
import os
import re
import sys
import xml.etree.ElementTree


def cases_of_program(path):
    """(passed, failed, reasons of the skipped) in a gtest report."""
    passed, failed, reasons = 0, 0, []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None:
            failed += 1
        elif skipped is not None or case.get("result") == "skipped":
            message = skipped.get("message", "") if skipped is not None else ""
            # gtest puts the file and line before the reason.
            reasons.append(re.sub(r"^\S+:\d+\n", "", message).strip() or "no reason given")
        elif case.get("status") == "run":
            passed += 1
    return passed, failed, reasons


def cases_of_folder(folder):
    """The same of all the tests that ctest ran."""
    passed, failed, reasons = 0, 0, []
    report = os.path.join(folder, "ctest.junit")
    if not os.path.exists(report):
        return 0, 1, []
    for test in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        own = os.path.join(folder, test.get("name") + ".xml")
        status = test.get("status")
        counted = (0, 0, [])
        if os.path.exists(own):
            try:
                counted = cases_of_program(own)
            except xml.etree.ElementTree.ParseError:
                pass  # the program died while it wrote
        skipped = test.find("skipped")
        if status == "run" and counted == (0, 0, []):
            passed += 1
        elif status == "fail" and counted[1] == 0:
            failed += 1
        elif skipped is not None and "SKIP_RETURN_CODE" in skipped.get("message", ""):
            if counted == (0, 0, []):
                reasons.append(test.get("name") + " cannot run here")
        elif status not in ("run", "fail"):
            failed += 1  # a program that is not there
        passed += counted[0]
        failed += counted[1]
        reasons += counted[2]
    return passed, failed, reasons


def main(folders):
    totals = [cases_of_folder(folder) for folder in folders]
    reasons = collections.Counter(reason for total in totals for reason in total[2])
    for reason, count in sorted(reasons.items()):
        print("skipped %d: %s" % (count, reason))
    passed, failed = sum(total[0] for total in totals), sum(total[1] for total in totals)
    print("%d passed, %d failed, %d skipped" % (passed, failed, sum(reasons.values())))
    return 1 if failed or not passed else 0  # where nothing ran, nothing was shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
