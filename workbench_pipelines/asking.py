"""Who answers: the models a TrainingSheet or an evaluation asks, through the request store that all of them share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from workbench_pipelines.answers import Read, answer_reader
from workbench_pipelines.batch_asking import answer_by_batches
from workbench_pipelines.batch_collecting import collect_batches
from workbench_pipelines.batch_tries import BatchTerms, FollowUp, refuse_waiting
from workbench_pipelines.batches import PENDING
from workbench_pipelines.budget import Budget
from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.catalog.documents import GenerationSpec
from workbench_pipelines.clients.embedded_model import is_embedded
from workbench_pipelines.clients.kept_answers import KeptAnswers
from workbench_pipelines.clients.language_identification import identify
from workbench_pipelines.clients.prices import has_price
from workbench_pipelines.clients.runner import Runner
from workbench_pipelines.disclosure import RESTRICTED, withheld
from workbench_pipelines.errors import DefinitionError, MissingPart
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.generation import REFUSALS, Answer, Drafts, Model, ask_once_more, asked_prompts, draft_pairs
from workbench_pipelines.generation_plan import IsKept
from workbench_pipelines.languages import language_reader, languages_of, wanted_languages
from workbench_pipelines.pacing import Pace
from workbench_pipelines.pair_judgements import standing_decisions
from workbench_pipelines.progress import Tally
from workbench_pipelines.quotas import fill
from workbench_pipelines.requests import Answered, Request
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

    def withheld(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The prompts that these models may not be shown, with why: rows of `generation.REFUSALS`."""
        outside = [model.name for model in self.models if not self.workbench.llm.is_in_house(model.name)]
        return withheld(prompts, [] if self.how.allow_restricted else outside)

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


def draft_training_sheet(
    workbench: Workbench,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live: pl.DataFrame,
    say: Callable[[str], None],
    *,
    asks_again: bool = True,
) -> Drafts:
    """The drafts of a TrainingSheet; a model is only looked for where its labeling mode asks one.

    Args:
        live: rows of `label/canonical_labels` that stand for this task.
        say: takes a line of progress for the run's events.
        asks_again: whether a batch asks again what was answered, but not usably, or refused.
    """
    spec = training_sheet.spec
    file = workbench.catalog().file_of("TrainingSheet", training_sheet.name)
    where = f"{file}: TrainingSheet {training_sheet.name}"
    model = Model("")
    answer: Answer = _nobody
    read: Read | None = None
    labels = dict(live.select("item_ref", "canonical_label_id").iter_rows())
    held = REFUSALS.to_frame()
    try:
        if spec.labeling_mode == "ai_generated":
            models = asked(workbench, model_of(workbench, training_sheet, template), spec.generation, where)
            read = reader_of(training_sheet, template, rendered)
            refused = _refused_before(workbench, training_sheet.name)
            may_ask = refused.__contains__ if workbench.retries_refused else _anything
            model = models.first
            held = models.withheld(asked_prompts(training_sheet, rendered, labels))
            rendered = rendered.join(held, on="pair_id", how="anti", maintain_order="left")
            if spec.generation.mode == "batch":
                # What a batch brought is told once before it is asked again.
                told = {pair_id for pair_id, reason in refused.items() if reason != PENDING} if asks_again else set()
                terms = models.batch_terms(
                    training_sheet.name, read, lambda one: may_ask(one.pair_id), lambda one: one.pair_id in told
                )
                answer = partial(answer_by_batches, workbench, terms, say=say)
            else:
                for one in collect_batches(workbench, [training_sheet.name]):
                    say(one.line)
                answer = models.answer(read, say, lambda one: may_ask(one.pair_id))

        def draft(prompts: pl.DataFrame) -> Drafts:
            return draft_pairs(training_sheet, template, prompts, labels, model=model, answer=answer, read=read)

        if spec.targets is None:
            drafts = draft(rendered)
        else:
            drafts = fill(spec.targets, rendered, labels, rejected_pairs(workbench, training_sheet), draft)
        refuse_silence(drafts, model.name)
        refusals = pl.concat([drafts.refusals, held]).sort("item_ref", "pair_id")
        return replace(drafts, refusals=refusals, frame=_in_languages(training_sheet, drafts.frame))
    except MissingPart as error:
        raise MissingPart(f"{where}: {error.line}") from None


def reader_of(training_sheet: TrainingSheet, template: PromptTemplate, rendered: pl.DataFrame) -> Read:
    """What answers to the prompts of a TrainingSheet say: what fits the schema, in the language that is asked for."""
    read = answer_reader(json_schema_of(template.spec.output_schema))
    spec = training_sheet.spec.answer_language
    return read if spec is None else language_reader(read, spec, wanted_languages(spec, rendered), identify)


def _in_languages(training_sheet: TrainingSheet, drafts: pl.DataFrame) -> pl.DataFrame:
    """Drafts with the language of each answer, where the TrainingSheet asks for one."""
    spec = training_sheet.spec.answer_language
    if spec is None:
        return drafts
    return drafts.with_columns(pl.Series("language", languages_of(drafts["response"], spec, identify), pl.String))


def rejected_pairs(workbench: Workbench, training_sheet: TrainingSheet) -> dict[str, str | None]:
    """By pair, the hash of the answer that a person rejected."""
    ledger = workbench.sheet_decisions(workbench.catalog().sheet(training_sheet.spec.sheet))
    standing = standing_decisions(ledger).filter(pl.col("action") == "reject")
    return dict(standing.select("pair_id", "decided_on").iter_rows())


def refuse_silence(drafts: Drafts, model: str) -> None:
    """Raises MissingPart where a model answered nothing at all: no table is made of that, and the one before stays."""
    reasons = drafts.refusals["reason"]
    answered = drafts.frame["request_hash"].count()
    if drafts.calls and not answered and reasons.len() and (reasons == "transient").all():
        raise MissingPart(
            f"model {model}: no answer to any of {reasons.len()} items in {drafts.calls} calls; is it reachable? run again"
        )


def _nobody(questions: Iterable[Request], total: int) -> Iterable[Answered]:
    raise AssertionError("a TrainingSheet that asks no model has no questions")


def _anything(pair_id: str) -> bool:
    return True


def _refused_before(workbench: Workbench, name: str) -> dict[str, str]:
    """The reasons for which the last run of a TrainingSheet made no pairs, by pair_id."""
    table = ("generate", "generated_pairs_refusals")
    if not workbench.lake.exists(*table):
        return {}
    rows = workbench.lake.read(*table, partition={"training_sheet": [name]})
    return dict(rows.select("pair_id", "reason").iter_rows())


def ask_base_model(
    workbench: Workbench, rows: pl.DataFrame, training_sheet: TrainingSheet, template: PromptTemplate, model: str
) -> Drafts:
    """What a base model says to these prompts when it is asked directly, whatever their TrainingSheet's labeling mode.

    A model outside the house is not asked about restricted rows.

    Input columns: training_sheet, sheet, item_ref, pair_id, label_type, messages, data_classification.

    Raises:
        MissingPart: before any call, for a model that can not be asked.
    """
    base = asked(workbench, model)
    if not workbench.llm.is_in_house(model):
        rows = rows.filter(pl.col("data_classification") != RESTRICTED)
    read = answer_reader(json_schema_of(template.spec.output_schema))
    spec = training_sheet.spec.model_copy(update={"labeling_mode": "ai_generated", "column": None})
    return draft_pairs(
        training_sheet.model_copy(update={"spec": spec}),
        template,
        rows,
        {},
        model=base.first,
        answer=base.answer(read),
    )
