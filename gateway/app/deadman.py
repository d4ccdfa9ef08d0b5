"""Deadman: the kernel kills this process unless it is told in time that all is well.

Job    see to it that no replica outlives its supervisor: neither one that hangs in native
       code nor one that somebody stopped, which no signal handler and no thread of ours
       could do.
Life   one timer of the kernel; it dies with the process, and is not inherited.
Never  costs more than a system call a heartbeat: 1 us.

A POSIX timer that sends SIGKILL: that signal is obeyed by stopped processes too. The
clock is monotonic, so a machine that slept kills nobody.

Source: timer_create(2), timer_settime(2), sigevent(3type).
"""

import ctypes
import os
import signal
import time

_SIGEV_SIGNAL = 0


class _Event(ctypes.Structure):
    """`struct sigevent`; whatever a union needs beyond what is named is in `_rest`."""

    _fields_ = (
        ("sigev_value", ctypes.c_void_p),
        ("sigev_signo", ctypes.c_int),
        ("sigev_notify", ctypes.c_int),
        ("_rest", ctypes.c_byte * 48),
    )


class _Span(ctypes.Structure):
    """`struct timespec`."""

    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Setting(ctypes.Structure):
    """`struct itimerspec`: no interval, it kills once."""

    _fields_ = (("it_interval", _Span), ("it_value", _Span))


class Deadman:
    """Unless renewed in time, the process is killed."""

    def __init__(self) -> None:
        """Make the timer; it does not run yet. Raises: OSError."""
        self._libc = _library()
        self._timer = ctypes.c_void_p()
        event = _Event(sigev_signo=signal.SIGKILL, sigev_notify=_SIGEV_SIGNAL)
        self._call(
            "timer_create", time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)
        )

    def renew(self, within_s: float) -> None:
        """Put the end off until so many seconds from now, at least a millisecond."""
        whole, part = divmod(max(within_s, 0.001), 1.0)
        setting = _Setting(it_value=_Span(int(whole), int(part * 1e9)))
        self._call("timer_settime", self._timer, 0, ctypes.byref(setting), None)

    def _call(self, name: str, *arguments: object) -> None:
        if getattr(self._libc, name)(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")


def _library() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    # until glibc 2.34 timers were in a library of their own
    return libc if hasattr(libc, "timer_create") else ctypes.CDLL("librt.so.1", use_errno=True)
