"""Generation: our runner with everything on, beside the bare clients and the peers, on one provider on loopback.

    python benchmarks/generation.py [--count N] [--rounds N] [--latencies MS ...] [--sides NAME ...] [--peers FOLDER]

2,000 distinct questions, 64 at once, of a provider in a process of its own that answers in 0, 50 and 500 ms. Each side is a
program of its own (`benchmarks/peers/*_side.py`, whose docstrings say how each is configured) in an environment of its own,
`FOLDER/<name>` for the peers. It imports and works off one round of other questions before it is told to start, so that no
side's time holds its imports; it starts in an empty folder that is its home too, so that nothing is found from another round.
The order turns by one each round.

The witness is what the provider saw: calls, those that asked what had been asked before, and the most open at one time; and
how many answers were right. A side that did other work than asked for is an error. With 0 ms the provider is done before the
next question comes, so few are open at one time; that each side asks 64 at once shows at 50 and 500 ms.

The reference is the openai SDK on aiohttp, the client that ours uses, bare; once as a user runs it and once on uvloop, as
ours does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from side_by_side import Figures, Measurement, print_table

HERE = Path(__file__).resolve().parent
AT_ONCE = 64
OURS = "ours, everything on"
AIM_OF_OURS = 1.1
PATIENCE_S = 900


@dataclass(frozen=True)
class SideProgram:
    """A side, the program that plays it and the environment that it runs in; `aim` is the most that ours may take of it."""

    name: str
    program: str
    environment: str | None = None
    options: tuple[str, ...] = ()
    aim: float | None = None


SIDES = (
    SideProgram("openai SDK on aiohttp", "openai_side.py"),
    SideProgram("the same on uvloop", "openai_side.py", options=("--uvloop",)),
    SideProgram("raw aiohttp", "aiohttp_side.py"),
    SideProgram("litellm acompletion", "litellm_side.py"),
    SideProgram(OURS, "workbench_side.py"),
    SideProgram("curator", "curator_side.py", "curator", aim=1.0),
    SideProgram("Data Designer", "data_designer_side.py", "data-designer", aim=1 / 2),
    SideProgram("distilabel", "distilabel_side.py", "distilabel", aim=1 / 8),
)


@contextmanager
def provider(latency_ms: float) -> Iterator[str]:
    """The address of a provider that answers after so long; it ends with the block."""
    command = [sys.executable, str(HERE / "loopback_provider.py"), f"{latency_ms:g}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def measure(side: SideProgram, peers: Path, address: str, count: int) -> Measurement:
    """One run of a side.

    Raises:
        RuntimeError: where it fails, or does not do the work that was asked for; what it said is in the message.
    """
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "said.txt").open("w+") as said:
        command = [
            python_of(side, peers),
            str(HERE / "peers" / side.program),
            f"{address}/v1",
            str(count),
            str(AT_ONCE),
        ]
        work = Path(folder) / "work"
        work.mkdir()
        with subprocess.Popen(
            [*command, *side.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=work,
            env=environment(work),
        ) as process:
            assert process.stdin
            assert process.stdout
            told: dict[str, Any] = {}
            if process.stdout.readline().strip() == "ready":
                ask(address, "/start", method="POST")
                process.stdin.write("go\n")
                process.stdin.flush()
                told = json.loads(process.stdout.readline() or "{}")
            asked = ask(address, "/asked")
            process.stdin.close()
            status = process.wait(PATIENCE_S)
        said.seek(0)
        if status or not told:
            raise RuntimeError(f"side '{side.name}' ended with {status}: {said.read()[-4000:]}")
        if (told["right"], asked["calls"], asked["twice"]) != (count, count, 0):
            raise RuntimeError(f"side '{side.name}' did other work: {told} {asked}: {said.read()[-4000:]}")
    witness = f"{told['right']:,} right of {asked['calls']:,} calls, {asked['most_at_once']} at once"
    return Measurement(told["wall"], told["cpu"], told["peak"], witness)


def python_of(side: SideProgram, peers: Path) -> str:
    return sys.executable if side.environment is None else str(peers.absolute() / side.environment / "bin" / "python")


def environment(folder: Path) -> dict[str, str]:
    """Nothing of ours, an empty home, and no network."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "NO_PROXY": "*",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def ask(address: str, path: str, method: str = "GET") -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(address + path, method=method), timeout=10) as reply:
        return dict(json.loads(reply.read() or "{}"))


def print_per_request(figures: list[Figures], sides: list[SideProgram], count: int) -> None:
    """CPU a request, and ours against what each side's aim says."""
    by_name = {one.name: one for one in figures}
    print(f"{'side':<34}{'cpu ms a request':>17}{'requests a s':>14}{'ours, wall':>12}{'ours, cpu':>11}")
    for side in sides:
        one = by_name[side.name]
        line = f"{one.name:<34}{one.median('cpu') / count * 1000:>17.2f}{count / one.median('wall'):>14.0f}"
        if OURS in by_name:
            wall, cpu = (by_name[OURS].median(what) / one.median(what) for what in ("wall", "cpu"))
            met = "met" if side.aim is not None and wall <= side.aim else "MISSED"
            line += f"{wall:>11.2f}x{cpu:>10.2f}x" + ("" if side.aim is None else f"  aim <= {side.aim:g}x: {met}")
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latencies", type=float, nargs="+", default=[0, 50, 500], metavar="MS")
    parser.add_argument("--sides", nargs="+", metavar="NAME", help="beginnings of names; default: all")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".workbench" / "bench-peers")
    given = parser.parse_args()
    sides = []
    for side in SIDES:
        if given.sides and not any(side.name.startswith(name) for name in given.sides):
            continue
        if Path(python_of(side, given.peers)).exists():
            sides.append(side)
        else:
            print(f"no environment for {side.name} in {given.peers}: left out")
    for latency in given.latencies:
        runs: dict[str, list[Measurement]] = {side.name: [] for side in sides}
        with provider(latency) as address:
            for number in range(given.rounds):
                turn = number % len(sides)
                for side in (*sides[turn:], *sides[:turn]):
                    runs[side.name].append(measure(side, given.peers, address, given.count))
        figures = [Figures(side.name, tuple(runs[side.name])) for side in sides]
        title = f"{given.count:,} requests, {AT_ONCE} at once, answered in {latency:g} ms"
        print_table(title, figures, {OURS: AIM_OF_OURS})
        print_per_request(figures, sides, given.count)


if __name__ == "__main__":
    main()
