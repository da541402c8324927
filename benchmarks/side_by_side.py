"""Measurements side by side: ours and its peers in one run, interleaved, as ratios.

A script states its sides and prints the table::

    from side_by_side import Side, compare, print_table

    figures = compare([Side("plain", plain, prepare), Side("ours", ours, prepare)], repetitions=5)
    print_table("rendering 100,000 prompts", figures, aims={"ours": 1.1})

`Side(name, run, prepare, witness)`
    `run(prepared)` is what is measured; `prepare()` makes its input and imports what it needs; `witness(result)` says
    what was done, as a short text (a count, a digest), so that sides that should do the same work can be seen to do it.
    Neither of these two is timed; the peak of memory holds `prepare` as well.
`compare(sides, repetitions=3)`
    Every measurement is a forked child of its own, so that no side warms another's caches and each has its own peak of
    memory. The order turns by one each round. The first side is the reference. Gives one `Figures` a side.
`print_table(title, figures, aims)`
    Medians and their ratio to the reference; the range is that of the ratios of single rounds. `aims` holds the most a
    side's wall ratio should be; what misses it is marked.

A parent that has started threads (polars, deltalake, an event loop) can not be forked safely: import and use such
libraries inside `prepare` and `run` only.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TO_BYTES = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Side:
    """One way to do the work."""

    name: str
    run: Callable[[Any], Any]
    prepare: Callable[[], Any] = _nothing
    witness: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Measurement:
    """One run of one side: seconds of wall and of processor (user and system), and the peak memory of its process."""

    wall: float
    cpu: float
    peak: float
    witness: str


@dataclass(frozen=True)
class Figures:
    """All runs of one side, in the order of the rounds."""

    name: str
    runs: tuple[Measurement, ...]

    def median(self, what: str) -> float:
        return statistics.median(getattr(run, what) for run in self.runs)


def compare(sides: Sequence[Side], repetitions: int = 3) -> list[Figures]:
    """Measure every side `repetitions` times, interleaved.

    Raises:
        RuntimeError: when a child fails; its traceback is on standard error.
    """
    runs: dict[str, list[Measurement]] = {side.name: [] for side in sides}
    for number in range(repetitions):
        turn = number % len(sides)
        for side in (*sides[turn:], *sides[:turn]):
            runs[side.name].append(_in_a_child(side))
    return [Figures(side.name, tuple(runs[side.name])) for side in sides]


def print_table(title: str, figures: Sequence[Figures], aims: Mapping[str, float] | None = None) -> None:
    """Print medians and ratios; the first side is the reference."""
    reference = figures[0]
    print(f"\n{title}: {len(reference.runs)} rounds, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'side':<34}{'wall s':>9}{'cpu s':>9}{'MiB':>7}{'wall':>8}{'range':>13}{'cpu':>7}{'memory':>8}  witness")
    for one in figures:
        wall, cpu, peak = (one.median(what) / reference.median(what) for what in ("wall", "cpu", "peak"))
        by_round = [ours.wall / theirs.wall for ours, theirs in zip(one.runs, reference.runs, strict=True)]
        spread = f"{min(by_round):.2f}-{max(by_round):.2f}"
        aim = (aims or {}).get(one.name)
        met = "" if aim is None else f"  aim <= {aim:g}x: {'met' if wall <= aim else 'MISSED'}"
        witnesses = " / ".join(sorted({run.witness for run in one.runs}))
        print(
            f"{one.name:<34}{one.median('wall'):>9.3f}{one.median('cpu'):>9.3f}{one.median('peak') / 2**20:>7.0f}"
            f"{wall:>7.2f}x{spread:>13}{cpu:>6.2f}x{peak:>7.2f}x  {witnesses}{met}"
        )


def _in_a_child(side: Side) -> Measurement:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            _write(writer, json.dumps(_measure(side)).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            # No exit handlers of the parent in the child.
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError(f"side '{side.name}' failed")
    return Measurement(**json.loads(told))


def _measure(side: Side) -> dict[str, float | str]:
    prepared = side.prepare()
    before, start = _cpu(), time.perf_counter()
    result = side.run(prepared)
    wall, cpu = time.perf_counter() - start, _cpu() - before
    # Before the witness, which may need memory of its own.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _TO_BYTES
    return {"wall": wall, "cpu": cpu, "peak": peak, "witness": side.witness(result) if side.witness else ""}


def _cpu() -> float:
    """Seconds of processor time of this process and of the children it has waited for."""
    who = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in who)


def _write(descriptor: int, told: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(told)
