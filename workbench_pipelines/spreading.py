"""Spreading: the questions of one TrainingSheet, asked by several processes of a Ray cluster as one process asks them.

A question belongs to a shard by its hash, and a shard is one process with a runner of its own. All shards share the lake, the
folder of request logs and the desk of their run, where claims and budgets are. A process that is killed is started again and
asks what it was given once more: what was answered stands in its log and is found.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from workbench_pipelines import errors
from workbench_pipelines.answers import answer_reader
from workbench_pipelines.asking import Asked
from workbench_pipelines.catalog.training_sheet_specs import GenerationSpec
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.living_processes import ended, living
from workbench_pipelines.clients.ray_cluster import Cluster, Gone, Remote, open_cluster
from workbench_pipelines.clients.spread_desk import LOOK_EVERY_S, Desk, DeskBudget, DeskClaims, amounts
from workbench_pipelines.errors import BudgetSpent, MissingPart, WorkbenchError
from workbench_pipelines.generation import Answer, Model
from workbench_pipelines.requests import Answered, Outcome, Request
from workbench_pipelines.settings import Settings, secrets_of_process
from workbench_pipelines.workbench import Workbench

# Questions that a shard is given at one time: its limits of calls a minute begin anew with each, so there are few.
PIECE = 20_000
# How many pieces of a shard are on their way: it never waits for the next one.
PIECES_AHEAD = 2
# A process that was killed so often is killed by what it does.
RESTARTS = 3
SAY_EVERY_S = 10.0
# How long an interrupted run waits for the calls in flight of its shards.
LAST_WAIT_S = 10.0


class Given(NamedTuple):
    """A question for a shard, and whether it may be asked or only looked for."""

    request: Request
    may_ask: bool


class Came(NamedTuple):
    """What came of the question at this place of a piece."""

    place: int
    outcome: Outcome
    from_store: bool
    paid: tuple[Outcome, ...]


class Reply(NamedTuple):
    """What came of a piece: of each of its questions, unless something stopped it, by class of error and line."""

    came: list[Came]
    calls: int
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class Work:
    """What every shard of a run knows.

    Attributes:
        settings: those of the run, without its secrets; the keys stand in the environment of each process.
        run: the name under which the run can be seen to live, in `living_in` below the state folder.
        has_limit: whether anything limits what may be paid.
    """

    settings: Settings
    lake: str
    models: tuple[Model, ...]
    how: GenerationSpec
    schema: Mapping[str, Any]
    run: str
    has_limit: bool

    def share(self, shard: int) -> GenerationSpec:
        """How one shard asks, so that all of them together ask as the TrainingSheet says."""
        count, how = self.how.shards, self.how
        return how.model_copy(
            update={
                "at_once": how.at_once // count + (shard < how.at_once % count),
                "requests_per_minute": how.requests_per_minute and how.requests_per_minute / count,
                "tokens_per_minute": how.tokens_per_minute and how.tokens_per_minute / count,
            }
        )


def shard_of(request_hash: str, count: int) -> int:
    """Which of so many shards a question belongs to; the same questions belong to the same one."""
    return int(request_hash[:12], 16) % count


def spread_answer(
    asked: Asked,
    schema: Mapping[str, Any],
    say: Callable[[str], None],
    may_ask: Callable[[Request], bool] = lambda request: True,
) -> Answer:
    """Asks questions by shards on a Ray cluster; as `Asked.answer`, and in any order.

    Args:
        schema: JSON Schema of the answers.

    What it returns raises MissingPart, too, where there is no cluster with room for the shards, or its processes do not
    see the project's state folder; what was answered is kept.
    """
    workbench, count = asked.workbench, asked.how.shards

    def answer(questions: Iterable[Request], total: int) -> Iterator[Answered]:
        if workbench.lake.storage_options:
            raise MissingPart(
                "generation.spread: ray: the storage of the lake is configured in this process alone; let the storage "
                "library find its credentials in the environment"
            )
        settings = replace(workbench.settings, secrets=frozenset())
        with open_cluster(settings.ray_address, count) as cluster, living(_living_in(settings)) as run:
            if cluster.cpus < count:
                raise MissingPart(
                    f"generation.spread: ray: {count} shards need a processor each, the cluster has {cluster.cpus}"
                )
            limited = any(one.limit_usd is not None for one in asked.budgets)
            work = Work(settings, workbench.lake.uri, asked.models, asked.how, schema, run, limited)
            spread = _Spread(asked, work, cluster, total, say)
            try:
                yield from spread.run(Given(one, may_ask(one)) for one in questions)
            except BudgetSpent:
                spread.close()
                for budget in asked.budgets:
                    budget.refuse_if_spent(asked.first.name)
                raise
            finally:
                spread.close()

    return answer


class _Spread:
    """One pass over questions: pieces on their way, and what comes back."""

    def __init__(self, asked: Asked, work: Work, cluster: Cluster, total: int, say: Callable[[str], None]) -> None:
        self.asked = asked
        self.workbench = asked.workbench
        self.cluster = cluster
        self.total = total
        self.say = say
        self._said = time.monotonic()
        self._paid = [0.0 for _ in asked.budgets]
        self._began_with = [one.spent_usd for one in asked.budgets]
        self._closed = False
        self._pieces: dict[Any, tuple[int, list[Given]]] = {}
        self._ahead: Counter[int] = Counter()
        self.desk = cluster.here(Desk, self.workbench.store.log_folder, amounts(asked.budgets))
        self.shards = [cluster.anywhere(Shard, number, restarts=RESTARTS) for number in range(work.how.shards)]
        self.work = work

    def run(self, questions: Iterator[Given]) -> Iterator[Answered]:
        waiting: list[list[Given]] = [[] for _ in self.shards]
        for one in questions:
            number = shard_of(one.request.request_hash, len(self.shards))
            waiting[number].append(one)
            if len(waiting[number]) == PIECE:
                piece, waiting[number] = waiting[number], []
                yield from self._hand_out(number, piece)
        for number, piece in enumerate(waiting):
            if piece:
                yield from self._hand_out(number, piece)
        while self._pieces:
            yield from self._take_in()
        self._tell(ended=True)

    def close(self) -> None:
        """Lets the calls in flight come to their end, and takes over what was paid."""
        if self._closed:
            return
        self._closed = True
        self.desk.begin("stop")
        until = time.monotonic() + LAST_WAIT_S
        while self._pieces and (left := until - time.monotonic()) > 0:
            for call in self.cluster.ready(list(self._pieces), left):
                del self._pieces[call]
        # A run that failed says why it did; that its desk is gone too is nothing to add.
        with suppress(Gone):
            self._count_paid()
            self.desk.call("close")
        for one in (*self.shards, self.desk):
            self.cluster.end(one)

    def _hand_out(self, number: int, piece: list[Given]) -> Iterator[Answered]:
        while self._ahead[number] >= PIECES_AHEAD:
            yield from self._take_in()
        self._pieces[self.shards[number].begin("ask", self.work, self.desk, piece)] = (number, piece)
        self._ahead[number] += 1

    def _take_in(self) -> Iterator[Answered]:
        """What came back since, after a short wait."""
        for call in self.cluster.ready(list(self._pieces), LOOK_EVERY_S):
            number, piece = self._pieces.pop(call)
            self._ahead[number] -= 1
            reply: Reply = self.cluster.result(call)
            self.workbench.llm_calls += reply.calls
            for one in reply.came:
                yield Answered(piece[one.place].request, one.outcome, one.from_store, one.paid)
            if reply.problem is not None:
                kind, line = reply.problem
                raise getattr(errors, kind, WorkbenchError)(line)
        self._tell()

    def _tell(self, *, ended: bool = False) -> None:
        done = self._count_paid()
        line = f"{done} of {self.total} answered, by {len(self.shards)} shards"
        self.workbench.on_progress(done, self.total, f"{self.asked.first.name}: {line}")
        if ended or time.monotonic() - self._said >= SAY_EVERY_S:
            self._said = time.monotonic()
            self.say(line)

    def _count_paid(self) -> int:
        """Takes over what the shards paid, as the desk counts it; how many questions are done."""
        done, spent = self.desk.call("standing")
        for place, budget in enumerate(self.asked.budgets):
            paid = spent[place] - self._began_with[place]
            budget.pay(paid - self._paid[place])
            self._paid[place] = paid
        return int(done)


class Shard:
    """The part of a run's questions that one process of a cluster asks, with a log of its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._done = 0

    def ask(self, work: Work, desk: Remote, piece: Sequence[Given]) -> Reply:
        """Asks a piece. A second time, after its process was killed, it finds what was answered the first time."""
        came: list[Came] = []
        calls = 0
        places = {id(one.request): place for place, one in enumerate(piece)}
        may_ask = {id(one.request) for one in piece if one.may_ask}
        try:
            workbench = self._workbench(work, desk)
            budget = DeskBudget(desk, has_limit=work.has_limit)
            asked = Asked(workbench, work.models, work.share(self.number), (budget,))
            answer = asked.answer(answer_reader(work.schema), None, lambda one: id(one) in may_ask)
            for one in answer((given.request for given in piece), len(piece)):
                came.append(Came(places[id(one.request)], one.outcome, one.from_store, one.paid))
                calls = workbench.llm_calls
        except WorkbenchError as error:
            return Reply(came, calls, (type(error).__name__, error.line))
        self._done += len(piece)
        # Waited for: what this process paid has come to the desk before.
        desk.call("tell", self.number, self._done)
        return Reply(came, calls)

    def _workbench(self, work: Work, desk: Remote) -> Workbench:
        """The project as this process sees it. Raises MissingPart where that is not what the run sees."""
        settings, folder = work.settings, _living_in(work.settings)
        if not (folder / work.run).exists():
            raise MissingPart(
                "generation.spread: ray: a machine of the cluster does not see the .workbench folder of this project; "
                "mount the project at the same path on all of them"
            )
        if ended(folder, work.run):
            raise MissingPart(
                "generation.spread: ray: a machine of the cluster sees no locks in the .workbench folder of this project; "
                "mount it so that locks hold between machines"
            )
        workbench = Workbench(replace(settings, secrets=secrets_of_process()), Lake(work.lake))
        workbench.store.claims = DeskClaims(workbench.store.log_folder, desk)
        last = 0.0

        def tell(done: int, total: int, what: str) -> None:
            nonlocal last
            if time.monotonic() - last >= LOOK_EVERY_S:
                last = time.monotonic()
                desk.begin("tell", self.number, self._done + done)

        workbench.on_progress = tell
        return workbench


def _living_in(settings: Settings) -> Path:
    return settings.state / "spread"
