"""What a person sees: headings, facts, and progress bars that redraw on a terminal and are plain lines in a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass, field

_FANCY = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
_COLOUR = _FANCY and "NO_COLOR" not in os.environ


def paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if _COLOUR else text


def heading(text: str) -> None:
    print(f"\n{paint(text, '1;36')}", flush=True)


def fact(name: str, text: str) -> None:
    print(f"  {paint(f'{name:<12}', '2')} {text}", flush=True)


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def good(text: str) -> None:
    print(f"  {paint('✓', '32')} {text}", flush=True)


def bad(text: str) -> None:
    print(f"  {paint('✗', '31')} {text}", flush=True)


@dataclass
class Bars:
    """One bar a stage, over the same total. In a pipe: a line every two seconds."""

    total: int
    names: tuple[str, ...]
    drawn: bool = False
    last: float = 0
    values: dict[str, int] = field(default_factory=dict)

    def show(self, values: dict[str, int], note: str, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self.last < (0.1 if _FANCY else 2.0):
            return
        self.last, self.values = now, values
        if not _FANCY:
            print("  " + "  ".join(f"{name} {values.get(name, 0):,}/{self.total:,}" for name in self.names) + f"  {note}", flush=True)
            return
        width = max(10, min(46, shutil.get_terminal_size().columns - 42))
        if self.drawn:
            sys.stdout.write(f"\x1b[{len(self.names) + 1}A")
        for name, colour in zip(self.names, ("34", "33", "32")):
            done = min(1.0, values.get(name, 0) / max(1, self.total))
            bar = paint("━" * round(done * width), colour) + paint("━" * (width - round(done * width)), "90")
            sys.stdout.write(f"\x1b[2K  {name:<12} {bar} {values.get(name, 0):>8,} / {self.total:,}\n")
        sys.stdout.write(f"\x1b[2K  {paint(note, '2')}\n")
        sys.stdout.flush()
        self.drawn = True

    def interrupt(self, text: str) -> None:
        """A line above the bars."""
        self.drawn = False
        print(f"  {text}", flush=True)
