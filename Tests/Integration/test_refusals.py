"""What the agent refuses, with which exit code, and whether it says what to do."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import threading
import time
from contextlib import suppress
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)
from conftest import SiteMaker

from harness.agent import binary, merge, yaml
from harness.kafka import KAFKA_PASSWORD, KAFKA_USER
from harness.oracle.topics import partitions_of, read_progress, read_topics
from harness.processes import NotReady, Process, free_port, listening, wait_until
from harness.site import Site, use_secure_kafka
from harness.stores import Rclone
from harness.workload import TABLES


# 64: the command line

@pytest.mark.parametrize("arguments", [["frobnicate"], ["run", "--frobnicate"], ["run", "--only", "nothing"], ["init", "extra"], []])
def test_wrong_command_line_is_64(site: Site, arguments: list[str]) -> None:
    assert site.agent.command(*arguments).code == 64


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["init", "--help"], ["run", "--help"], ["check", "--help"],
                                       ["status", "--help"], ["verify", "--help"]])
def test_help_and_version(site: Site, arguments: list[str]) -> None:
    done = site.agent.command(*arguments)
    assert done.code == 0 and "sluice" in done.out


# 70: what a script would read is not there

@pytest.mark.parametrize("arguments", [["--help"], ["hours", "--json"], ["init", "--dry-run"], ["drop", "--dry-run"]])
def test_output_that_cannot_be_written_is_70(site: Site, arguments: list[str]) -> None:
    agent = site.agent
    if arguments == ["hours", "--json"]:
        # One object, so that there is a line.
        site.init().run()
        site.sql("insert into public.documents values (1, 'x', null, now())")
        wait_until("an object is there", lambda: agent.command(*arguments).out, 60, pause=0.5)
        assert agent.stop() == 0
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(binary()), *arguments, *([] if arguments == ["--help"] else ["-c", str(agent.config)])], stdin=subprocess.DEVNULL,
                              stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, **agent.env}, timeout=60, check=False)
    assert done.returncode == 70 and "standard output could not be written: No space left on device" in done.stderr, done
    # Nor goes it to a server, whose connection would have the number of a descriptor that is closed.
    done = subprocess.run(["bash", "-c", 'exec "$@" >&-', "-", str(binary()), *arguments, *([] if arguments == ["--help"] else ["-c", str(agent.config)])],
                          stderr=subprocess.PIPE, text=True, env={**os.environ, **agent.env}, timeout=60, check=False)
    assert done.returncode == 70 and "standard output could not be written: Bad file descriptor" in done.stderr, done
    # Who reads no further wanted no more.
    line = shlex.join([str(binary()), *arguments, *([] if arguments == ["--help"] else ["-c", str(agent.config)])])
    done = subprocess.run(["bash", "-c", f"{line} | true"], capture_output=True, text=True, env={**os.environ, **agent.env}, timeout=60, check=False)
    assert done.returncode == 0 and "standard output" not in done.stderr, done


# 78: what the process may not have

@pytest.mark.parametrize("files", [16, 100])
def test_too_few_open_files_is_78(site: Site, files: int) -> None:
    line = shlex.join([str(binary()), "run", "-c", str(site.agent.config)])
    done = subprocess.run(["bash", "-c", f"ulimit -n {files}; exec {line}"], capture_output=True, text=True, env={**os.environ, **site.agent.env},
                          timeout=60, check=False)
    assert done.returncode == 78 and f"may open {files} files" in done.stderr and "ulimit -n" in done.stderr, done


def test_the_limit_of_open_files_is_raised(site: Site) -> None:
    """The soft one; the hard one is the system's."""
    site.agent.must("init")
    log = site.agent.folder / "limited.log"
    line = shlex.join([str(binary()), "run", "-c", str(site.agent.config)])
    process = Process("sluice (limited)", ["bash", "-c", f"ulimit -S -n 64; ulimit -H -n 512; exec {line}"], log, env=dict(site.agent.env)).start()
    try:
        process.ready(lambda: site.agent.http("/readyz")[0] == 200, 60)
        assert site.agent.metrics()["sluice_process_max_fds"] == 512
    finally:
        assert process.stop(signal.SIGTERM, 30) == 0


# 78: the configuration, with file, line and key

BROKEN = [
    ("name: x\nkafak:\n  brokers: a\n", 2, "kafak"),
    ("name: x\nkafka:\n  brokers: 127.0.0.1:1\n  partitions: many\n", 4, "partitions"),
    ("name: x\nevents:\n  envelope: avro\n", 3, "envelope"),
    ("name: x\ns3:\n  url: s3://b/p\n  rotate: { bytes: 1MiB, agee: 1s }\n", 4, "agee"),
    ("name: x\npostgres:\n  url: ${SLUICE_NO_SUCH_VARIABLE}\n", 3, "SLUICE_NO_SUCH_VARIABLE"),
    ("name: x\nname: y\n", 2, "name"),
    ("name: [x\n", 2, ""),
    ("name: x\nkafka:\n  brokers: 127.0.0.1:1\n  client: { transactional.id: mine }\n", 4, "transactional.id"),
]


@pytest.mark.parametrize(("text", "line", "key"), BROKEN, ids=[key or "syntax" for _, _, key in BROKEN])
def test_wrong_configuration_is_78_and_names_line_and_key(site: Site, text: str, line: int, key: str) -> None:
    file = site.agent.folder / "broken.yaml"
    file.write_text(text)
    done = site.agent.command("check", config=file)
    assert done.code == 78, done.text
    assert "broken.yaml" in done.err and key in done.err, done.err
    assert f":{line}" in done.err or f"line {line}" in done.err, done.err


def test_missing_file_is_78(site: Site) -> None:
    assert site.agent.command("check", config=Path("/nonexistent/sluice.yaml")).code == 78


def test_two_tables_on_one_topic_are_78(make: SiteMaker) -> None:
    done = make({"kafka": {"topic": "{name}.rows"}}).agent.command("init")
    assert done.code == 78 and "topic" in done.text


# 69: servers that cannot be reached, or refuse

def unreachable(site: Site, changes: dict[str, Any]) -> str:
    site.agent.must("init")
    other = site.twin("unreachable", {**changes, "limits": {"start_timeout": "3s"}})
    other.start()
    began = time.monotonic()
    code = other.running().wait(40)
    log = other.log.read_text()
    assert code == 69, f"exit {code}\n{log}"
    assert time.monotonic() - began < 25
    return log


def test_no_postgres_is_69(site: Site) -> None:
    port = free_port()
    url = site.stack.postgres.agent_url(site.database, password=False).replace(f":{site.stack.postgres.port}", f":{port}")
    assert str(port) in unreachable(site, {"postgres": {"url": url}})


def test_wrong_password_is_69(site: Site) -> None:
    wrong = site.agent.folder / "wrong.secret"
    wrong.write_text("not-the-password-5531\n")
    assert "not-the-password-5531" not in unreachable(site, {"postgres": {"password_file": str(wrong)}})


def test_no_kafka_is_69(site: Site) -> None:
    port = free_port()
    assert str(port) in unreachable(site, {"kafka": {"brokers": f"127.0.0.1:{port}"}})


@pytest.mark.parametrize("wrong", ["password", pytest.param("authority", marks=pytest.mark.long)])
def test_kafka_that_refuses_a_login_is_69(site: Site, wrong: str) -> None:
    """The password, or the broker's certificate: the word of it is in the log, and in what `check` says."""
    use_secure_kafka(site)
    secret = site.agent.folder / "wrong-kafka.secret"
    secret.write_text("not-the-password-5533\n")
    client, told = ({"sasl.password_file": str(secret)}, "authentication") if wrong == "password" else ({"ssl.ca.location": None}, "certificate")
    other = site.twin("wrong", {"kafka": {"client": client}, "limits": {"start_timeout": "2s"}}).start("--only", "stream")
    checked = other.command("check")
    assert checked.code == 1 and other.running().wait(30) == 69
    log = other.log.read_text()
    assert "-> sluice check" in log and told in log.lower(), log
    assert all(secret not in log + checked.text for secret in ("not-the-password-5533", KAFKA_PASSWORD))
    assert told in checked.text.lower(), checked.text


def test_with_the_rights_of_the_reference_all_is_fine(site: Site) -> None:
    """Topics may be made by somebody else: without Create, and without DescribeConfigs on the progress topic."""
    name, admin = site.agent.name, site.stack.kafka.admin()

    def bindings(kind: ResourceType, resource: str, *operations: AclOperation, prefixed: bool = False) -> list[AclBinding]:
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        return [AclBinding(kind, resource, pattern, f"User:{KAFKA_USER}", "*", operation, AclPermissionType.ALLOW) for operation in operations]
    operation = AclOperation
    rights = [*bindings(ResourceType.TOPIC, f"{name}.", operation.WRITE, operation.READ, operation.DESCRIBE, prefixed=True),
              *bindings(ResourceType.TOPIC, f"sluice.{name}.progress", operation.READ, operation.WRITE, operation.DESCRIBE),
              *bindings(ResourceType.TRANSACTIONAL_ID, f"sluice.{name}", operation.WRITE, operation.DESCRIBE)]
    # Made by a user who may do all.
    site.agent.must("init")
    use_secure_kafka(site)
    # Where nobody is given anything, everybody may do anything in the tests; so this one may nothing.
    for done in admin.create_acls(bindings(ResourceType.TOPIC, f"{name}.", operation.ALTER, prefixed=True)
                                  + bindings(ResourceType.TOPIC, f"sluice.{name}.progress", operation.ALTER)).values():
        done.result(20)
    wait_until("it may not", lambda: site.agent.command("init").code == 69, 30)
    refused = site.agent.command("init")
    assert "authorization failed" in refused.text and "-> give this user its rights: ops/reference/topics.md" in refused.text, refused.text
    for done in admin.create_acls(rights + bindings(ResourceType.GROUP, f"sluice.{name}", operation.READ)).values():
        done.result(20)
    wait_until("it may", lambda: site.agent.command("init").code == 0, 30)
    checked = site.agent.command("check")
    assert checked.code == 0, checked.text
    assert f"warning topic sluice.{name}.progress: its settings are not shown to this user" in checked.out, checked.text
    assert "ok      position" in checked.out, checked.text


def test_no_store_is_69_for_a_sink(site: Site) -> None:
    site.agent.must("init")
    other = site.twin("sink", {"s3": {"endpoint": f"http://127.0.0.1:{free_port()}"}, "limits": {"start_timeout": "3s"}})
    other.start("--only", "sink")
    assert other.running().wait(40) == 69


def test_wrong_s3_secret_is_69_for_a_sink(site: Site) -> None:
    site.agent.must("init")
    wrong = site.agent.folder / "wrong-s3.secret"
    wrong.write_text("wrongwrongwrong7781\n")
    other = site.twin("sink", {"s3": {"secret_access_key_file": str(wrong)}, "limits": {"start_timeout": "3s"}})
    other.start("--only", "sink")
    assert other.running().wait(40) == 69
    assert "wrongwrongwrong7781" not in other.log.read_text()


def test_check_asks_the_store_too(site: Site) -> None:
    site.agent.must("init")
    done = site.agent.must("check")
    assert "store" in done.out and "can be used" in done.out, done.text
    wrong = site.agent.folder / "wrong-s3.secret"
    wrong.write_text("wrongwrongwrong7782\n")
    for changes in ({"s3": {"secret_access_key_file": str(wrong)}}, {"s3": {"url": "s3://no-such-bucket-7783/x"}},
                    {"limits": {"spool_dir": "/nonexistent"}}):
        done = site.twin("checked", changes).command("check")
        assert done.code == 1 and "check found 1 problem" in done.err and "wrongwrong" not in done.text, done.text


def test_status_and_verify_need_no_store_and_status_no_secret(make: SiteMaker) -> None:
    site = make({"s3": None}).init().run("--only", "stream")
    site.sql("insert into public.documents values (1, 'a', 'b', now())")
    site.auditor.wait_kafka(30)
    file = site.agent.folder / "reader.yaml"
    file.write_text(yaml(merge(site.agent.settings, {
        "postgres": {"password_file": "/nonexistent"},
        "s3": {"url": "s3://bucket/p", "access_key_id": "k", "secret_access_key_file": "/nonexistent"}})))
    shown = site.agent.command("status", config=file)
    assert shown.code == 0 and "streaming" in shown.out, shown.text
    checked = site.agent.command("check", config=file)
    assert checked.code == 78 and "password_file" in checked.text, checked.text
    settings = merge(site.agent.settings, {
        "s3": {"url": "s3://bucket/p", "access_key_id": "k", "secret_access_key_file": "/nonexistent"},
        "kafka": {"client": {"client.rack": "${SLUICE_NOT_SET}"}}})
    file.write_text(yaml(settings))
    assert site.agent.command("status", config=file).code == 0
    file.write_text(yaml(merge(settings, {"kafka": {"client": None}})))
    checked = site.agent.command("check", config=file)
    assert checked.code == 1 and "position" in checked.out and "secret_access_key_file" in checked.text, checked.text
    assert site.agent.stop() == 0
    site.agent.must("verify")


def test_verify_compares_the_tables_that_it_is_given(make: SiteMaker) -> None:
    site = make({"s3": None})
    site.agent.must("init")
    for tables, matched in ((["public.*_gold"], 2), (["public.documents", "*.positions"], 2), (["public.*_gold", "public.d*"], 3), (["nowhere.*"], 0)):
        told = site.agent.command("verify", "--json", *(word for table in tables for word in ("--table", table)))
        if matched:
            names = {one["table"] for one in json.loads(told.out)["comparisons"]}
            assert told.code == 0 and len(names) == matched and all(any(fnmatch(name, table) for table in tables) for name in names), told.text
        else:
            assert told.code == 64 and "--table matches no table" in told.err, told.text


def test_status_of_an_agent_that_does_not_go_on_is_69(site: Site) -> None:
    """As the image's health check asks: `/status` answers whatever hangs."""
    site.init().run("--only", "stream")
    document = site.agent.http("/status")[1].encode()
    assert site.agent.must("status").code == 0 and site.agent.stop() == 0
    nobody = site.agent.command("status")
    assert nobody.code == 69 and f"no agent answers at 127.0.0.1:{site.agent.port}" in nobody.err and "-> sluice run" in nobody.err, nobody.text

    class Hung(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/healthz" else 200)
            self.end_headers()
            self.wfile.write(b"stream: no turn for 90 s\n" if self.path == "/healthz" else document)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", site.agent.port), Hung) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for more in ([], ["--json"]):
            status = site.agent.command("status", *more)
            assert status.code == 69 and "stream: no turn for 90 s" in status.err and site.agent.slot in status.out, status.text
        document = b"{}"
        other = site.agent.command("status")
        assert other.code == 70 and "is not a status document" in other.err, other.text
        server.shutdown()


def test_where_the_agent_listens(site: Site) -> None:
    """On every address, on none, and not where somebody else does."""
    site.agent.must("init")
    for address in (f"0.0.0.0:{site.agent.port}", "off"):
        site.agent.settings["http"] = address
        site.agent.write()
        process = site.agent.start("--only", "stream").running()
        status = site.agent.command("status")
        if address == "off":
            wait_until("it streams", lambda: "streaming slot" in site.agent.said(), 30)
            assert status.code == 78 and "http" in status.err and "is off" in status.err, status.text
            assert not listening(site.agent.port) and process.running
        else:
            site.agent.wait_ready()
            status = site.agent.must("status")
            assert "streaming" in status.out and site.agent.slot in status.out, status.text
            # One that listens there already is no other agent's error.
            other = site.twin("second")
            other.settings["http"] = f"127.0.0.1:{site.agent.port}"
            other.write()
            done = other.command("run", "--only", "stream", timeout=30)
            line = next(n for n, text in enumerate(other.config.read_text().splitlines(), 1) if text.startswith("http:"))
            assert done.code == 78 and f"second.yaml:{line}" in done.err and "http" in done.err and str(site.agent.port) in done.err, done.text
        assert site.agent.stop() == 0


def test_globs_that_match_nothing_leave_nothing_behind(make: SiteMaker) -> None:
    site = make({"postgres": {"tables": ["public.*_silver"]}})
    done = site.agent.command("init")
    assert done.code == 78 and "matches no table" in done.text, done.text
    assert site.agent.progress_topic not in site.stack.kafka.topics()


def test_a_secret_that_is_put_right_is_read_again(site: Site) -> None:
    """Beside a stream the sink goes on by itself: nobody restarts it for a session's token that was renewed."""
    right = site.agent.settings["s3"]["secret_access_key_file"]
    secret = site.agent.folder / "renewed.secret"
    secret.write_text("wrongwrongwrong7784\n")
    site.agent.settings = merge(site.agent.settings, {"s3": {"secret_access_key_file": str(secret)}})
    site.agent.write()
    site.agent.must("init")
    site.agent.start()
    site.sql("insert into public.documents values (1, 'a', 'b', now())")
    wait_until("the sink is refused", lambda: "sink" in site.agent.log.read_text() and site.agent.metrics().get("sluice_sink_failed") == 1, 60)
    secret.write_text(Path(right).read_text())
    topic = site.agent.topic(("public", "documents"))
    wait_until("the row is in an object", lambda: bool(site.lake.listing([topic])), 90)
    assert site.agent.stop() == 0


def test_a_store_that_ignores_conditions_is_refused_unless_switched_off(make: SiteMaker) -> None:
    site = make()
    rclone = Rclone(site.agent.folder / "rclone").start()
    try:
        rclone.create_bucket("lake")
        secret = site.agent.folder / "rclone.secret"
        secret.write_text(rclone.access.secret + "\n")
        there = {"s3": {"url": "s3://lake/x", "endpoint": rclone.access.endpoint, "access_key_id": rclone.access.access_key,
                        "secret_access_key_file": str(secret)}}
        site.init()
        strict = site.twin("strict", {**there, "limits": {"start_timeout": "5s"}})
        strict.start("--only", "sink")
        assert strict.running().wait(40) == 69
        assert "If-None-Match" in strict.log.read_text() and "conditional" in strict.log.read_text()

        site.agent.start("--only", "stream").wait_ready()
        there["s3"]["conditional"] = "off"
        relaxed = site.twin("relaxed", there)
        relaxed.start("--only", "sink").wait_ready()
        site.lake.access, site.lake.bucket, site.lake.prefix = rclone.access, "lake", "x"
        site.sql("insert into public.documents values (1, 'a', null, null)")
        verdict = site.auditor.verdict()
        assert verdict.clean and (verdict.changes, verdict.lines) == (1, 1), verdict.report()
        relaxed.kill()
    finally:
        rclone.kill()


def test_an_object_of_somebody_elses_under_a_name_of_ours_is_69(make: SiteMaker) -> None:
    """Nobody knows which records it holds. The sink ends, the stream goes on; `verify` and `hours` say so too."""
    site = make(tables=[("public", "documents")]).init()
    topic = site.agent.topic(("public", "documents"))
    key = f"{topic}/year=2026/month=01/day=01/hour=00/{topic}+0+0000000000.json"
    site.lake.client().put_object(Bucket=site.lake.bucket, Key=f"{site.lake.prefix}/{key}", Body=b'{"op":"c"}\n')
    told = "the object has no metadata of sluice"
    sink = site.twin("sink").start("--only", "sink")
    assert sink.running().wait(30) == 69 and told in sink.log.read_text() and key in sink.log.read_text()
    site.agent.start()
    wait_until("the sink has ended, and says so",
               lambda: site.agent.metrics().get("sluice_sink_failed") == 1 and "the sink cannot start" in site.agent.said(), 30)
    site.sql("insert into public.documents values (1, 'a', null, null)")
    site.auditor.wait_kafka(30)
    assert site.agent.http("/readyz")[0] == 503 and site.agent.stop() == 0
    for command, code in ((["verify"], 1), (["hours", "--hour", "2026-01-01T00:00Z"], 1)):
        done = site.agent.command(*command)
        assert done.code == code, done.text
        assert command[0] == "hours" or told in done.text and key in done.text, done.text


# 3: gaps

def gap(site: Site) -> str:
    site.agent.start()
    code = site.agent.running().wait(60)
    log = site.agent.said()
    assert code == 3, f"exit {code}\n{log}"
    return log


def test_run_without_init_is_3(site: Site) -> None:
    assert "sluice init" in gap(site)
    assert not site.connection.execute("select 1 from pg_replication_slots where database = %s", (site.database,)).fetchone(), \
        "run never makes a slot silently"


def test_dropped_slot_is_3(site: Site) -> None:
    site.init()
    site.sql(f"select pg_drop_replication_slot('{site.agent.slot}')")
    log = gap(site)
    assert site.agent.slot in log and "--accept-gap" in log


def test_slot_made_again_by_hand_is_3(site: Site) -> None:
    site.init()
    site.sql("insert into public.documents values (1, 'lost if nobody looks', null, null)",
             f"select pg_drop_replication_slot('{site.agent.slot}')",
             f"select pg_create_logical_replication_slot('{site.agent.slot}', 'pgoutput')")
    assert site.agent.slot in gap(site)


def test_slot_of_another_plugin_is_3(site: Site) -> None:
    site.init()
    site.sql(f"select pg_drop_replication_slot('{site.agent.slot}')",
             f"select pg_create_logical_replication_slot('{site.agent.slot}', 'test_decoding')")
    log = gap(site)
    assert "kind: slot-foreign" in log and "test_decoding" in log and "sluice drop && sluice init --accept-gap" in log, log
    assert "choose another postgres.slot" in log and site.agent.command("init").code == 3
    # The way out.
    site.agent.must("drop")
    assert "kind: slot-missing" in site.agent.must("init", "--accept-gap").out
    site.run("--only", "stream")
    site.sql("insert into public.documents values (1, 'sent', null, null)")
    wait_until("the row is sent", lambda: rows_total(site) == 1, 20)
    assert site.agent.stop() == 0


def test_slot_moved_past_the_stored_position_is_3_with_both_lsns(site: Site) -> None:
    site.init().run()
    site.sql("insert into public.documents values (1, 'a', null, null)")
    site.auditor.wait_kafka()
    assert site.agent.stop() == 0
    site.sql("insert into public.documents values (2, 'skipped by hand', null, null)")
    row = site.connection.execute("select end_lsn::text from pg_replication_slot_advance(%s, pg_current_wal_lsn())", (site.agent.slot,)).fetchone()
    assert row is not None
    log = gap(site)
    assert row[0] in log and "--accept-gap" in log, log[-1500:]


def test_progress_topic_gone_is_3(site: Site) -> None:
    site.init()
    site.stack.kafka.delete_topics([site.agent.progress_topic])
    gap(site)


@pytest.mark.parametrize(("partitions", "policy", "cure"), [(1, "delete", "cleanup.policy=compact"), (2, "compact", "needs one")])
def test_a_progress_topic_that_would_lose_the_position_is_78(site: Site, partitions: int, policy: str, cure: str) -> None:
    """Made by hand, or by a broker that makes what is asked for."""
    topic = site.agent.progress_topic
    site.stack.kafka.create_topic(topic, partitions, cleanup_policy=policy)
    done = site.agent.command("init")
    assert done.code == 78 and topic in done.err and cure in done.err, done.text
    checked = site.agent.command("check")
    assert checked.code == 1 and topic in checked.text and cure in checked.text, checked.text


def test_a_progress_topic_that_was_changed_is_78(site: Site) -> None:
    site.init()
    topic = site.agent.progress_topic
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[
        ConfigEntry("cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET)])
    admin = site.stack.kafka.admin()
    admin.incremental_alter_configs([resource])[resource].result(20)
    done = site.agent.command("run", "--only", "stream", timeout=60)
    assert done.code == 78 and topic in done.err and "kafka-configs.sh" in done.err, done.text


def test_a_position_that_cannot_be_read_is_3_with_ways_out_that_lead_out(site: Site) -> None:
    site.init()
    topic = site.agent.progress_topic
    foreign = Producer({"bootstrap.servers": site.stack.kafka.brokers})
    foreign.produce(topic, key=b"foreign", value=b"{}")
    assert foreign.flush(20) == 0
    log = gap(site)
    assert "kind: unreadable-position" in log and f"kafka-topics.sh --bootstrap-server BROKERS --delete --topic {topic}" in log
    assert "foreign" not in log, "no record's content"
    checked = site.agent.command("check")
    assert checked.code == 1 and "cannot be read" in checked.text, checked.text
    site.stack.kafka.delete_topics([topic])
    wait_until("the topic is gone", lambda: topic not in site.stack.kafka.topics(), 30)
    site.agent.must("init", "--accept-gap")
    site.run("--only", "stream")


def test_a_transaction_timeout_above_the_brokers_is_78(site: Site) -> None:
    site.init()
    long = site.twin("long", {"kafka": {"transaction": {"timeout": "20m"}}})
    checked = long.command("check")
    assert checked.code == 1 and "kafka.transaction.timeout" in checked.text, checked.text
    for command in (["run", "--only", "stream"], ["init", "--accept-gap"]):
        done = long.command(*command, timeout=60)
        assert done.code == 78 and "kafka.transaction.timeout" in done.err, done.text


@pytest.mark.parametrize(("client", "named"), [
    ({"reconnect.backoff.ms": 5000, "reconnect.backoff.max.ms": 100}, "reconnect.backoff"),
    ({"security.protocol": "ssl", "ssl.ca.location": "/nonexistent/ca.pem"}, "ssl.ca.location"),
], ids=["contradicting", "missing-file"])
def test_properties_that_no_client_can_be_made_of_are_78_at_once(site: Site, client: dict[str, Any], named: str) -> None:
    site.init()
    wrong = site.twin("wrong", {"kafka": {"client": client}})
    for command in (["run", "--only", "stream"], ["init"]):
        done = wrong.command(*command, timeout=30)
        assert done.code == 78 and named in done.err, done.text


def test_a_compacted_data_topic_is_refused(site: Site) -> None:
    topic = site.agent.topic(("public", "documents"))
    site.stack.kafka.create_topic(topic, 3, cleanup_policy="compact")
    done = site.agent.command("init")
    assert done.code == 78 and topic in done.err and "cleanup.policy=delete" in done.err, done.text
    checked = site.agent.command("check")
    assert checked.code == 1 and topic in checked.text and "compacted" in checked.text, checked.text
    # It may have become so long after the start of the stream.
    site.agent.start("--only", "sink")
    assert site.agent.running().wait(60) == 78 and f"{topic} has cleanup.policy=compact" in site.agent.said(), site.agent.said()


def test_a_table_that_a_glob_finds_later_is_taken_in(make: SiteMaker) -> None:
    site = make({"postgres": {"tables": ["public.documents", "public.late_*"]}}, tables=[("public", "documents")]).init()
    site.sql("create table public.late_one (id bigint primary key)", "alter table public.late_one owner to sluice",
             "insert into public.late_one select generate_series(1, 3)")
    add = f'ALTER PUBLICATION "{site.agent.publication}" ADD TABLE "public"."late_one"'
    planned = site.agent.must("init", "--dry-run")
    assert add in planned.out and not site.connection.execute("select 1 from pg_publication_tables where tablename = 'late_one'").fetchone(), planned.text
    # Nothing was ever streamed of it, so that there is no gap to be accepted.
    done = site.agent.must("init")
    assert add in done.out and "public.late_one: its 3 existing rows will not be sent" in done.out and "nothing was changed" not in done.out, done.text
    assert "public.documents" not in done.out, "nothing is new of it"
    site.run("--only", "stream")


def test_a_plan_says_which_gap_would_be_accepted(site: Site) -> None:
    site.init()
    site.sql(f"select pg_drop_replication_slot('{site.agent.slot}')")
    planned = site.agent.must("init", "--accept-gap", "--dry-run")
    assert "kind: slot-missing" in planned.out and f"-- slot {site.agent.slot}, which init makes itself" in planned.out, planned.text
    assert not site.connection.execute("select 1 from pg_replication_slots where slot_name = %s", (site.agent.slot,)).fetchone()


# Tables without a usable key

def test_a_table_without_a_key_is_refused_with_the_cure(make: SiteMaker) -> None:
    site = make({"postgres": {"tables": ["public.documents", "public.keyless"]}})
    site.sql("create table public.keyless (v text)", "alter table public.keyless owner to sluice")
    done = site.agent.command("init")
    assert done.code == 78 and "public.keyless" in done.text and "ALTER TABLE" in done.text.upper(), done.text
    site.sql("insert into public.keyless values ('a')", "update public.keyless set v = 'b'")  # the application is not broken


@pytest.mark.parametrize(("columns", "identity"), [
    pytest.param("id int primary key, g int generated always as (id + 1) stored", "full", id="full-stored"),
    pytest.param("id int primary key, g int generated always as (id + 1) virtual", "full", id="full-virtual"),
    pytest.param("id int, v int default 1, g int generated always as (v + 1) stored, primary key (id, g)", "default", id="key")])
def test_a_generated_column_that_would_break_the_application_is_refused(make: SiteMaker, columns: str, identity: str) -> None:
    """Trap 61, as the server has it: 18 refuses UPDATE of what publishes too little, before a key came without its generated column."""
    site = make({"postgres": {"tables": ["public.made"]}})
    refuses = site.connection.info.server_version >= 180_000
    if "virtual" in columns and not refuses:
        columns = columns.replace("virtual", "stored")  # 18 was the first to have them
    site.sql(f"create table public.made ({columns})", f"alter table public.made replica identity {identity}",
             "alter table public.made owner to sluice", "insert into public.made (id) values (1)")
    update = "update public.made set id = id + 1"
    done = site.agent.command("init")
    if refuses or identity == "default":
        assert done.code == 78 and "public.made" in done.text and "generated column" in done.text, done.text
        site.sql(update)
        site.sql("create publication by_hand for table public.made with (publish_via_partition_root)")
        if refuses:
            with pytest.raises(psycopg.errors.InvalidColumnReference):
                site.sql(update)
    else:
        assert done.code == 0 and "PostgreSQL 18 refuses" in done.text, done.text
        site.sql(update)


def test_the_cure_of_a_deferrable_key_is_one(make: SiteMaker) -> None:
    site = make({"postgres": {"tables": ["public.late"]}})
    site.sql('create table public.late (id int, "B c" int, primary key ("B c", id) deferrable)', "alter table public.late owner to sluice")
    done = site.agent.command("init")
    cure = next((line for line in done.text.splitlines() if "DROP CONSTRAINT" in line), "")
    assert done.code == 78 and cure, done.text
    site.sql(cure.strip().removeprefix("-> "))
    site.agent.must("init")


def test_a_partition_beside_its_root_is_refused(make: SiteMaker) -> None:
    site = make({"postgres": {"tables": ["public.root", "public.root_1"]}})
    site.sql("create table public.root (id int primary key) partition by range (id)",
             "create table public.root_1 partition of public.root for values from (0) to (10)",
             *(f"alter table public.{name} owner to sluice" for name in ("root", "root_1")))
    done = site.agent.command("init")
    assert done.code == 78 and "public.root_1: is a partition of public.root" in done.text, done.text


def test_who_owns_no_table_makes_no_publication(site: Site) -> None:
    """CREATE on the database is half of the right: nothing is made before that is settled."""
    site.sql("alter table public.documents owner to postgres")
    done = site.agent.command("init")
    assert done.code == 78 and "does not own" in done.text and "CREATE PUBLICATION" in done.text, done.text
    assert not [topic for topic in site.stack.kafka.topics() if topic.startswith(f"{site.agent.name}.") or topic == site.agent.progress_topic]


def test_rows_that_would_not_come_are_told_of(make: SiteMaker) -> None:
    """C8, where PostgreSQL says nothing: partitions without WAL, heirs, and a list of columns that lacks some of the key."""
    site = make(tables=[("public", "parts"), ("public", "parents"), ("public", "listed")])
    site.sql("create table public.parts (id int, d int, primary key (id, d)) partition by range (d)",
             "create table public.parts_1 partition of public.parts for values from (0) to (10)",
             "create unlogged table public.parts_2 partition of public.parts for values from (10) to (20)",
             "create table public.parents (id int primary key)", "create table public.heirs () inherits (public.parents)",
             "create table public.listed (a int, b int, c int, primary key (a, b))",
             *(f"alter table public.{name} owner to sluice" for name in ("parts", "parts_1", "parts_2", "parents", "heirs", "listed")))
    refused = site.agent.command("init")
    assert refused.code == 78 and "partition public.parts_2 is unlogged" in refused.text and "ALTER TABLE public.parts_2 SET LOGGED" in refused.text
    site.sql("alter table public.parts_2 set logged")
    made = site.agent.must("init")
    assert "others inherit from it" in made.text and "public.heirs" in made.text, made.text
    site.run("--only", "stream")
    assert site.agent.stop() == 0
    # Each on its own: what a running agent looks at every few seconds, and one that starts.
    site.sql("alter table public.parts_2 set unlogged")
    unlogged = site.agent.command("run")
    assert unlogged.code == 3 and "table-unpublished" in unlogged.text and "public.parts_2" in unlogged.text, unlogged.text
    site.sql("alter table public.parts_2 set logged",
             f"alter publication {site.agent.slot} set table public.parts, public.parents, public.listed (a, c)")
    listed = site.agent.command("check")
    assert listed.code == 1 and "lists columns of public.listed without b" in listed.text, listed.text


def test_another_number_of_partitions_is_refused_until_accepted(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.documents values (1, 'a', 'b', now())")
    site.auditor.wait_kafka(30)
    assert site.agent.stop() == 0
    topic = site.agent.topic(("public", "documents"))
    admin = site.stack.kafka.admin()  # held until the answer is here
    admin.create_partitions([NewPartitions(topic, 7)])[topic].result(20)
    site.sql("insert into public.documents values (2, 'a', 'b', now())")
    refused = site.agent.command("run", "--only", "stream", timeout=60)
    assert refused.code == 78 and topic in refused.err and "sluice init --accept-gap" in refused.err, refused.text
    checked = site.agent.command("check")
    assert checked.code == 1 and f"topic {topic}" in checked.text and "7 partitions, it had 3" in checked.text, checked.text
    # What is run unattended at every start accepts nothing.
    unattended = site.agent.command("init")
    assert unattended.code == 78 and "7 partitions" in unattended.text, unattended.text
    accepted = site.agent.must("init", "--accept-gap")
    assert "7 partitions" in accepted.out, accepted.text
    assert site.agent.command("check").code == 0
    site.run()
    site.auditor.wait_kafka(30)


def test_another_spelling_of_keys_and_values_is_refused_until_accepted(make: SiteMaker) -> None:
    """A row whose key is spelled otherwise than before would be two rows."""
    site = make({"postgres": {"replay_window": {"age": "1h"}}}).init().run("--only", "stream")
    site.sql("insert into public.documents values (1, 'a', 'b', now())")
    site.auditor.wait_kafka(30)
    assert site.agent.stop() == 0
    before = read_progress(site.stack.kafka.brokers, site.agent.name)[-1]
    settings = site.agent.settings
    site.agent.settings = merge(settings, {"events": {"numeric": "number", "timestamps": "epoch"}})
    site.agent.write()
    told = "events.numeric is number, the topics were written with string"
    for command in (["run", "--only", "stream"], ["init"]):
        done = site.agent.command(*command, timeout=60)
        assert done.code == 78 and told in done.err and "set events.numeric: string, events.timestamps: iso" in done.err, done.text
        assert "sluice init --accept-gap" in done.err, done.text
    checked = site.agent.command("check")
    assert checked.code == 1 and told in checked.text, checked.text
    assert read_progress(site.stack.kafka.brokers, site.agent.name)[-1].raw == before.raw
    site.agent.settings = settings
    site.agent.write()
    assert site.agent.command("check").code == 0
    site.agent.settings = merge(settings, {"events": {"numeric": "number", "timestamps": "epoch"}})
    site.agent.write()
    accepted = site.agent.must("init", "--accept-gap")
    assert told in accepted.out and "there is no gap" in accepted.out, accepted.text
    assert site.agent.command("check").code == 0
    site.run("--only", "stream")
    assert site.agent.stop() == 0


def test_another_number_of_partitions_is_refused_by_a_new_producer(make: SiteMaker) -> None:
    """Until then keys are spread as before; a producer that takes the place of one that was fenced would spread them anew."""
    site = make().init().run("--only", "stream")
    site.sql("insert into public.documents values (1, 'a', 'b', now())")
    site.auditor.wait_kafka(30)
    topic = site.agent.topic(("public", "documents"))
    before = partitions_of(site.stack.kafka.brokers, [topic])[topic]
    admin = site.stack.kafka.admin()
    admin.create_partitions([NewPartitions(topic, 7)])[topic].result(20)
    site.sql("insert into public.documents select n, 'a', 'b', now() from generate_series(2, 50) n")
    site.auditor.wait_kafka(30)
    fencing = Producer({"bootstrap.servers": site.stack.kafka.brokers, "transactional.id": f"sluice.{site.agent.name}"})
    fencing.init_transactions(30)
    site.sql("insert into public.documents select n, 'a', 'b', now() from generate_series(51, 100) n")
    code = site.agent.running().wait(60)
    log = site.agent.log.read_text()
    assert code == 78 and f"topic {topic} has 7 partitions, it had {before}" in log, f"exit {code}\n{log[-3000:]}"
    found = read_topics(site.stack.kafka.brokers, [topic])
    assert {partition for (_, partition), records in found.items() if records} <= set(range(before)), "keys were spread over the new partitions"


def test_partitions_of_the_topic_of_messages_are_accepted_too(make: SiteMaker) -> None:
    site = make({"kafka": {"partitions": 3}}).init().run("--only", "stream")
    message = "select pg_logical_emit_message(true, 'p', 'x')"
    site.sql(message, "insert into public.documents values (1, 'a', 'b', now())")
    site.auditor.wait_kafka(30)
    assert site.agent.stop() == 0
    admin = site.stack.kafka.admin()
    for topic in sorted(site.stack.kafka.topics() & {site.agent.topic(table) for table in TABLES}):
        admin.create_partitions([NewPartitions(topic, 6)])[topic].result(20)
    assert "6 partitions" in site.agent.must("init", "--accept-gap").out
    site.run("--only", "stream")
    site.sql(message, "insert into public.documents values (2, 'a', 'b', now())")
    site.auditor.wait_kafka(30)
    assert site.agent.stop() == 0


def traces_of_init(site: Site) -> tuple[int, bool, str, bool]:
    """What there is: topics, publication, the state of the position, slot."""
    names = {site.agent.progress_topic, *(site.agent.topic(table) for table in site.tables)}
    stored = read_progress(site.stack.kafka.brokers, site.agent.name)
    slot = site.connection.execute("select 1 from pg_replication_slots where slot_name = %s", (site.agent.slot,)).fetchone()
    publication = site.connection.execute("select 1 from pg_publication where pubname = %s", (site.agent.publication,)).fetchone()
    return len(names & site.stack.kafka.topics()), publication is not None, stored[-1].state if stored else "none", slot is not None


def killed_init(site: Site, seconds: float) -> None:
    with subprocess.Popen([str(binary()), "init", "-c", str(site.agent.config)], env={**os.environ, **site.agent.env},
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as victim:
        time.sleep(seconds)
        victim.kill()


def test_init_killed_at_any_moment_is_begun_again(make: SiteMaker) -> None:
    """Each kill leaves a state that the next init, or the one after, brings to its end; no slot is left behind."""
    site = make()
    _ = site.auditor
    moments = random.Random(seed := random.SystemRandom().randrange(1 << 30))
    seen = [traces_of_init(site)]
    with site.stack.postgres.connect(site.database, autocommit=False) as job:
        # The slot waits for it: no init gets further than that, and one that has more time each round gets so far on any machine.
        job.execute("insert into public.unpublished values (1, 'open')")
        seconds = 0.02
        while sum(state == "creating" for _, _, state, _ in seen) < 2 and seconds < 20:
            killed_init(site, seconds + moments.uniform(0, 0.02))
            seen.append(traces_of_init(site))
            seconds = seconds * 1.1 + 0.01
    # And whatever comes behind it.
    for _ in range(4):
        killed_init(site, moments.uniform(0, seconds))
        seen.append(traces_of_init(site))
    print(f"seed {seed}: topics, publication, position, slot: {seen}")
    assert any(state == "creating" for _, _, state, _ in seen), f"none was killed between its first record and its last: {seen}"
    assert len(set(seen)) >= 4, f"they were killed at the same moment: {seen}"
    site.agent.must("init")
    site.run()
    site.sql("insert into public.documents values (1, 'a', 'b', now())")
    verdict = site.auditor.verdict(timeout=30)
    assert verdict.clean and verdict.changes == 1, verdict.report()
    slots = site.connection.execute("select slot_name from pg_replication_slots where plugin = 'pgoutput' and database = current_database()").fetchall()
    assert slots == [(site.agent.slot,)]


@pytest.mark.parametrize("cut_off", [False, True], ids=["first", "begun-again"])
def test_init_waits_for_a_transaction_that_is_open_and_says_so(site: Site, cut_off: bool) -> None:
    """Also where the walsender of one that was cut off waits for it still, and holds the slot."""
    log = site.agent.folder / "init.log"
    waiting = Process("sluice init", [str(binary()), "init", "-c", str(site.agent.config)], log, env=site.agent.env)

    def told() -> bool:
        text = log.read_text()
        return "waiting for 1 running transactions to end" in text and f"pid {job.info.backend_pid}, for " in text
    def drops() -> bool:
        return site.connection.execute("select 1 from pg_stat_activity where query like 'DROP_REPLICATION_SLOT%%' and datname = %s and state = 'active'",
                                       (site.database,)).fetchone() is not None
    with site.stack.postgres.connect(site.database, autocommit=False) as job:
        job.execute("insert into public.unpublished values (1, 'open')")
        waiting.start()
        wait_until("it says whom it waits for", told, 20)
        if cut_off:
            waiting.kill()
            log.write_text("")
            waiting.start()
            wait_until("the next one waits for the slot", drops, 20)
        waiting.require_running()
        with suppress(NotReady):
            wait_until("it says whom it waits for", told, 20)
        said = told()
        job.commit()
    assert waiting.wait(30) == 0 and f"slot {site.agent.slot}: streams from " in log.read_text(), log.read_text()
    assert said, log.read_text()
    site.run("--only", "stream")
    assert site.agent.stop() == 0


# drop

def names(site: Site) -> tuple[set[str], set[str]]:
    """The slots and publications of the site's database, without the oracle's."""
    slots = site.connection.execute("select slot_name from pg_replication_slots where database = %s", (site.database,)).fetchall()
    publications = site.connection.execute("select pubname from pg_publication").fetchall()
    return {row[0] for row in slots if not row[0].startswith("oracle_")}, {row[0] for row in publications}


OTHER_NAMES = {"postgres": {"slot": "other_slot", "publication": "Their Publication"}}


@pytest.mark.parametrize("changes", [pytest.param(None, marks=pytest.mark.long), OTHER_NAMES], ids=["default", "other-names"])
def test_drop_removes_slot_and_publication_but_no_topic_and_no_object(make: SiteMaker, changes: dict[str, Any] | None) -> None:
    """And every command before it, and the way out behind it, works on those that the configuration names."""
    site = make(changes)
    slot, publication = ("other_slot", "Their Publication") if changes else (f"sluice_{site.name}",) * 2
    assert (site.agent.slot, site.agent.publication) == (slot, publication)
    planned = site.agent.must("init", "--dry-run")
    assert f'CREATE PUBLICATION "{publication}" FOR TABLE' in planned.out and f"-- slot {slot}, which" in planned.out, planned.text
    assert site.agent.command("check").code == 1
    site.init().run()
    site.agent.must("check")
    site.sql("insert into public.documents values (1, 'kept', null, null)")
    assert site.auditor.verdict().clean
    assert site.agent.status()["source"]["slot"] == slot
    ours = ({slot}, {publication})
    assert names(site) == ours
    before = read_progress(site.stack.kafka.brokers, site.agent.name)[-1]
    assert json.loads(before.raw)["slot"] == slot
    for command in (["drop"], ["init", "--accept-gap"]):
        held = site.agent.command(*command)
        assert held.code == 69 and f"slot {slot} is in use by walsender" in held.err and names(site) == ours, held.text
        assert "stop the agent" in held.err, held.text
    assert read_progress(site.stack.kafka.brokers, site.agent.name)[-1].lsn >= before.lsn and site.agent.http("/readyz")[0] == 200
    assert site.agent.stop() == 0
    site.agent.must("verify")
    dry = site.agent.must("drop", "--dry-run")
    assert f"pg_drop_replication_slot('{slot}')" in dry.out and f'DROP PUBLICATION "{publication}"' in dry.out and names(site) == ours, dry.text
    objects, topics = site.lake.listing(site.auditor.topics), site.stack.kafka.topics()
    site.agent.must("drop")
    assert names(site) == (set(), set())
    assert objects and site.lake.listing(site.auditor.topics) == objects and site.stack.kafka.topics() == topics
    again = site.agent.must("drop")
    assert again.out.count("is not there") == 2, again.text
    # What was streamed stays on record: only a gap that is accepted leads on.
    site.sql("insert into public.documents values (2, 'lost', null, null)")
    assert "--accept-gap" in gap(site)
    site.agent.must("init", "--accept-gap")
    site.run("--only", "stream")
    assert names(site) == ours
    begin = site.agent.metrics()
    site.sql("insert into public.documents values (3, 'sent', null, null)")
    wait_until("the row is sent", lambda: rows_total(site) > 0, 20)
    assert rows_total(site) == 1, begin
    assert site.agent.stop() == 0


def rows_total(site: Site) -> float:
    return sum(value for name, value in site.agent.metrics().items() if name.startswith("sluice_rows_total"))


def test_drop_is_the_way_out_where_the_progress_topic_is_gone(site: Site) -> None:
    site.init()
    site.stack.kafka.delete_topics([site.agent.progress_topic])
    assert "sluice drop, then sluice init" in gap(site)
    site.agent.must("drop")
    site.agent.must("init")
    site.run("--only", "stream")
    site.sql("insert into public.documents values (1, 'sent', null, null)")
    wait_until("the row is sent", lambda: rows_total(site) == 1, 20)
    assert site.agent.stop() == 0
