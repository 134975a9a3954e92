"""Child processes that cannot outlive this one, free ports, and waits with a deadline."""

from __future__ import annotations

import atexit
import fcntl
import os
import pty
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_living: set[Process] = set()


class NotReady(RuntimeError):
    """A wait that reached its deadline."""


def wait_until(what: str, predicate: Callable[[], object], timeout: float, pause: float = 0.05) -> object:
    """Polls `predicate` until it answers something true, and returns that. Errors of a try are kept for the message."""
    deadline = time.monotonic() + timeout
    last: Exception | None = None
    while True:
        try:
            if answer := predicate():
                return answer
            last = None
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            if isinstance(error, NotReady | Died):
                raise
            last = error
        except Exception as error:  # drivers have error trees of their own
            last = error
        if time.monotonic() >= deadline:
            raise NotReady(f"{what}: not so after {timeout:.0f} s" + (f" (last: {last})" if last else ""))
        time.sleep(pause)


_given: set[int] = set()
_locks: int | None = None  # the file whose byte N belongs to the process that was given port N, until that ends


def _reserve(port: int) -> bool:
    """No port is given twice, here or by a process beside us: who has it may not listen yet, or be restarting."""
    global _locks
    if _locks is None:
        # Opened once and never closed: closing any descriptor of it would drop all our locks.
        _locks = os.open(f"{tempfile.gettempdir()}/sluice-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if port in _given:
        return False
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _given.add(port)
    return True


def free_port() -> int:
    """A port that is free now, below the range from which the kernel takes ports for outgoing connections,
    so that a server that is restarted finds its port free again."""
    for _ in range(200):
        port = random.randint(20000, 32000)
        if not _reserve(port):
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise NotReady("no free port between 20000 and 32000")


def peak_memory(pid: int) -> int:
    """VmHWM: the most that was ever resident, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("no VmHWM")


def listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Died(RuntimeError):
    """A process that ended although it should run."""


@dataclass(eq=False)
class Process:
    """One child: in a process group of its own, its output in one log file, and killed by the kernel if we die.

    The kernel's signal is tied to the *thread* that starts the child: start long-lived ones from the main thread.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    cwd: Path | None = None
    death_signal: str = "KILL"
    handle: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        privileges = ["setpriv", f"--pdeathsig={self.death_signal}"]
        if self.user is not None:
            privileges += [f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]
        environment = {**os.environ, **self.env}
        with self.log.open("ab") as output:
            self.handle = subprocess.Popen(
                [*privileges, "--", *self.argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment, cwd=self.cwd, start_new_session=True,
            )
        _living.add(self)
        return self

    @property
    def pid(self) -> int:
        if self.handle is None:
            raise Died(f"{self.name} was never started")
        return self.handle.pid

    @property
    def running(self) -> bool:
        return self.handle is not None and self.handle.poll() is None

    def require_running(self) -> None:
        if not self.running:
            code = self.handle.returncode if self.handle else None
            raise Died(f"{self.name} ended (exit {code}); {self.log}:\n{self.tail()}")

    def ready(self, predicate: Callable[[], object], timeout: float) -> None:
        """Waits until the server answers; a process that ends meanwhile is an error at once."""
        def check() -> object:
            self.require_running()
            return predicate()
        try:
            wait_until(f"{self.name} is ready", check, timeout)
        except NotReady as error:
            raise NotReady(f"{error}; {self.log}:\n{self.tail()}") from None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9` for the process and every descendant, all at once; returns when all are gone."""
        if self.handle is None:
            return
        family: list[psutil.Process] = []
        try:
            parent = psutil.Process(self.handle.pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            pass
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                pass
        self.handle.wait()
        psutil.wait_procs(family, timeout=10)
        _living.discard(self)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 15) -> int:
        """Asks to end; kills what has not ended at the deadline. Returns the exit code."""
        if self.handle is None:
            raise Died(f"{self.name} was never started")
        if self.running:
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, number)
            try:
                self.handle.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        _living.discard(self)
        return self.handle.returncode

    def wait(self, timeout: float) -> int:
        """The exit code, once it has ended by itself."""
        if self.handle is None:
            raise Died(f"{self.name} was never started")
        try:
            code = self.handle.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NotReady(f"{self.name} still runs after {timeout:.0f} s; {self.log}:\n{self.tail()}") from None
        _living.discard(self)
        return code

    def tail(self, lines: int = 25) -> str:
        """The end of the log; of a crash its beginning, up to the frames of the thread that crashed."""
        if not self.log.exists():
            return ""
        found = [line for line in self.log.read_text(errors="replace").splitlines() if "failed to suspend thread" not in line]
        fatal = next((n for n, line in enumerate(found) if "Fatal error" in line or "Program crashed" in line), None)
        if fatal is None:
            return "\n".join(found[-lines:])
        crashed = next((n for n, line in enumerate(found) if line.endswith(" crashed:")), fatal)
        return "\n".join([*found[max(0, fatal - 5) : fatal + 2], *found[crashed : crashed + lines]])


def on_a_terminal(argv: Sequence[str], env: Mapping[str, str], timeout: float = 30) -> bytes:
    """What a command shows on a terminal; it has to end with 0, and is killed where it shows nothing for `timeout` seconds."""
    master, slave = pty.openpty()
    shown = b""
    try:
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=env) as process:
            os.close(slave)
            while select.select([master], [], [], timeout)[0]:
                try:
                    shown += os.read(master, 4096)
                except OSError:
                    break
            else:
                process.kill()
            assert process.wait(timeout) == 0, shown
    finally:
        os.close(master)
    return shown


def kill_all() -> None:
    """Ends every child that still runs."""
    for process in list(_living):
        process.kill()


atexit.register(kill_all)


class Lab:
    """A temporary directory for servers and logs. As a context it ends all processes, and is removed unless something failed."""

    def __init__(self, prefix: str = "sluice-", keep: bool = False) -> None:
        self.root = Path(tempfile.mkdtemp(prefix=prefix))
        self.root.chmod(0o755)  # PostgreSQL runs as another user when we are root
        self.keep = keep

    def folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        kill_all()
        self.keep |= kind is not None and kind is not KeyboardInterrupt
        if self.keep:
            print(f"kept: {self.root}", file=sys.stderr)
        self.close()
