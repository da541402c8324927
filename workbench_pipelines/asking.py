"""Who answers: the models a TrainingSheet or an evaluation asks, through the request store that all of them share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import polars as pl

from workbench_pipelines.answers import Read
from workbench_pipelines.batch_tries import BatchTerms, FollowUp, refuse_waiting
from workbench_pipelines.budget import Budget
from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.catalog.training_sheet_specs import GenerationSpec
from workbench_pipelines.clients.embedded_model import is_embedded
from workbench_pipelines.clients.kept_answers import KeptAnswers
from workbench_pipelines.clients.prices import has_price
from workbench_pipelines.clients.runner import CHUNK, Runner
from workbench_pipelines.disclosure import withheld
from workbench_pipelines.errors import DefinitionError, SourceError
from workbench_pipelines.generation import Answer, Model, ask_once_more
from workbench_pipelines.generation_plan import IsKept
from workbench_pipelines.pacing import Pace
from workbench_pipelines.progress import Tally
from workbench_pipelines.requests import Answered, Request
from workbench_pipelines.stated_policies import outdated, policies_in
from workbench_pipelines.workbench import Workbench

# Progress in a run's events: often enough to see that it goes on, seldom enough to stay readable.
SAY_EVERY_S = 10.0


@dataclass(frozen=True)
class Asked:
    """The models that answer, in the order in which they are tried, and how they are asked."""

    workbench: Workbench
    models: tuple[Model, ...]
    how: GenerationSpec
    budgets: tuple[Budget, ...]

    @property
    def first(self) -> Model:
        return self.models[0]

    def answer(
        self,
        read: Read,
        say: Callable[[str], None] | None = None,
        may_ask: Callable[[Request], bool] = lambda request: True,
    ) -> Answer:
        """Asks questions: found ones cost nothing, the others are paid once and kept.

        Args:
            read: whether an answer can be used.
            say: takes a line of progress now and then.
            may_ask: which questions may be asked; the others are only looked for.

        What it returns raises MissingPart for a model that can not be asked, and BudgetSpent once a budget is; what was
        answered is kept.
        """
        llm = self.workbench.llm
        at_once = {model.name: llm.at_once(model.name, self.how.at_once) for model in self.models}
        pace = {name: self._pace(count) for name, count in at_once.items()}

        def answer(questions: Iterable[Request], total: int) -> Iterator[Answered]:
            runner = Runner(
                self.workbench.store,
                llm.connected,
                pace=pace,
                otherwise=self._pace(1),
                budgets=self.budgets,
                pending=partial(refuse_waiting, self.workbench, self.follow_up(read)),
            )
            answers = runner.answer(
                (self.variants(one) for one in questions),
                total,
                read,
                follow_up=self.follow_up(read),
                may_ask=may_ask,
                on_progress=self._teller(say),
            )
            for one in answers:
                self.workbench.llm_calls += sum(outcome.calls for outcome in one.paid)
                yield one

        return answer

    def batch_terms(
        self,
        training_sheet: str,
        read: Read,
        may_ask: Callable[[Request], bool] = lambda request: True,
        asks_again: Callable[[Request], bool] = lambda request: False,
    ) -> BatchTerms:
        """The terms on which a TrainingSheet asks by batches.

        Args:
            asks_again: which questions are asked although an answer came that can not be used, or none.
        """
        return BatchTerms(
            training_sheet,
            self.first,
            self.budgets,
            read,
            self.follow_up(read),
            may_ask=may_ask,
            asks_again=asks_again,
        )

    def is_kept(self, read: Read) -> IsKept:
        """Whether questions have a usable answer in the store."""
        kept = KeptAnswers(self.workbench.store, read, self.follow_up(read))

        def is_kept(questions: Sequence[Request]) -> list[bool]:
            usable = kept.usable([self.variants(one) for one in questions])
            return [one.request_hash in usable for one in questions]

        return is_kept

    def tried(self, read: Read, questions: Iterable[Request]) -> set[str]:
        """The pairs of which the store holds answers, and none that is usable."""
        kept = KeptAnswers(self.workbench.store, read, self.follow_up(read))
        found: set[str] = set()
        waiting = iter(questions)
        while chunk := list(islice(waiting, CHUNK)):
            hashes = kept.tried([self.variants(one) for one in chunk])
            found |= {one.pair_id for one in chunk if one.request_hash in hashes}
        return found

    def withheld(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The prompts that these models may not be shown, with why: rows of `generation.REFUSALS`.

        Raises:
            SourceError: when a definition states other uses than when the prompts were made, and a model is outside the house.
        """
        outside = [model.name for model in self.models if not self.workbench.llm.is_in_house(model.name)]
        if self.how.allow_restricted or not outside:
            return withheld(prompts, [])
        catalog = self.workbench.catalog()
        for line in outdated(catalog, policies_in(prompts["usage_statements"].unique())).values():
            raise SourceError(
                f"{line}; make its snapshot and its prompts anew before {' and '.join(outside)} is shown them"
            )
        return withheld(prompts, outside)

    def follow_up(self, read: Read) -> FollowUp:
        """What an answer that can not be used is asked once more."""
        return ask_once_more(read) if self.how.ask_once_more else lambda request, completion: None

    def variants(self, request: Request) -> tuple[Request, ...]:
        """A question to each of the models."""
        others = (request.of_model(one.name, one.revision, one.endpoint) for one in self.models[1:])
        return (request, *others)

    def _pace(self, at_once: int) -> Pace:
        return Pace(at_once, self.how.requests_per_minute, self.how.tokens_per_minute, self.how.timeout_s)

    def _teller(self, say: Callable[[str], None] | None) -> Callable[[Tally], None]:
        said = time.monotonic()

        def tell(tally: Tally) -> None:
            nonlocal said
            self.workbench.on_progress(tally.done, tally.total, f"{self.first.name}: {tally.line}")
            ended = tally.done == tally.total
            if say is not None and (ended or time.monotonic() - said >= SAY_EVERY_S):
                said = time.monotonic()
                say(tally.line)

        return tell


def model_of(workbench: Workbench, training_sheet: TrainingSheet, template: PromptTemplate) -> str:
    """The id of the model a TrainingSheet asks: WORKBENCH_MODEL before its own before its template's.

    Raises:
        DefinitionError: when none of them names one.
    """
    model = workbench.settings.model or training_sheet.spec.model or template.spec.base_model
    if model is None:
        file = workbench.catalog().file_of("TrainingSheet", training_sheet.name)
        raise DefinitionError(
            f"{file}: TrainingSheet {training_sheet.name}: spec.model: no model is named here, in template "
            f"{template.name} or in WORKBENCH_MODEL"
        )
    return model


def asked(
    workbench: Workbench, name: str, how: GenerationSpec | None = None, where: str = "", own: Budget | None = None
) -> Asked:
    """The models that are asked, by the id of the first one, with what their requests are named by.

    Args:
        how: how they are asked, and which others may take its place.
        where: what the budget of `how` belongs to.
        own: the budget of `how`, where others pay into it too.

    Raises:
        MissingPart: for an unknown id, a missing file or key; BudgetSpent for a price that nobody knows where a budget is
            set. Nothing has been called then.
    """
    how = how or GenerationSpec()
    budgets = [workbench.budget]
    if own is not None:
        budgets.append(own)
    elif how.budget_usd is not None:
        budgets.append(Budget(f"{where}: spec.generation.budget_usd", how.budget_usd))
    models = []
    for model in (name, *how.fallback_models):
        workbench.llm.check(model)
        for budget in budgets:
            budget.refuse_model(
                model, is_free=is_embedded(model), is_priced=has_price(model) or how.allow_unknown_price
            )
        models.append(Model(model, workbench.llm.revision(model), workbench.llm.endpoint(model)))
    return Asked(workbench, tuple(models), how, tuple(budgets))
