"""Adds up what Swift Testing and pytest said, and ends with one line: `N passed, N failed, N skipped`.

Of Swift Testing the report counts that lies beside the log (`--xunit-output`): where a pipe is full it loses lines."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

_SWIFT = re.compile(r"^\S+\s+Test (?!run\b|case\b)(?P<name>.+?) (?P<how>passed after|failed after|skipped)", re.MULTILINE)
_SWIFT_END = re.compile(r"Test run with \d+ tests?.* (passed|failed) after")
_PYTEST_END = re.compile(r"^(?:=+ )?((?:\d+ \w+(?:, )?)+) in [\d.]+s", re.MULTILINE)


def count(text: str) -> tuple[int, int, int] | None:
    """(passed, failed, skipped) of one log; none where no runner came to its end."""
    if _SWIFT_END.search(text):
        how = [match["how"] for match in _SWIFT.finditer(text)]
        return how.count("passed after"), how.count("failed after"), how.count("skipped")
    if ends := _PYTEST_END.findall(text):
        numbers = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (\w+)", ends[-1])}
        return numbers.get("passed", 0), numbers.get("failed", 0) + numbers.get("error", 0), numbers.get("skipped", 0)
    return None


def reported(text: str) -> tuple[int, int, int]:
    """(passed, failed, skipped) of one xUnit report."""
    passed = failed = skipped = 0
    for suite in ElementTree.fromstring(text).iter("testsuite"):
        bad, left = int(suite.get("failures", 0)) + int(suite.get("errors", 0)), int(suite.get("skipped", 0))
        passed, failed, skipped = passed + int(suite.get("tests", 0)) - bad - left, failed + bad, skipped + left
    return passed, failed, skipped


def main(logs: list[str]) -> int:
    passed = failed = skipped = 0
    for name in logs:
        path, report = Path(name), Path(name).with_suffix(".xml")
        if report.exists():
            found = reported(report.read_text())
        else:
            found = count(path.read_text(errors="replace")) if path.exists() else None
        if found is None:
            print(f"{path.stem}: no runner came to its end")
            failed += 1
            continue
        if sum(found) == 0:
            print(f"{path.stem}: a runner that ran no test")
            failed += 1
            continue
        print(f"{path.stem}: {found[0]} passed, {found[1]} failed, {found[2]} skipped")
        passed, failed, skipped = passed + found[0], failed + found[1], skipped + found[2]
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
