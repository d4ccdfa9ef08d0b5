"""Client: the one door to HTTP servers that run batches for us.

Job    send one request on a connection that is kept, and read one answer of bounded size.
Life   `async with`, on the loop that it is used on; leaving closes every connection.
Never  follows a redirect, unpacks what is compressed, keeps a cookie, reads the proxy
       variables of its environment, or sends anything twice.

aiohttp and not httpx: a request with one row costs 60 us of CPU where it costs httpx 2,290, 32 in
flight, and 101 and 606 alone; with a tensor of 1 MB 542 and 5,709, alone 645 and 1,758
(bench/results/clients.md). It is imported with the first version that needs it: it takes 10 MB and
a fifth of a second that others need not spend.

A connection that rests longer than `_IDLE_S` is closed: many servers close theirs after 5 s, and
a request that crosses that end is lost.
"""

import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Self

import aiohttp

from gateway.execute.upstream import Reply, Terms, Unanswered
from gateway.execute.v2 import Blob

_IDLE_S = 4.0
_JOINED_BYTES = 1 << 16  # a body up to this size leaves in one write
_MOST_HEAD_BYTES = 1 << 14


class Client:
    """Asks any endpoint, within `terms`. Raises: OSError where the authorities cannot be read."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._tls = ssl.create_default_context(cafile=terms.ca_file)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=self._terms.connections,
            keepalive_timeout=_IDLE_S,
            ssl=self._tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(sock_connect=self._terms.connect_timeout_s),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            max_line_size=_MOST_HEAD_BYTES,
            max_field_size=_MOST_HEAD_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], blobs: Sequence[Blob] = ()
    ) -> Reply:
        """Return the whole answer.

        Cancel: safe; the connection is closed. Raises: Unanswered.
        """
        size_bytes = sum(len(blob) for blob in blobs)
        body: bytes | AsyncIterator[Blob] | None = b"".join(blobs) if blobs else None
        if size_bytes > _JOINED_BYTES:
            body = _each(blobs)
            headers = {**headers, "content-length": str(size_bytes)}
        try:
            answer = await self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            what = f"no connection to the remote server{_why(error)}"
            raise Unanswered(what, is_unheard=True) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
            what = "the remote server closed the connection without an answer"
            raise Unanswered(what, is_unheard=True) from error
        except (aiohttp.ClientError, ValueError) as error:
            what = "the remote server's answer is no HTTP"
            raise Unanswered(what, is_unheard=False) from error
        try:
            return await self._whole(answer)
        except BaseException:
            answer.close()
            raise

    async def _whole(self, answer: aiohttp.ClientResponse) -> Reply:
        most = self._terms.max_answer_bytes
        too_large = Unanswered(
            f"the remote server's answer is larger than {most} bytes", is_unheard=False
        )
        if (answer.content_length or 0) > most:
            raise too_large
        pieces: list[bytes] = []
        left = most
        try:
            while piece := await answer.content.readany():
                left -= len(piece)
                if left < 0:
                    raise too_large
                pieces.append(piece)
        except (aiohttp.ClientError, OSError) as error:
            what = "the remote server's answer is cut off"
            raise Unanswered(what, is_unheard=False) from error
        answer.release()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(answer.status, headers, pieces[0] if len(pieces) == 1 else b"".join(pieces))


def _why(error: BaseException) -> str:
    """Return what the system says of it, which aiohttp tells together with the address."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f" ({cause.reason.lower().replace('_', ' ')})"
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return f" ({os.strerror(cause.errno)})"
    return " (not in time)" if isinstance(cause, TimeoutError) else ""


async def _each(blobs: Sequence[Blob]) -> AsyncIterator[Blob]:
    for blob in blobs:
        yield blob
