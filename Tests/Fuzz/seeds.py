"""Makes the inputs that the fuzz targets begin with, from what real servers said: see README.md.

    python Tests/Fuzz/seeds.py DIR     into DIR/decoder, DIR/configuration and DIR/storage; then `ops/fuzz decoder --merge DIR/decoder`

Run by hand, with ops/environment sourced, when a recording, a key or a server is new; its inputs are then merged into the corpora.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import sys
import threading
from pathlib import Path

from harness.processes import Lab, free_port, kill_all
from harness.stores import Access, Moto, Rclone, S3Proxy, Store, s3proxy_home

REPOSITORY = Path(__file__).resolve().parents[2]
END = b"\xff\xfe\xfe"  # of a message, as DecoderTarget.swift reads it
LONGEST = 900  # bytes of a message: what is longer differs from it in length alone
BUCKET = "sluice-fuzz"


def write(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)


def decoder(folder: Path) -> None:
    """For each announcement of a table: Begin, the announcement, a row or two of each kind, Commit. The rest by itself."""
    for recording in sorted((REPOSITORY / "Tests/ChangeDataTests/Fixtures").glob("pgoutput-*.ndjson")):
        messages = [bytes.fromhex(json.loads(line)["data"]) for line in recording.read_text().splitlines()]
        begin = next(message for message in messages if message[:1] == b"B")
        commit = next(message for message in messages if message[:1] == b"C")
        rows: dict[bytes, list[bytes]] = {}
        for message in messages:
            if len(message) > LONGEST:
                continue
            if message[:1] == b"R":
                rows.setdefault(message, [])
            elif message[:1] in b"IUD" and (relation := latest(rows, message[1:5])) is not None:
                kept = rows[relation]
                if sum(other[:1] == message[:1] for other in kept) < 2:
                    kept.append(message)
            elif message[:1] in b"OYM":
                write(folder, b"\x00" + END.join([begin, message, commit]))
                write(folder, b"\x01" + message)
            elif message[:1] == b"T":
                relations = [latest(rows, message[6 + 4 * index : 10 + 4 * index]) for index in range(int.from_bytes(message[1:5], "big"))]
                write(folder, b"\x00" + END.join([begin, *(found for found in relations if found), message, commit]))
        for index, (relation, changes) in enumerate(rows.items()):
            for choices in (0x10, 0x0F, 0x9A, 0x21 + (index % 2) * 0x40):
                write(folder, bytes([choices]) + END.join([begin, relation, *changes, commit]))


    for recording in sorted((REPOSITORY / "Tests/ChangeDataTests/Fixtures").glob("pgoutput-*.ndjson.gz")):
        streamed(folder, [bytes.fromhex(json.loads(line)["data"]) for line in gzip.open(recording, "rt")])


def streamed(folder: Path, messages: list[bytes]) -> None:
    """Protocol 2: of each transaction that was sent while it went on, its blocks with a row or two of each kind and table."""
    transactions: dict[bytes, list[bytes]] = {}
    block: list[bytes] | None = None
    for message in messages:
        if message[:1] == b"S":
            block = transactions.setdefault(message[1:5], [])
        target = block if block is not None else transactions.get(message[1:5]) if message[:1] in b"Ac" else None
        if target is not None and len(message) <= LONGEST:
            # A row's kind and relation; the blocks' ends all alike.
            shape = message[:1] + message[5:9] if message[:1] in b"IUD" else message[:1]
            if sum(other.startswith(shape[:1]) and (len(shape) == 1 or other[5:9] == shape[1:]) for other in target) < (2 if len(shape) > 1 else 12):
                target.append(message)
        if message[:1] == b"E":
            block = None
    for kept in transactions.values():
        write(folder, b"\x10" + END.join(kept))
        write(folder, b"\x0f" + END.join(kept))


def latest(rows: dict[bytes, list[bytes]], oid: bytes) -> bytes | None:
    return next((relation for relation in reversed(rows) if relation[1:5] == oid), None)


def configuration(folder: Path) -> None:
    """Every configuration of the repository: files, fenced examples, ConfigMaps and the texts of the tests."""
    for file in ("replication/sluice.yaml", "docker/sluice/sluice.yaml", "ops/kubernetes/sidecar.yaml"):
        write(folder, (REPOSITORY / file).read_bytes())
    indented = re.search(r"sluice\.yaml: \|\n((?: {4,}.*\n|\n)+)", (REPOSITORY / "ops/kubernetes/sidecar.yaml").read_text())
    if indented:
        write(folder, re.sub(r"(?m)^ {4}", "", indented[1]).encode())
    for page in [REPOSITORY / "README.md", *REPOSITORY.glob("ops/**/*.md"), *REPOSITORY.glob("replication/*.md")]:
        for example in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            write(folder, example.encode())
    for tests in (REPOSITORY / "Tests/ConfigurationTests").glob("*.swift"):
        for text in re.findall(r'"""\n(.*?)"""', tests.read_text(), re.DOTALL):
            write(folder, re.sub(r"(?m)^ {4,12}", "", text).encode())


class Listener:
    """Stands before a server and keeps its answers as they came, one connection a question."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder = folder
        self.behind = port
        self.port = free_port()
        self.socket = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while True:
            client, _ = self.socket.accept()
            threading.Thread(target=self.pass_on, args=(client,), daemon=True).start()

    def pass_on(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self.behind))
        server.settimeout(1)
        client.settimeout(0.5)
        answer = b""
        threading.Thread(target=self.questions, args=(client, server), daemon=True).start()
        try:
            while part := server.recv(65536):
                answer += part
                client.sendall(part)
        except OSError:
            pass
        for single in re.split(rb"(?=HTTP/1\.1 [1-5]\d\d )", answer):
            if single and len(single) < 4000:
                write(self.folder, unchunked(single))
        client.close()
        server.close()

    @staticmethod
    def questions(client: socket.socket, server: socket.socket) -> None:
        try:
            while part := client.recv(65536):
                # Signed for the listener's own name: the server sees the same.
                server.sendall(part)
        except OSError:
            pass


def unchunked(answer: bytes) -> bytes:
    """libcurl gives the content without its chunks."""
    head, gap, body = answer.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        content, rest = b"", body
        while size := int(rest.partition(b"\r\n")[0] or b"0", 16):
            rest = rest.partition(b"\r\n")[2]
            content, rest = content + rest[:size], rest[size + 2 :]
        body = content
    return head + gap + body


def storage(folder: Path) -> None:
    """What the three servers answer to all that sluice asks, refusals too."""
    lab = Lab("sluice-seeds-")
    try:
        stores: list[Store] = [Moto(lab.folder("moto")), Rclone(lab.folder("rclone"))]
        if s3proxy_home():
            stores.append(S3Proxy(lab.folder("s3proxy")))
        for store in stores:
            store.start()
            listener = Listener(store.port, folder)
            access = store.access
            ask(Access(f"http://127.0.0.1:{listener.port}", access.access_key, access.secret))
            ask(Access(f"http://127.0.0.1:{listener.port}", access.access_key, "not the secret"))
    finally:
        kill_all()
        lab.close()


def ask(access: Access) -> None:
    client = access.client()

    def quietly(operation: str, **arguments: object) -> None:
        try:
            getattr(client, operation)(**arguments)
        except Exception:  # refusals are what is wanted
            pass

    quietly("create_bucket", Bucket=BUCKET)
    for key in ("p/a/one.json", "p/a/t+0+2.json", "p/z=é/two words.json", "p/b"):
        quietly("put_object", Bucket=BUCKET, Key=key, Body=b"{}\n", ContentType="application/x-ndjson", Metadata={"sluice-first": "1", "sluice-last": "2"})
    quietly("put_object", Bucket=BUCKET, Key="p/b", Body=b"{}\n", IfNoneMatch="*")
    for arguments in ({}, {"MaxKeys": 2}, {"Delimiter": "/"}, {"EncodingType": "url"}, {"MaxKeys": 1, "EncodingType": "url"}, {"StartAfter": "p/b"}):
        quietly("list_objects_v2", Bucket=BUCKET, Prefix="p/", **arguments)
    for operation in ("head_object", "get_object", "delete_object"):
        for bucket, key in ((BUCKET, "p/b"), (BUCKET, "p/none"), ("no-such-bucket", "p/b")):
            quietly(operation, Bucket=bucket, Key=key)
    quietly("list_objects_v2", Bucket="no-such-bucket", Prefix="p/")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    decoder(root / "decoder")
    configuration(root / "configuration")
    storage(root / "storage")
