"""Saturation: how much a server answers while clients keep it as busy as it can be.

The same generator measures it that overloads the server afterwards, in bursts of the same
size, so that the one can be divided by the other.
"""

from dataclasses import replace

from bench.courses import Clients, Course, play
from bench.goodput import goodput
from bench.launch import Server
from bench.stand import Stand

PATIENT_S = 10.0  # nobody's deadline
LEAST_S = 2.0


def saturated_per_s(stand: Stand, server: Server, clients: Clients, connections: int) -> float:
    """Answers with 200 a second, closed loop, on so many connections. Raises: GeneratorFailed."""
    closed = replace(
        clients, connections=connections, rates_per_s=None, deadline_s=PATIENT_S, headers=()
    )
    window_s = max(LEAST_S, stand.effort.window_s)
    course = Course(server.port, (stand.effort.warmup_s, window_s), (closed,))
    report = play(course, stand.generator_cpu, stand.scratch)
    return goodput(report.clients[0].phases[1], window_s)
