"""Asking: the desk of a supervised replica: it knows nothing itself and asks the supervisor.

Job    carry a caller's question over the control channel, and the answer back.
Life   one per replica; `hang_up` when the channel ends.
Never  keeps a caller waiting for a supervisor that is gone, nor lets callers pile up.
"""

import asyncio
import itertools
from collections.abc import Callable

from gateway import errors
from gateway.control.channel import Broken, TooLong
from gateway.control.messages import Ask, Reply
from gateway.errors import GatewayError, NotReady, Overloaded, TooLarge
from gateway.wire.desk import About

MOST_QUESTIONS = 64  # asked and not answered yet
MOST_BYTES = 64 << 20  # in what was asked; a model may be uploaded with its question
_ANSWER_S = 60.0
_LOAD_S = 600.0  # a load proves the version first


class RemoteDesk:
    """Every question is answered or refused, in bounded time.

    Mutable state: `_asked` (by ticket), `_asked_bytes` and whether anybody hears us.
    """

    def __init__(self, send: Callable[[Ask], None]) -> None:
        self._send = send
        self._tickets = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Reply | None]] = {}
        self._asked_bytes = 0
        self._is_alone = False

    async def ask(
        self, about: About, model: str | None, version: str | None, parameters: bytes
    ) -> bytes:
        """Return the supervisor's answer, JSON.

        Raises: Overloaded, NotReady, TooLarge; whatever the supervisor refuses with.
        Cancel: safe; the answer is dropped.
        """
        if len(self._asked) >= MOST_QUESTIONS:
            raise Overloaded(f"expected at most {MOST_QUESTIONS} questions at a time")
        if self._asked_bytes + len(parameters) > MOST_BYTES:
            raise Overloaded(f"expected at most {MOST_BYTES} bytes in all questions together")
        if self._is_alone:
            raise NotReady("the supervisor is gone")
        self._asked_bytes += len(parameters)
        ticket = next(self._tickets)
        answer = self._asked[ticket] = asyncio.get_running_loop().create_future()
        within_s = _LOAD_S if about in ("load", "unload") else _ANSWER_S
        try:
            self._send(Ask(ticket, about, model, version, parameters or b"{}"))
            reply = await asyncio.wait_for(answer, within_s)
        except TooLong as error:
            raise TooLarge(f"{len(parameters)} bytes are too many for one question") from error
        except Broken:
            raise NotReady("the supervisor is gone") from None
        except TimeoutError:
            raise NotReady(f"the supervisor did not answer within {within_s:g} s") from None
        finally:
            del self._asked[ticket]
            self._asked_bytes -= len(parameters)
        return _read(reply)

    def answer(self, reply: Reply) -> None:
        """Give an answer to who asked, if somebody still waits."""
        waiting = self._asked.get(reply.ticket)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def hang_up(self) -> None:
        """Refuse all that is asked, now and later: nobody is there to answer."""
        self._is_alone = True
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_result(None)


def _read(reply: Reply | None) -> bytes:
    if reply is None:
        raise NotReady("the supervisor ended before it answered")
    if reply.code is None:
        return reply.body.encode()
    raise _BY_CODE.get(reply.code, GatewayError)(reply.body)


_BY_CODE: dict[str, type[GatewayError]] = {
    one.code: one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, GatewayError) and "code" in vars(one)
}
