"""One long connection to Redis on which the commands of all callers travel together.

redis-py makes the connection (TLS, passwords, users, sockets); above it are a queue and hiredis. What is asked in one
turn of the event loop leaves in one write, and answers are told apart by their order: 4 µs a command, where redis-py's
own client costs 31 to 37 (docs/decisions/0003).

A command is never sent again, on this connection or another: a lost answer is an error, and the caller decides.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from stopline_server.store.tasks import end

Argument = bytes | str | int

_READ_BYTES = 1 << 18
_MAX_UNSENT_BYTES = 64 << 20
"""What may wait in the socket's buffer before new commands are refused: Redis has stopped reading long before."""
_TIMEOUTS_TO_DROP = 3
"""So many timeouts in a row, and the connection is given up: until a new one answers, no call waits for it."""
_RECONNECT_FIRST_S = 0.05
_RECONNECT_MOST_S = 1.0


class LinkError(Exception):
    """No clear answer, or an error for an answer. The command may have run, or may still run."""


class Link:
    """A pipelined connection that comes back by itself."""

    def __init__(self, url: str, *, timeout_s: float, scripts: Sequence[str] = ()) -> None:
        """Make it; `start` connects.

        Args:
            url: `redis://`, `rediss://` or `unix://`.
            timeout_s: The bound on each answer and on each connect, in seconds.
            scripts: Lua to load on each new connection, so that EVALSHA finds it.
        """
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Its own retries would send a command twice, and hide a dead server for seconds.
            retry=Retry(NoBackoff(), 0),
        )
        self._timeout_s = timeout_s
        self._scripts = scripts
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None
        self._timeouts = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect, and to connect anew whenever the connection is lost."""
        self._task = asyncio.create_task(self._stay_connected(), name="redis-link")

    async def close(self) -> None:
        """Give the connection back. Commands in flight fail with LinkError."""
        await end(self._task)

    @property
    def up(self) -> bool:
        """Whether there is a connection now."""
        return self._writer is not None

    async def ask(self, *command: Argument, timeout_s: float | None = None) -> Any:
        """Send one command, and return its answer as hiredis gives it (bytes, int, list, None).

        Raises:
            LinkError: No connection, no answer in time, or an error for an answer.
        """
        future = self._send(command)
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                answer = await future
        except TimeoutError:
            self._timeouts += 1
            if self._timeouts >= _TIMEOUTS_TO_DROP:
                self._drop()
            raise LinkError("Redis did not answer in time") from None
        self._timeouts = 0
        return answer

    def _send(self, command: tuple[Argument, ...]) -> asyncio.Future[Any]:
        writer = self._writer
        if writer is None:
            raise LinkError("there is no connection to Redis")
        if writer.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            raise LinkError("Redis takes no more commands")
        loop = asyncio.get_running_loop()
        if not self._unsent:
            loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub says a tuple of one
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append(future)
        return future

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._writer is not None and unsent:
            self._writer.write(b"".join(unsent))

    def _drop(self) -> None:
        writer, self._writer = self._writer, None
        self._unsent = []
        self._timeouts = 0
        if writer is not None:
            writer.transport.abort()
        pending, self._pending = self._pending, deque()
        for future in pending:
            if not future.done():
                future.set_exception(LinkError("the connection to Redis was lost"))
                future.exception()  # its caller may have left: nobody else would look at it

    async def _stay_connected(self) -> None:
        pause = _RECONNECT_FIRST_S
        try:
            while True:
                with contextlib.suppress(OSError, RedisError, TimeoutError, LinkError):
                    await self._connect_and_read()
                    pause = _RECONNECT_FIRST_S
                self._drop()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RECONNECT_MOST_S)
        finally:
            self._drop()

    async def _connect_and_read(self) -> None:
        """Connect, load the scripts, then hand out answers until the connection ends."""
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's has no types
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                await connection.connect()
                # A server that takes connections and answers nothing (stopped, loading, wrong user) is not up.
                for script in self._scripts:
                    await connection.send_command("SCRIPT", "LOAD", script)
                    await connection.read_response()
            # From here on the streams are ours alone; redis-py has no call for that.
            reader, self._writer = connection._reader, connection._writer
            await self._hand_out(reader)
        finally:
            self._drop()
            await connection.disconnect(nowait=True)

    async def _hand_out(self, reader: asyncio.StreamReader) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(_READ_BYTES):
            parser.feed(data)
            while (answer := parser.gets()) is not False:
                if not self._pending:  # dropped meanwhile: these answers are nobody's
                    return
                future = self._pending.popleft()
                if future.done():  # its caller left or gave up
                    continue
                if isinstance(answer, hiredis.ReplyError):
                    future.set_exception(LinkError(_kind(answer)))
                    if _kind(answer) == "NOSCRIPT":
                        return  # the server forgot them: a new connection loads them again
                else:
                    future.set_result(answer)


def _kind(error: hiredis.ReplyError) -> str:
    """The first word of Redis's error (LOADING, READONLY, OOM, …): the rest may name keys."""
    return str(error).split(" ", 1)[0]
