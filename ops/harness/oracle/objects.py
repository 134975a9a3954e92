"""The objects of a bucket, or of a `file://` store, as they are: name, metadata, decoded lines; and the manifests beside them."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lz4.frame

# What S3Proxy writes into before it renames it; a kill leaves it there, and it is listed.
_UNFINISHED = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_NAME = re.compile(r"^(?P<topic>[^/]+)/year=(?P<y>\d{4})/month=(?P<m>\d\d)/day=(?P<d>\d\d)/hour=(?P<h>\d\d)/"
                   r"(?P=topic)\+(?P<partition>\d+)\+(?P<start>\d{10,})\.json(?P<suffix>|\.gz|\.lz4)$")
_MANIFEST = re.compile(r"^(?P<topic>[^/]+)/year=(?P<y>\d{4})/month=(?P<m>\d\d)/day=(?P<d>\d\d)/hour=(?P<h>\d\d)/"
                       r"_manifest-(?P<revision>\d{4,})\.json$")


class Listed(NamedTuple):
    """What a listing tells of an object. One that is written again with the same bytes has its ETag and size, and another time."""

    etag: str
    size: int
    modified: str  # a store's may be in whole seconds


@dataclass(frozen=True, slots=True)
class StoredObject:
    name: str  # below the prefix
    topic: str
    partition: int
    start: int  # of the name
    hour: str  # YYYY-MM-DDTHH
    meta: dict[str, str]  # start, end, records, tombstones, first-pos, last-pos, sha256
    sha256: str  # of the uncompressed bytes, computed here
    lines: list[bytes]
    whole: bool  # decodes to the end, and the last line is ended
    etag: str = ""
    size: int = 0  # as stored
    modified: str = ""

    @property
    def listed(self) -> Listed:
        return Listed(self.etag, self.size, self.modified)


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """What seals an hour of a topic, or seals it again."""

    name: str  # below the prefix
    topic: str
    hour: str  # YYYY-MM-DDTHH
    revision: int  # of the name
    body: bytes
    etag: str = ""
    modified: str = ""

    @property
    def listed(self) -> Listed:
        return Listed(self.etag, len(self.body), self.modified)


class Unnamed(ValueError):
    """An object whose name is not of the layout."""


def plain_metadata(meta: Mapping[str, object]) -> dict[str, str]:
    """Keys without the prefix `sluice-`; servers differ in their letters' case."""
    return {key.lower().removeprefix("sluice-"): str(value) for key, value in meta.items()}


def decode(name: str, stored: bytes, meta: Mapping[str, object], etag: str = "", modified: str = "") -> StoredObject:
    found = _NAME.match(name)
    if found is None:
        raise Unnamed(name)
    whole = True
    try:
        match found["suffix"]:
            case ".gz":
                body = gzip.decompress(stored)
            case ".lz4":
                body = lz4.frame.decompress(stored)
            case _:
                body = stored
    except (OSError, EOFError, RuntimeError):
        body, whole = b"", False
    lines = body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    else:
        whole = False
    return StoredObject(
        name, found["topic"], int(found["partition"]), int(found["start"]),
        f"{found['y']}-{found['m']}-{found['d']}T{found['h']}", plain_metadata(meta), hashlib.sha256(body).hexdigest(), lines, whole, etag,
        len(stored), modified)


def manifest(name: str, body: bytes, etag: str = "", modified: str = "") -> StoredManifest:
    found = _MANIFEST.match(name)
    if found is None:
        raise Unnamed(name)
    return StoredManifest(name, found["topic"], f"{found['y']}-{found['m']}-{found['d']}T{found['h']}", int(found["revision"]), body, etag,
                          modified)


def in_topics(key: str, topics: frozenset[str]) -> bool:
    return key.partition("/")[0] in topics and not key.rsplit("/", 1)[-1].startswith(("_", "."))


def topic_and_hour(name: str) -> tuple[str, str]:
    """Of an object's name."""
    found = _NAME.match(name)
    if found is None:
        raise Unnamed(name)
    return found["topic"], f"{found['y']}-{found['m']}-{found['d']}T{found['h']}"


def is_manifest(key: str, topics: frozenset[str]) -> bool:
    return key.partition("/")[0] in topics and key.rsplit("/", 1)[-1].startswith("_manifest")


def list_objects(client: Any, bucket: str, prefix: str) -> dict[str, Listed]:
    """What is below the prefix, by name."""
    found: dict[str, Listed] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/" if prefix else ""):
        for item in page.get("Contents", []):
            if _UNFINISHED.search(item["Key"]):
                continue
            # S3Proxy lists an object that is being written without an ETag.
            found[item["Key"].removeprefix(f"{prefix}/")] = Listed(item.get("ETag", ""), item["Size"], item["LastModified"].isoformat())
    return found


def list_names(client: Any, bucket: str, prefix: str) -> dict[str, str]:
    """Names below the prefix, with their ETags."""
    return {name: listed.etag for name, listed in list_objects(client, bucket, prefix).items()}


def look_at(path: Path) -> Listed:
    """Of a file, what a bucket's listing tells of an object."""
    facts = path.stat()
    return Listed(f"inode {facts.st_ino}", facts.st_size, f"{facts.st_mtime_ns}")


def read_bucket(client: Any, bucket: str, prefix: str, topics: Iterable[str]) -> list[StoredObject]:
    wanted = frozenset(topics)
    found = []
    for name, listed in list_objects(client, bucket, prefix).items():
        if in_topics(name, wanted):
            answer = client.get_object(Bucket=bucket, Key=f"{prefix}/{name}" if prefix else name)
            found.append(decode(name, answer["Body"].read(), answer["Metadata"], listed.etag, listed.modified))
    return found


def read_manifests(client: Any, bucket: str, prefix: str, topics: Iterable[str]) -> list[StoredManifest]:
    wanted = frozenset(topics)
    return [manifest(name, client.get_object(Bucket=bucket, Key=f"{prefix}/{name}" if prefix else name)["Body"].read(),
                     listed.etag, listed.modified)
            for name, listed in list_objects(client, bucket, prefix).items() if is_manifest(name, wanted)]


def read_folder(root: Path, topics: Iterable[str]) -> list[StoredObject]:
    """A `file://` store: the metadata lies in `.<object>.meta` beside the object."""
    wanted = frozenset(topics)
    found = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file() and in_topics(name, wanted):
            beside = path.with_name(f".{path.name}.meta")
            meta = json.loads(beside.read_text()) if beside.exists() else {}
            listed = look_at(path)
            found.append(decode(name, path.read_bytes(), meta, listed.etag, listed.modified))
    return found
