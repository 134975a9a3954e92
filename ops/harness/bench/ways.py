"""How a subject reaches the server: TCP, the unix socket, and that socket where it holds more than Linux's default."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

# What a unix socket holds is set where it is made, by this; no program can ask for more of its peer.
_DEFAULT = Path("/proc/sys/net/core/wmem_default")
WIDE_BYTES = 1 << 20

NAMES = {"tcp": "TCP", "socket": "unix socket", "wide": "unix socket of 1 MiB"}


def measured() -> list[str]:
    """The ways that this machine lets us measure: `wide` needs the right to set `net.core.wmem_default`."""
    try:
        _DEFAULT.write_text(_DEFAULT.read_text())
    except OSError:
        return [way for way in NAMES if way != "wide"]
    return list(NAMES)


def of(stream: Mapping[str, object]) -> list[str]:
    """Those in a part's results."""
    return [way for way in NAMES if way in stream]


@contextlib.contextmanager
def sockets(way: str) -> Iterator[None]:
    """What is connected meanwhile has the sockets of this way."""
    if way != "wide":
        yield
        return
    before = _DEFAULT.read_text()
    _DEFAULT.write_text(str(WIDE_BYTES))
    try:
        yield
    finally:
        _DEFAULT.write_text(before)
