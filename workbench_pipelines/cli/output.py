"""How commands print: tables for people, one JSON object for programs, and progress where a person watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import orjson
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from workbench_pipelines.identity import canonical_text


def print_json(value: Any) -> None:
    """One JSON document on standard output; times are ISO 8601."""
    click.echo(orjson.dumps(value, default=_jsonable, option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """A table: drawn in a terminal, tab separated when piped."""
    if not sys.stdout.isatty():
        if title:
            click.echo(title)
        for row in (columns, *rows):
            click.echo("\t".join(_cell(value) for value in row))
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console().print(table)


def print_frame(frame: pl.DataFrame, as_json: bool) -> None:
    """The rows of a query."""
    if as_json:
        print_json(frame.to_dicts())
    else:
        print_table(frame.columns, frame.rows())


def warn(line: str) -> None:
    """One line on standard error."""
    click.echo(" ".join(line.split()), err=True)


SHOWN_LINES = 20


def warn_each(lines: Sequence[str]) -> None:
    """The first lines on standard error, and how many more there are."""
    for line in lines[:SHOWN_LINES]:
        warn(line)
    if len(lines) > SHOWN_LINES:
        warn(f"… and {len(lines) - SHOWN_LINES} more; --json lists all")


class Watcher:
    """Shows what a run does: a bar where a person watches, a line per step where output is piped."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._runs = bar.add_task("", total=None) if bar else None
        self._items = bar.add_task("", total=None, visible=False) if bar else None

    def expect(self, runs: int) -> None:
        if self._bar is not None and self._runs is not None:
            self._bar.update(self._runs, total=runs)

    def run(self, job: str, key: str) -> None:
        """A run begins."""
        label = f"{job.removesuffix('s').replace('_', ' ')} {key}"
        if self._bar is None or self._runs is None or self._items is None:
            click.echo(f"… {label}", err=True)
            return
        done = self._bar.tasks[self._runs].description != ""
        self._bar.update(self._runs, description=label, advance=1 if done else 0)
        self._bar.update(self._items, visible=False)

    def items(self, done: int, total: int, what: str) -> None:
        """Work inside a run goes on."""
        if self._bar is not None and self._items is not None:
            self._bar.update(self._items, completed=done, total=total, description=f"  {what}", visible=done < total)


@contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """A watcher for one command; quiet and piped ones draw no bar."""
    if quiet or not sys.stderr.isatty():
        yield Watcher(None) if not quiet else _Silent()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Watcher(bar)


class _Silent(Watcher):
    def __init__(self) -> None:
        super().__init__(None)

    def run(self, job: str, key: str) -> None:
        return


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, dict)):
        return canonical_text(value)
    return str(value).replace("\t", " ").replace("\n", " ")


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
