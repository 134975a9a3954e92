"""Runs the sluice binary as a user would: a configuration file, commands, signals, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kafka import REPOSITORY
from .oracle.source import Table, parse_lsn
from .processes import Process, free_port, wait_until

Settings = dict[str, Any]


def binary() -> Path:
    """`SLUICE_BIN`, else the release build, else the debug build."""
    named = os.environ.get("SLUICE_BIN")
    candidates = [Path(named)] if named else [REPOSITORY / ".build" / kind / "sluice" for kind in ("release", "debug")]
    for path in candidates:
        if path.exists():
            return path
    raise FileNotFoundError(f"no sluice binary at {', '.join(map(str, candidates))}: swift build -c release --static-swift-stdlib")


def yaml(settings: Mapping[str, Any], indent: int = 0) -> str:
    """Plain block YAML. Strings are double-quoted as JSON, which YAML reads the same way."""
    lines = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            lines.append(f"{'  ' * indent}{key}:\n{yaml(value, indent + 1)}" if value else f"{'  ' * indent}{key}: {{}}\n")
        else:
            lines.append(f"{'  ' * indent}{key}: {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines)


def merge(base: Settings, changes: Mapping[str, Any]) -> Settings:
    """`changes` over `base`, map by map; a value None takes the key out."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merge(result[key], value)
        else:
            result[key] = dict(value) if isinstance(value, Mapping) else value
    return result


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class Agent:
    """One configuration, and the processes that run it."""

    folder: Path
    settings: Settings
    env: Mapping[str, str] = field(default_factory=dict)
    label: str = "agent"
    program: Path | None = None  # none: `binary()`
    process: Process | None = None
    starts: int = 0
    began: int = 0  # where in the log its process begins

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.settings = merge(self.settings, {"http": f"127.0.0.1:{self.port}"})
        self.write()

    @property
    def config(self) -> Path:
        return self.folder / f"{self.label}.yaml"

    @property
    def name(self) -> str:
        return str(self.settings["name"])

    @property
    def slot(self) -> str:
        return str(self.settings.get("postgres", {}).get("slot", f"sluice_{self.name}"))

    @property
    def publication(self) -> str:
        return str(self.settings.get("postgres", {}).get("publication", f"sluice_{self.name}"))

    @property
    def progress_topic(self) -> str:
        return f"sluice.{self.name}.progress"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.label}.log"

    def topic(self, table: Table) -> str:
        template = str(self.settings.get("kafka", {}).get("topic", "{name}.{schema}.{table}"))
        return re.sub(r"[^A-Za-z0-9._-]", "_", template.format(name=self.name, schema=table[0], table=table[1]))

    def write(self) -> None:
        self.config.write_text(yaml(self.settings))
        self.config.chmod(0o600)

    def twin(self, label: str, changes: Mapping[str, Any] | None = None) -> Agent:
        """Another process of the same name: a standby, or a sink of its own."""
        return Agent(self.folder, merge(self.settings, changes or {}), self.env, label)

    # Commands

    def command(self, *arguments: str, timeout: float = 90, config: Path | None = None) -> Done:
        argv = [str(binary()), *arguments, *(["-c", str(config or self.config)] if arguments and not arguments[0].startswith("-") else [])]
        done = subprocess.run(argv, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, *arguments: str, timeout: float = 90) -> Done:
        done = self.command(*arguments, timeout=timeout)
        if done.code != 0:
            raise RuntimeError(f"sluice {' '.join(arguments)}: exit {done.code}\n{done.text}")
        return done

    # The long-running one

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Agent:
        self.starts += 1
        self.began = self.log.stat().st_size if self.log.exists() else 0
        self.process = Process(f"sluice ({self.label})", [str(self.program or binary()), "run", *arguments, "-c", str(self.config)],
                               self.log, env={**self.env, **(env or {})}).start()
        return self

    def running(self) -> Process:
        if self.process is None:
            raise RuntimeError(f"{self.label} was never started")
        return self.process

    def wait_ready(self, timeout: float = 60) -> Agent:
        self.running().ready(lambda: self.http("/readyz")[0] == 200, timeout)
        return self

    def kill(self) -> None:
        self.running().kill()

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM: drain and end. The exit code."""
        return self.running().stop(signal.SIGTERM, timeout)

    def pause(self) -> None:
        self.running().send(signal.SIGSTOP)

    def resume(self) -> None:
        self.running().send(signal.SIGCONT)

    # What it says of itself

    def said(self) -> str:
        """What its process has logged: all of them write to one log, and what one before has said is soon found in it."""
        with self.log.open("rb") as log:
            log.seek(self.began)
            return log.read().decode(errors="replace")

    def http(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """Samples by name with labels, as in the exposition: `sluice_x{table="t"}`."""
        code, text = self.http("/metrics")
        if code != 200:
            raise ValueError(f"/metrics answered {code}")
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def status(self) -> dict[str, Any]:
        return json.loads(self.must("status", "--json").out)

    # What it stored

    def wait_stored(self, lsn: int, timeout: float = 60, brokers: str | None = None) -> None:
        """Until the position in Kafka has reached `lsn`. `brokers`: where to look, if not where the agent does."""
        from .oracle.topics import read_progress

        def reached() -> bool:
            if self.process is not None:
                self.process.require_running()
            stored = read_progress(brokers or self.settings["kafka"]["brokers"], self.name)
            return bool(stored) and stored[-1].lsn >= lsn
        wait_until(f"{self.label} has stored the position {lsn >> 32:X}/{lsn & 0xFFFFFFFF:X} (log: {self.log})", reached, timeout, pause=0.3)


def confirmed(connection: Any, slot: str) -> int | None:
    """The slot's confirmed_flush_lsn, or none where there is no such slot."""
    row = connection.execute("select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s", (slot,)).fetchone()
    return parse_lsn(row[0]) if row and row[0] else None
