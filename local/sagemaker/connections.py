"""Keep-alive HTTP/1.1 connections from the event loop to one container.

Small on purpose: a container speaks plain HTTP on this machine, one exchange at a time per connection. A pool
per container saves the connect (and the TIME_WAIT socket) of every invocation.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

LARGEST_HEAD = 65_536
MOST_IDLE = 32


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


class ContainerError(Exception):
    """The container gave no whole answer."""


class Unreachable(ContainerError):
    """Nothing listens: the request was never sent, so another instance may have it."""


class Broken(ContainerError):
    """The connection ended before the answer did: the container may have seen the request."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.reusable = False

    def is_open(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()

    async def exchange(self, request: bytes) -> Answer:
        self.reusable = False
        self.writer.write(request)
        await self.writer.drain()
        head = await self.reader.readuntil(b"\r\n\r\n")
        version, status, headers = _parse_head(head)
        body, delimited = await self._body(status, headers)
        closing = headers.get("connection", "").lower() == "close"
        self.reusable = delimited and version == "HTTP/1.1" and not closing
        return Answer(status, headers, body)

    async def _body(self, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """The body, and whether its end was marked (else the closed connection marked it)."""
        if status in (204, 304):
            return b"", True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._chunks(), True
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"])), True
        return await self.reader.read(), False

    async def _chunks(self) -> bytes:
        parts = []
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        while (await self.reader.readline()).strip():
            pass  # trailers
        return b"".join(parts)


def _parse_head(head: bytes) -> tuple[str, int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status = first.split(" ", 2)[:2]
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return version, int(status), {name.strip().lower(): value.strip() for name, value in pairs}


class ConnectionPool:
    """The open connections to one port of this machine. Belongs to the loop that uses it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[_Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, path: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """One POST; raises `Unreachable`, `Broken` or `TimeoutError`."""
        sent = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body)), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        request = f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body
        async with asyncio.timeout(timeout):
            if connection := self._reuse():
                try:
                    return await self._exchange(connection, request)
                except Broken:
                    pass  # closed by the container while idle: the one retry that HTTP allows
            return await self._exchange(await self._connect(), request)

    async def _exchange(self, connection: _Connection, request: bytes) -> Answer:
        try:
            answer = await connection.exchange(request)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise Broken(str(error) or type(error).__name__) from error
        finally:
            if connection.reusable and len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.writer.close()
        return answer

    async def _connect(self) -> _Connection:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=LARGEST_HEAD)
        except OSError as error:
            raise Unreachable(str(error)) from error
        return _Connection(reader, writer)

    def _reuse(self) -> _Connection | None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._idle = loop, []
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
            connection.writer.close()
        return None

    def close(self) -> None:
        """From any thread: the connections are their loop's to close."""
        idle, self._idle = self._idle, []
        if self._loop and not self._loop.is_closed():
            for connection in idle:
                self._loop.call_soon_threadsafe(connection.writer.close)
