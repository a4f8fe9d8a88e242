"""An OpenAI-compatible server that misbehaves on purpose, one way per name in `FAULTS`. Loopback, own thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

KEY = "sk-very-secret-0123456789"


def chunk(text: str | None = None, finish: str | None = None, logprobs: bool = True, **more: Any) -> bytes:
    """One SSE event of a chat completion."""
    choice: dict[str, Any] = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    if text and logprobs:
        top = [{"token": text, "logprob": -0.25}, {"token": "?", "logprob": -1.5}]
        choice["logprobs"] = {"content": [{"token": text, "logprob": -0.25, "top_logprobs": top}]}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    return f"data: {json.dumps(body)}\n\n".encode()


USAGE = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":' + (
    b'{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":5}}}\n\n'
)
DONE = b"data: [DONE]\n\n"
GOOD = (chunk("Hel"), chunk("lo"), chunk(finish="stop"), USAGE, DONE)


@dataclass
class Server:
    """What the server saw; `fault` says how it answers a chat request, and may be changed between requests."""

    fault: str = "good"
    url: str = ""
    listed: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "m", "object": "model"}])
    loras: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    sent: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client closed its connection before the answer was whole."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.keys.append(headers.get("authorization", ""))
            path = head[0].split(" ")[1]
            if path.endswith("/models"):
                write_json(writer, {"object": "list", "data": self.listed})
            elif path == "/lora-adapters":
                write_json(writer, self.loras)
            else:
                self.bodies.append(json.loads(body))
                await self._misbehave(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        except asyncio.CancelledError:
            pass  # the server is being stopped while it hangs
        finally:
            writer.close()

    async def _misbehave(self, writer: asyncio.StreamWriter) -> None:
        if self.fault == "good":
            return await self._stream(writer, GOOD)
        if self.fault in STATUSES:
            status, message, headers = STATUSES[self.fault]
            return write_json(writer, {"error": {"message": message, "code": status}}, status, headers)
        await STREAMS[self.fault](self, writer)

    async def _stream(self, writer: asyncio.StreamWriter, events: Any, kind: str = "text/event-stream") -> None:
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode())
        async for event in each(events):
            writer.write(event)
            await writer.drain()
            self.sent += 1

    async def _hang(self, seconds: float = 30.0) -> None:
        for _ in range(int(seconds / 0.05)):
            await asyncio.sleep(0.05)


async def each(events: Any) -> AsyncIterator[bytes]:
    """Events of a plain or an asynchronous iterable."""
    if hasattr(events, "__aiter__"):
        async for event in events:
            yield event
    else:
        for event in events:
            yield event


def write_json(writer: asyncio.StreamWriter, body: Any, status: int = 200, headers: str = "") -> None:
    """A whole JSON response."""
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}"
    writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)


def refuses_logprobs(server: Server) -> tuple[int, str, str] | None:
    """Answers 400 to whoever asks for log-probabilities."""
    return (400, "logprobs are not supported", "") if server.bodies[-1].get("logprobs") else None


def busy_once(server: Server) -> tuple[int, str, str] | None:
    """Answers 429 to the first request."""
    return (429, "slow down", "retry-after: 0.1\r\n") if len(server.bodies) == 1 else None


STATUSES: dict[str, tuple[int, str, str]] = {
    "401": (401, f"Incorrect API key provided: {KEY}", ""),
    "404": (404, "model m does not exist", ""),
    "429": (429, "quota", "retry-after: 3600\r\n"),
    "500": (500, "internal", ""),
    "too long": (400, "This model's maximum context length is 10 tokens", ""),
    "bad request": (400, "no such thing", ""),
}


async def half_good(server: Server, writer: asyncio.StreamWriter) -> None:
    """A condition decides between a refusal and a good answer."""
    refusal = (refuses_logprobs if server.fault == "no logprobs allowed" else busy_once)(server)
    if refusal:
        return write_json(writer, {"error": {"message": refusal[1]}}, refusal[0], refusal[2])
    plain = (chunk("Hel", logprobs=False), chunk("lo", logprobs=False), chunk(finish="stop"), USAGE, DONE)
    await server._stream(writer, plain)


async def endless() -> AsyncIterator[bytes]:
    """Tokens for ever."""
    while True:
        yield chunk("on and ")
        await asyncio.sleep(0.005)


async def empty_endless() -> AsyncIterator[bytes]:
    """Chunks without text, for ever: a keep-alive that means nothing."""
    while True:
        yield chunk("")
        await asyncio.sleep(0.02)


async def flood() -> AsyncIterator[bytes]:
    """One line that never ends."""
    while True:
        yield b"data: " + b"x" * 1_000_000


def streams(*events: bytes, kind: str = "text/event-stream", hang: bool = False, cut: bool = False) -> Any:
    """A fault that sends `events`, then hangs, is cut off, or just ends."""

    async def fault(server: Server, writer: asyncio.StreamWriter) -> None:
        await server._stream(writer, events, kind)
        if hang:
            await server._hang()
        if cut:
            writer.transport.abort()

    return fault


def endlessly(source: Callable[[], AsyncIterator[bytes]]) -> Any:
    """A fault that streams from `source` until the client leaves."""
    return lambda server, writer: server._stream(writer, source())


async def silent(server: Server, writer: asyncio.StreamWriter) -> None:
    """Hangs before the headers."""
    await server._hang()


async def short_body(server: Server, writer: asyncio.StreamWriter) -> None:
    """Promises more bytes than it sends."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n" + chunk("Hel"))


STREAMS: dict[str, Callable[[Server, asyncio.StreamWriter], Any]] = {
    "no logprobs allowed": half_good,
    "busy once": half_good,
    "hang before headers": silent,
    "hang before the first chunk": streams(hang=True),
    "hang mid-stream": streams(chunk("Hel"), hang=True),
    "hang after finish": streams(chunk("Hel"), chunk(finish="stop"), hang=True),
    "malformed JSON": streams(chunk("Hel"), b'data: {"choices": [{"delta"\n\n', DONE),
    "not chat JSON": streams(b'data: {"choices": [{"delta": 7}]}\n\n', DONE),
    "not an object": streams(b"data: [1, 2]\n\n", DONE),
    "error in stream": streams(chunk("Hel"), f'data: {{"error": {{"message": "broke {KEY}"}}}}\n\n'.encode()),
    "cut mid-stream": streams(chunk("Hel"), cut=True),
    "short body": short_body,
    "endless": endlessly(endless),
    "endlessly empty": endlessly(empty_endless),
    "flood": endlessly(flood),
    "no usage": streams(chunk("Hel"), chunk("lo"), chunk(finish="stop"), DONE),
    "no logprobs": streams(
        chunk("Hel", logprobs=False), chunk("lo", logprobs=False), chunk(finish="stop"), USAGE, DONE
    ),
    "no finish": streams(chunk("Hel"), chunk("lo"), DONE),
    "web page": streams(b"<html>It works!</html>", kind="text/html"),
    "empty": streams(),
    "done alone": streams(DONE),
}


@contextmanager
def serving(fault: str = "good") -> Iterator[Server]:
    """A running server; every connection and the thread are gone afterwards."""
    server = Server(fault)
    ready = threading.Event()
    stops: list[Callable[[], Any]] = []

    async def run() -> None:
        listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        ready.set()
        await stop.wait()
        listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="fault-server")
    thread.start()
    assert ready.wait(5)
    try:
        yield server
    finally:
        stops[0]()
        thread.join(5)
