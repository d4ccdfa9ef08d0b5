"""Sockets: what the kernel knows of a connection and the event loop does not.

Source: Linux, tcp(7), `TCP_INFO`; include/uapi/linux/tcp.h, `struct tcp_info`.
"""

import asyncio
import fcntl
import math
import socket
import struct
import termios
from contextlib import suppress

_LAST_DATA_RECV = 8 + 11 * 4  # in the struct, after eight bytes and eleven numbers
_INFO_BYTES = _LAST_DATA_RECV + 4


def unsent_bytes(transport: asyncio.Transport | None) -> int:
    """Return what was written and not yet received, in the transport or in the kernel.

    The kernel alone may hold megabytes, which a slow client reads for minutes.
    """
    if transport is None:
        return 0
    count = transport.get_write_buffer_size()
    plain = transport.get_extra_info("socket")
    if plain is not None:
        with suppress(OSError, ValueError):  # it is closed already
            (queued,) = struct.unpack("i", fcntl.ioctl(plain.fileno(), termios.TIOCOUTQ, b"0000"))
            count += queued
    return count


def silent_s(transport: asyncio.Transport | None) -> float:
    """Return how long ago the last of what the other end sent came, read or not.

    Infinite where nobody knows. Units: seconds, as fine as the kernel's tick, 1 to 10 ms.
    """
    plain = None if transport is None else transport.get_extra_info("socket")
    if plain is None:
        return math.inf
    try:
        info = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except (OSError, ValueError):  # it is closed already, or no TCP
        return math.inf
    return int.from_bytes(info[_LAST_DATA_RECV:], "little") / 1e3
