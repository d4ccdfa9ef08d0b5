"""What a run of the bench leaves behind: a table to read and JSON to compare.

Every report says where and how it was made, because figures of two machines, or of one
on two days, cannot be compared without.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.ladder import Row
from bench.ratios import Figure, Spread, Timing, Verdict
from bench.stand import Effort

PACKAGES = ("uvicorn", "uvloop", "httptools", "orjson", "pysimdjson", "numpy", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Header:
    """Where, when and how."""

    date: str
    processor: str
    processors: int
    kernel: str
    python: str
    packages: Mapping[str, str]
    flags: tuple[str, ...]
    effort: Effort
    took_s: float
    stolen_ratio: float
    waited_ratio: float | None  # of the time, some task waited for a processor


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one run measured; what was not asked for is empty."""

    rows: Sequence[Row]
    verdicts: Sequence[Verdict]
    figures: Sequence[Figure]
    timings: Sequence[Timing]


def header(effort: Effort, took_s: float, stolen_ratio: float, waited_s: float | None) -> Header:
    """Describe this machine and this run."""
    return Header(
        datetime.now(UTC).isoformat(timespec="seconds"),
        processor_name(Path("/proc/cpuinfo").read_text()),
        os.cpu_count() or 0,
        platform.release(),
        platform.python_version(),
        {name: _version(name) for name in PACKAGES},
        tuple(sys.argv[1:]),
        effort,
        round(took_s, 1),
        round(stolen_ratio, 4),
        None if waited_s is None else round(waited_s / took_s, 4),
    )


def processor_name(text: str) -> str:
    """Read the first model name of /proc/cpuinfo, with the model number beside a vague name."""
    fields = dict[str, str]()
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if separator:
            fields.setdefault(name.strip(), value.strip())
    name = fields.get("model name", "unknown")
    return f"{name} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def markdown(head: Header, findings: Findings) -> str:
    """The whole report as a page."""
    parts = [_head_text(head)]
    if findings.rows:
        parts.append(ladder_table(findings.rows))
    if findings.verdicts:
        parts.append(verdict_table(findings.verdicts))
    if findings.figures:
        parts.append(figure_table(findings.figures))
    if findings.timings:
        parts.append(timing_table(findings.timings))
    return "\n\n".join(parts) + "\n"


def store(head: Header, findings: Findings, folder: Path, label: str) -> tuple[Path, Path]:
    """Write LABEL.json and LABEL.md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "header": asdict(head),
        "ladder": [asdict(row) for row in findings.rows],
        "claims": [asdict(one) | {"is_met": one.is_met} for one in findings.verdicts],
        "figures": [asdict(one) for one in findings.figures],
        "micro": [asdict(timing) for timing in findings.timings],
    }
    paths = folder / f"{label}.json", folder / f"{label}.md"
    paths[0].write_text(json.dumps(figures, indent=1) + "\n")
    paths[1].write_text(markdown(head, findings))
    return paths


def ladder_table(rows: Sequence[Row]) -> str:
    """One line a rung and number of connections; a dagger where the generator was the limit."""
    columns = ("rung", "connections", "requests/s", "min-max", "p50 us", "p99 us")
    lines = [_line((*columns, "server CPU us/request", "generator CPU")), "|---" * 8 + "|"]
    for row in rows:
        rate = row.requests_per_s
        cells = (
            row.rung,
            f"{row.connections}",
            f"{rate.median:.0f}",
            f"{rate.lowest:.0f}-{rate.highest:.0f}",
            f"{row.p50_s * 1e6:.0f}",
            f"{row.p99_s * 1e6:.0f}",
            f"{row.cpu_per_request_s * 1e6:.1f}",
            f"{row.generator_ratio:.0%}{' †' if row.is_bounded_by_generator else ''}",
        )
        lines.append(_line(cells))
    if any(row.is_bounded_by_generator for row in rows):
        lines += ["", "† bounded by the generator: the server could do more."]
    return "\n".join(lines)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """One line a bar."""
    lines = [_line(("bar", "limit", "median", "min-max", "", "seen")), "|---" * 6 + "|"]
    for one in verdicts:
        cells = (
            one.bar.what,
            f"{one.bar.limit} {one.unit}".strip(),
            f"{one.seen.median:.3g} {one.unit}".strip(),
            _range(one.seen),
            "met" if one.is_met else "**not met**",
            one.note,
        )
        lines.append(_line(cells))
    return "\n".join(lines)


def figure_table(figures: Sequence[Figure]) -> str:
    """One line a figure: what is measured and promised by nobody."""
    lines = [_line(("figure", "median", "min-max", "seen")), "|---" * 4 + "|"]
    for one in figures:
        median = f"{one.seen.median:.3g} {one.unit}".strip()
        lines.append(_line((one.what, median, _range(one.seen), one.note)))
    return "\n".join(lines)


def timing_table(timings: Sequence[Timing]) -> str:
    """One line a function."""
    lines = [_line(("function", "us", "min-max")), "|---" * 3 + "|"]
    for one in timings:
        seen = one.call_s
        spread = f"{seen.lowest * 1e6:.2f}-{seen.highest * 1e6:.2f}"
        lines.append(_line((one.what, f"{seen.median * 1e6:.2f}", spread)))
    return "\n".join(lines)


def _head_text(head: Header) -> str:
    effort = head.effort
    packages = ", ".join(f"{name} {number}" for name, number in head.packages.items())
    waited = "?" if head.waited_ratio is None else f"{head.waited_ratio:.0%}"
    machine = f"{head.processor}, {head.processors} processors, Linux {head.kernel}"
    how = (
        "Server on one processor, generator on another, unless a row says otherwise. "
        f"Warm-up {effort.warmup_s:g} s, window {effort.window_s:g} s, "
        f"{effort.pairs} interleaved pairs; ladder: window "
        f"{effort.ladder_window_s:g} s, {effort.rounds} rounds. Flags: "
        f"{' '.join(head.flags) or 'none'}. Took {head.took_s:.0f} s; stolen time "
        f"{head.stolen_ratio:.1%}; some task waited for a processor {waited} of the time."
    )
    about = f"{machine}, Python {head.python}; {packages}."
    return f"# Bench, {head.date}\n\n{about}\n{how}"


def _range(seen: Spread) -> str:
    return f"{seen.lowest:.3g}-{seen.highest:.3g} ({seen.count})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
