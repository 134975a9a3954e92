"""Runs a command with real servers beside it: `python -m harness.serve -- swift test ...`.

The Swift tests find the servers through the variables of `variables()`; a test whose variable is missing is skipped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import psutil

from .kafka import Kafka, kafka_home
from .postgres import AGENT_ROLE, Postgres, debian_bin, wheel_bin
from .processes import Lab
from .site import librdkafka_folder
from .stores import Moto, Rclone, S3Proxy, SecureRclone, Store, s3proxy_home

BUCKET = "sluice-tests"


def variables(lab: Lab) -> dict[str, str]:
    """Starts each server and says where it is. One line here for each variable that the Swift tests read."""
    found: dict[str, str] = {}
    for variable, bin_dir in (("SLUICE_TEST_POSTGRES", debian_bin()), ("SLUICE_TEST_POSTGRES_18", wheel_bin())):
        server = Postgres(lab.folder(variable.lower()), bin_dir, variable).create().start()
        server.create_database("sluice_test")
        with server.connect("sluice_test") as connection:
            connection.execute(f"alter role {AGENT_ROLE} superuser")
        found[variable] = server.conninfo("sluice_test")
        found[variable + "_BIN"] = str(bin_dir)  # for servers that a test starts itself
        found[variable + "_SOCKET"] = server.conninfo("sluice_test", socket=True)
    if home := kafka_home():
        found["SLUICE_TEST_KAFKA_HOME"] = str(home)
        found["SLUICE_TEST_KAFKA"] = Kafka(home, lab.folder("kafka"), creates_topics=True).create().start().brokers
    stores: list[Store] = [Moto(lab.folder("moto")), Rclone(lab.folder("rclone"))]
    if s3proxy_home():
        stores.append(S3Proxy(lab.folder("s3proxy")))
    for store in stores:
        store.start().create_bucket(BUCKET)
        found[f"SLUICE_TEST_S3_{store.name.removeprefix('s3').upper()}"] = store.access.variable(BUCKET)
        if isinstance(store, Moto):
            found["SLUICE_TEST_S3_MOTO_SESSION"] = store.session().variable(BUCKET)
    tls = SecureRclone(lab.folder("rclone-tls")).start()
    tls.create_bucket(BUCKET)
    found["SLUICE_TEST_S3_TLS"] = f"{tls.access.variable(BUCKET)},{tls.authority}"
    found["SLUICE_TEST_SERVE_SECONDS"] = "1"  # a look at the status page: a second is enough to see that it is served
    found["SLUICE_TEST_LIBRDKAFKA"] = librdkafka_folder()
    return found


def adopt() -> None:
    """What the command leaves behind becomes a child of ours, not of init: Swift tests start servers of their own, and one that crashes ends none."""
    PR_SET_CHILD_SUBREAPER = 36
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def end_left_behind() -> None:
    """Our own servers have ended by now: all that is here still is the command's."""
    ours = psutil.Process().pid
    left = [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    for child in left:
        try:
            if child.ppid() == ours:
                print(f"left behind, ended now: {child.pid} {' '.join(child.cmdline())[:200]}", flush=True)
            if child.name() != "postgres":
                child.kill()
            elif child.ppid() == ours:  # a postmaster: it ends its backends, and gives its shared memory back
                child.send_signal(signal.SIGQUIT)
        except psutil.NoSuchProcess:
            pass
    for child in psutil.wait_procs(left, timeout=5)[1]:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass


def terminated(*_: object) -> None:
    """`timeout` ends a job that takes too long with SIGTERM, sent to us and again to our group: what we have started is to end with us."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def main(arguments: list[str]) -> int:
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    began = time.monotonic()
    signal.signal(signal.SIGTERM, terminated)
    adopt()
    try:
        with Lab("sluice-servers-") as lab:
            environment = variables(lab)
            print(f"servers: {len(environment)} variables set after {time.monotonic() - began:.0f} s", flush=True)
            if not command:
                print("\n".join(f"export {name}='{value}'" for name, value in environment.items()), flush=True)
                print("# Ctrl-C ends them", flush=True)
                time.sleep(1e6)
            return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        end_left_behind()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
