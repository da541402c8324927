"""The request store: every answer that was ever paid, good or bad, by the hash of its request.

An answer is appended to a log of this process on local disk as soon as it is there, and goes to `records/requests` and
`records/request_uses` of the lake in batches. Whatever a killed process left in its log is found, and committed by the
next process that commits; doing so twice adds nothing.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import secrets
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.clients.claims import Claims
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.table_maintenance import TableMaintenance, Tidied
from workbench_pipelines.errors import LakeError
from workbench_pipelines.requests import REQUEST_USES, REQUESTS, Completion, Request, completion_of

_REQUESTS = ("records", "requests")
_USES = ("records", "request_uses")
# A commit adds a file to a table; from so many on, opening them is what a look takes.
MANY_FILES = 50


class RequestStore:
    """The answers of a lake, with those still in the logs of `log_folder`."""

    def __init__(self, log_folder: Path, lake: Lake) -> None:
        self.log_folder = log_folder
        self.lake = lake
        self.claims = Claims(log_folder)
        self.maintenance = TableMaintenance(lake, log_folder / "locks")
        self._log: _Log | None = None
        self._lock = threading.Lock()

    def answers(self, hashes: Collection[str]) -> dict[str, list[Completion]]:
        """Everything that is kept in answer to these requests, good or bad, the oldest first."""
        wanted = set(hashes)
        if not wanted:
            return {}
        # Logs before lake: what is committed in between is then seen twice, and never missed.
        rows = [row for file in self._log_files() for row, _ in _entries(file) if row and row["request_hash"] in wanted]
        rows += self._committed(wanted)
        found: dict[str, list[Completion]] = {}
        seen: set[str] = set()
        for row in sorted(rows, key=lambda row: (row["answered_at"], row["answer_id"])):
            if row["answer_id"] not in seen:
                seen.add(row["answer_id"])
                found.setdefault(row["request_hash"], []).append(completion_of(row))
        return found

    def state(self) -> tuple[object, ...]:
        """What changes as soon as another process keeps an answer here; answers of this process do not count."""
        own = self._log.file if self._log else None
        logs = [(file.name, file.stat().st_size) for file in self._log_files() if file != own and file.exists()]
        version = self.lake.version(*_REQUESTS) if self.lake.exists(*_REQUESTS) else None
        return (version, *logs)

    def put(self, request: Request, completion: Completion) -> None:
        """Keep an answer and who asked for it; on disk before this returns. Raises LakeError where it can not be."""
        self._append([{"answer": completion.row(request), "use": request.use_row()}])

    def record_uses(self, requests: Iterable[Request]) -> None:
        """Keep who asked for answers that were already there."""
        self._append([{"use": request.use_row()} for request in requests])

    def commit(self) -> int:
        """Bring the logs of this process and of ended ones into the lake; returns how many answers were new there."""
        with self._lock:
            own, self._log = self._log, None
        # A forked child has its parent's log open, and no business with it.
        mine = [own] if own and own.pid == os.getpid() else []
        left = [log for file in self._log_files() if (log := _Log.taken_over(file)) is not None]
        try:
            # What an ended process left may be in the lake already; what this one wrote can not be.
            added = self._commit_entries([entry for log in mine for entry in _entries(log.file)], known=False)
            added += self._commit_entries([entry for log in left for entry in _entries(log.file)], known=True)
            for log in (*mine, *left):
                log.file.unlink(missing_ok=True)
        finally:
            for log in (*mine, *left):
                log.close()
        return added

    def tidy(self) -> None:
        """Put the small files of many commits together, unless another process is at it: looking up stays fast."""
        for table in (_REQUESTS, _USES):
            if self.maintenance.small_files(*table) > MANY_FILES:
                self.maintenance.compact(*table, wait=False)

    def collect_garbage(self) -> tuple[int, dict[str, Tidied]]:
        """Commit what ended processes left, compact both tables and delete files nobody needs; how many answers were new."""
        added = self.commit()
        found = {}
        for table in (_REQUESTS, _USES):
            if self.lake.exists(*table) and (tidied := self.maintenance.compact(*table, delete_old=True)):
                found["/".join(table)] = tidied
        return added, found

    def waiting(self) -> int:
        """Answers in logs that are not in the lake yet."""
        return sum(1 for file in self._log_files() for answer, _ in _entries(file) if answer)

    def rows(self) -> pl.LazyFrame:
        """Every answer in the lake; rows of `REQUESTS`."""
        return self.lake.scan(*_REQUESTS) if self.lake.exists(*_REQUESTS) else REQUESTS.to_frame().lazy()

    def uses(self) -> pl.LazyFrame:
        """Who asked; rows of `REQUEST_USES`."""
        return self.lake.scan(*_USES) if self.lake.exists(*_USES) else REQUEST_USES.to_frame().lazy()

    def _append(self, entries: Sequence[dict[str, Any]]) -> None:
        if not entries:
            return
        data = b"".join(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE) for entry in entries)
        with self._lock:
            if self._log is None or self._log.pid != os.getpid():
                self._log = _Log.opened(self.log_folder)
            self._log.append(data)

    def _commit_entries(self, entries: Sequence[tuple[dict[str, Any] | None, dict[str, Any]]], *, known: bool) -> int:
        """Brings entries into the lake; `known` says that some may be there, which is looked up for each."""
        if not entries:
            return 0
        entries = [(answer, use) for answer, use in entries if _fits(answer, REQUESTS) and _fits(use, REQUEST_USES)]
        # Uses first: no answer is ever in the lake without the name of an item that it speaks of.
        key = ["request_hash", "training_sheet", "pair_id"]
        fresh = pl.DataFrame([use for answer, use in entries if answer], schema=REQUEST_USES).unique(key)
        found = pl.DataFrame([use for answer, use in entries if not answer], schema=REQUEST_USES).unique(key)
        found = pl.concat([found, fresh]) if known else found.join(fresh, on=key, how="anti")
        if fresh.height and not known:
            self.lake.append(*_USES, frame=fresh)
        if found.height:
            self.lake.append_new(*_USES, frame=found, key=key)
        answers = pl.DataFrame([answer for answer, _ in entries if answer], schema=REQUESTS)
        if answers.is_empty():
            return 0
        if known:
            return self.lake.append_new(*_REQUESTS, frame=answers, key=["answer_id"])
        self.lake.append(*_REQUESTS, frame=answers)
        return answers.height

    def _committed(self, wanted: Collection[str]) -> list[dict[str, Any]]:
        if not self.lake.exists(*_REQUESTS):
            return []
        # A predicate, and no join: of what it does not find nothing else is read.
        is_wanted = pl.col("request_hash").is_in(pl.Series(sorted(wanted)).implode())
        return self.lake.scan(*_REQUESTS).filter(is_wanted).collect(engine="streaming").to_dicts()

    def _log_files(self) -> list[Path]:
        return sorted(self.log_folder.glob("*.jsonl"))


class _Log:
    """An open log file; whoever holds its lock owns it, and the kernel frees the lock of a process that ends."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self.file = file
        self.pid = os.getpid()
        self._descriptor = descriptor

    @classmethod
    def opened(cls, folder: Path) -> _Log:
        """A new log of this process."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while True:
                file = folder / f"{os.getpid()}-{secrets.token_hex(4)}.jsonl"
                descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Before it was locked, another process may have taken it for an ended one's and removed it.
                if file.exists():
                    return cls(file, descriptor)
                os.close(descriptor)
        except OSError as error:
            raise LakeError(f"the request log in {folder.name} can not be opened: {error.strerror}") from error

    @classmethod
    def taken_over(cls, file: Path) -> _Log | None:
        """The log of a process that ended; None while its owner lives, or where it is gone."""
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return cls(file, descriptor)

    def append(self, data: bytes) -> None:
        """Write whole lines or nothing."""
        end = os.fstat(self._descriptor).st_size
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            os.ftruncate(self._descriptor, end)
            raise LakeError(f"the request log {self.file.name} can not be written: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._descriptor)


_TYPES: dict[pl.DataType, type | tuple[type, ...]] = {
    pl.String(): str,
    pl.Int64(): int,
    pl.Float64(): (int, float),
    pl.Boolean(): bool,
}


def _fits(row: dict[str, Any] | None, schema: pl.Schema) -> bool:
    """Whether a row of a log is one of a table: one that is not is passed over, since it would hold up all others."""
    known = {name: _TYPES[dtype] for name, dtype in schema.items() if dtype in _TYPES}
    return row is None or all(row.get(name) is None or isinstance(row[name], known[name]) for name in known)


def _entries(file: Path) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any]]]:
    """The answers and uses in a log; a line that was cut or damaged is passed over, its answer is asked for again."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return
    for line in data.split(b"\n"):
        try:
            entry = orjson.loads(line)
            answer, use = entry.get("answer"), entry["use"]
            if answer is not None:
                answer["answered_at"] = dt.datetime.fromisoformat(answer["answered_at"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        yield answer, use
