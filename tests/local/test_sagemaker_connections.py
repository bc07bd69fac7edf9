"""The proxy's connections to a container, against servers that answer byte by byte as a test says."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from local.sagemaker.connections import Answer, Broken, ConnectionPool, Unreachable

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def ask(talk: Talk, times: int = 1, timeout: float = 5.0) -> tuple[list[Answer], int]:
    """The answers to some requests in a row, and how many connections they took."""
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            await talk(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def run() -> list[Answer]:
        server = await asyncio.start_server(count, "127.0.0.1", 0)
        pool = ConnectionPool(server.sockets[0].getsockname()[1])
        try:
            return [await pool.post("/invocations", {}, b"?", timeout) for _ in range(times)]
        finally:
            pool.close()
            server.close()

    return asyncio.run(run()), connections


async def read_request(reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(1)


def replying(*replies: bytes) -> Talk:
    """One reply after each request on a connection, then the end."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            await read_request(reader)
            writer.write(reply)

    return talk


def test_one_connection_serves_many_requests():
    answers, connections = ask(replying(OK, OK, OK), times=3)
    assert [answer.body for answer in answers] == [b"ok"] * 3
    assert connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_every_way_to_end_a_body(reply):
    answers, _ = ask(replying(reply))
    assert (answers[0].status, answers[0].body) == (200, b"ok")


def test_a_connection_that_was_closed_while_idle_is_replaced():
    answers, connections = ask(replying(OK), times=3)
    assert len(answers) == 3 and connections == 3


def test_half_an_answer_is_no_answer():
    with pytest.raises(Broken):
        ask(replying(OK[:-1]))


def test_no_server_is_told_apart_from_a_broken_answer():
    with pytest.raises(Unreachable):
        asyncio.run(ConnectionPool(1).post("/invocations", {}, b"", 5.0))


def test_a_silent_container_times_out():
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with pytest.raises(TimeoutError):
        ask(wait, timeout=0.05)
