"""A network that fails when told to: a TCP address of ours in front of a server, and one that reads HTTP in front of the store."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

_PIECE = 1 << 16
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends RST


class Network:
    """The thread in which all fronts forward."""

    def __init__(self) -> None:
        # The oracle and the load are threads beside this one: a stall that nobody asked for must stay short.
        sys.setswitchinterval(0.0005)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True, name="network")
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def front(self, target: int, kind: type[Front] | None = None) -> Front:
        front = (kind or Front)(self, target)
        self.call(front.open())
        return front

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a router that lost it would: RST, and what was on its way is gone."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        except OSError:
            pass
    writer.transport.abort()


class Front:
    """One address. Methods that break it may be called from any thread."""

    def __init__(self, network: Network, target: int) -> None:
        self.network = network
        self.target = target
        self.port = 0
        self.hits = 0  # faults that have met a connection
        self._flow = asyncio.Event()
        self._flow.set()
        self._stranded: list[asyncio.Event] = []
        self._links: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._halve = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, limit=_PIECE)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def links(self) -> int:
        return len(self._links)

    # Faults

    def stall(self) -> None:
        """Nothing passes, in either direction; connections stay, and new ones are accepted."""
        self._soon(self._flow.clear)

    def flow(self) -> None:
        for flow in [self._flow, *self._stranded]:
            self._soon(flow.set)
        self._stranded = []

    def strand(self) -> None:
        """Nothing passes any more on the connections that there are; new ones are as ever."""
        def leave() -> None:
            self._flow.clear()
            self._stranded.append(self._flow)
            self._flow = asyncio.Event()
            self._flow.set()
        self._soon(leave)

    def reset(self) -> None:
        """Every connection is lost at once."""
        self.hits += len(self._links)

        def all_of_them() -> None:
            for link in list(self._links):
                for writer in link:
                    _reset(writer)
        self._soon(all_of_them)

    def halve(self, replies: int = 1) -> None:
        """Of the next replies only the first half arrives, then the connection is lost."""
        self._halve = replies

    def heal(self) -> None:
        self._halve = 0
        self.flow()

    def _soon(self, action: Callable[[], None]) -> None:
        self.network.loop.call_soon_threadsafe(action)

    def wait_hit(self, before: int, timeout: float) -> bool:
        """Whether a fault has met something since `hits` was `before`."""
        deadline = time.monotonic() + timeout
        while self.hits <= before and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.hits > before

    # Forwarding

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=_PIECE)
        except OSError:
            self.hits += 1  # the server is dead
            _reset(writer)
            return
        link = (writer, server_writer)
        self._links.add(link)
        try:
            await self._serve(reader, writer, server_reader, server_writer)
        except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._links.discard(link)
            for one in link:
                _reset(one)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server_reader: asyncio.StreamReader,
                     server_writer: asyncio.StreamWriter) -> None:
        flow = self._flow
        directions = [asyncio.ensure_future(self._pump(reader, server_writer, False, flow)),
                      asyncio.ensure_future(self._pump(server_reader, writer, True, flow))]
        try:
            # What the server says last may follow the client's end; a server's end ends all.
            done, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            if directions[0] in done and directions[1] not in done:
                await asyncio.wait(directions[1:], timeout=2)
            for one in done:
                one.result()
        finally:
            for one in directions:
                one.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _pass(self, flow: asyncio.Event) -> None:
        """Waits as long as nothing passes."""
        if not flow.is_set():
            self.hits += 1
            await flow.wait()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool, flow: asyncio.Event) -> None:
        while data := await reader.read(_PIECE):
            await self._pass(flow)
            if replies and self._halve > 0 and len(data) > 1:
                self._halve -= 1
                self.hits += 1
                writer.write(data[: len(data) // 2])
                await asyncio.sleep(0.02)
                raise EOFError
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


class RequestFront(Front):
    """Knows one request of Kafka's protocol from the next. A stall holds up those of one kind, and what follows on their connections."""

    _held = -1  # the key of the kind

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool, flow: asyncio.Event) -> None:
        if replies:
            await self._answer(reader, writer)
            return
        while True:
            message = await _message(reader)
            key = struct.unpack_from(">h", message, 4)[0]
            if key == self._held:
                await self._pass(flow)
            self._passes(key, message, writer)
            writer.write(message)
            await writer.drain()

    def _passes(self, key: int, message: bytes, writer: asyncio.StreamWriter) -> None:
        """A request goes on to the server."""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()


class BrokerFront(RequestFront):
    """The way of the brokers to one of them. A stall holds up the markers of transactions, and nothing else: a leader asks the
    coordinator on the same way whether a partition belongs to a transaction (KIP-890), and without an answer none is ever decided."""

    _held = 27  # WriteTxnMarkers


class ClientFront(RequestFront):
    """The way of clients to a broker. Requests of one kind may be held up, and a transaction may end without anybody hearing of it."""

    END_TXN, OFFSET_FETCH = 26, 9

    def __init__(self, network: Network, target: int) -> None:
        super().__init__(network, target)
        self._lose = 0
        self._lost: set[tuple[asyncio.StreamWriter, int]] = set()  # the client, and the number that its request has on the connection

    def stall(self, kind: int = END_TXN) -> None:
        """Requests of this kind do not pass."""
        self._held = kind
        super().stall()

    def lose_answer(self, ends: int = 1) -> None:
        """The next ends are made, and their answers are lost: each is a hit once the broker has given it."""
        self._lose = ends

    def heal(self) -> None:
        self._lose = 0
        super().heal()

    def _passes(self, key: int, message: bytes, writer: asyncio.StreamWriter) -> None:
        if key == self.END_TXN and self._lose > 0:
            self._lose -= 1
            client = next(client for client, server in self._links if server is writer)
            self._lost.add((client, struct.unpack_from(">i", message, 8)[0]))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await _message(reader)
            asked = (writer, struct.unpack_from(">i", message, 4)[0])
            if asked in self._lost:
                self._lost.discard(asked)
                self.hits += 1
                continue
            writer.write(message)
            await writer.drain()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One of Kafka's protocol, with its size. A request: key and version, two bytes each, then its number; an answer: the number."""
    size = await reader.readexactly(4)
    return size + await reader.readexactly(struct.unpack(">i", size)[0])


class StoreFront(Front):
    """Knows one request from the next: it can refuse a PUT, or lose it before or after the store has it."""

    def __init__(self, network: Network, target: int) -> None:
        super().__init__(network, target)
        self.requests = 0
        self._answers: tuple[int, int] = (0, 0)  # status, how many
        self._cut_before = 0
        self._cut_after = 0

    def answer(self, status: int, requests: int) -> None:
        """The next requests are answered with `status`, and the store hears nothing of them."""
        self._answers = (status, requests)

    def cut_before(self, puts: int = 1) -> None:
        """The next PUTs are lost on their way to the store."""
        self._cut_before = puts

    def cut_after(self, puts: int = 1) -> None:
        """The next PUTs reach the store, and its answer is lost."""
        self._cut_after = puts

    def heal(self) -> None:
        self._answers = (0, 0)
        self._cut_before = self._cut_after = 0
        super().heal()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server_reader: asyncio.StreamReader,
                     server_writer: asyncio.StreamWriter) -> None:
        while True:
            head = await _head(reader)
            method = head.split(b" ", 1)[0].upper()
            if b"100-continue" in head.lower():
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
            body = await _body(reader, head)
            self.requests += 1
            await self._pass(self._flow)
            status, requests = self._answers
            if requests > 0:
                self._answers = (status, requests - 1)
                self.hits += 1
                writer.write(_refusal(status, method == b"HEAD"))
                await writer.drain()
                continue
            is_object = method == b"PUT" and b"+" in head.split(b"\r\n", 1)[0].replace(b"%2B", b"+")
            if is_object and self._cut_before > 0:
                self._cut_before -= 1
                self.hits += 1
                return
            server_writer.write(head + body)
            await server_writer.drain()
            answer = await _head(server_reader)
            length = b"" if method == b"HEAD" or answer[9:12] in (b"204", b"304") else await _body(server_reader, answer, True)
            await self._pass(self._flow)
            if is_object and self._cut_after > 0:
                self._cut_after -= 1
                self.hits += 1
                return
            whole = answer + length
            if self._halve > 0:
                self._halve -= 1
                self.hits += 1
                writer.write(whole[: len(whole) // 2])
                await asyncio.sleep(0.02)
                return
            writer.write(whole)
            await writer.drain()


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


async def _body(reader: asyncio.StreamReader, head: bytes, until_end: bool = False) -> bytes:
    """As it is on the wire, chunks and all."""
    if (_header(head, b"transfer-encoding") or b"").lower() == b"chunked":
        parts = []
        while True:
            size = await reader.readuntil(b"\r\n")
            count = int(size.split(b";")[0], 16)
            parts += [size, await reader.readexactly(count + 2)]
            if count == 0:
                return b"".join(parts)
    length = _header(head, b"content-length")
    if length is not None:
        return await reader.readexactly(int(length))
    return await reader.read() if until_end and _header(head, b"connection") == b"close" else b""


def _refusal(status: int, is_head: bool) -> bytes:
    code, reason = {503: ("SlowDown", "Slow Down"), 500: ("InternalError", "Internal Server Error")}[status]
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>a fault of the campaign</Message></Error>'.encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return head if is_head else head + body
