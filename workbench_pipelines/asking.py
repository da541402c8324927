"""Who answers: the model a TrainingSheet or an evaluation asks, through the request store that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.clients.generator import Generator, Tally
from workbench_pipelines.errors import BudgetSpent, DefinitionError, MissingPart
from workbench_pipelines.generation import Drafts, draft_pairs
from workbench_pipelines.requests import Answered, Completion, IsGood, Request
from workbench_pipelines.workbench import Workbench

# Progress in a run's events: often enough to see that it goes on, seldom enough to stay readable.
SAY_EVERY = 25


@dataclass(frozen=True)
class Asked:
    """A model that can be asked: its id, the digest of its file if it is local, its address if it is not the usual one."""

    workbench: Workbench
    model: str
    revision: str | None
    endpoint: str | None

    def answer(
        self, requests: Sequence[Request], is_good: IsGood, say: Callable[[str], None] | None = None
    ) -> Iterable[Answered]:
        """Each request with its outcome; found ones cost nothing, the others are paid once and kept.

        Raises:
            MissingPart: before any call, for a model that can not be asked.
            BudgetSpent: once the budget is reached, or where the price of an answer is unknown; what was answered is kept.
        """
        llm = self.workbench.llm
        generator = Generator(self.workbench.store, llm.complete, max_workers=llm.workers(self.model))

        def tell(tally: Tally) -> None:
            self.workbench.on_progress(tally.done, tally.total, self.model)
            if say is not None and (tally.done % SAY_EVERY == 0 or tally.done == tally.total):
                say(f"{tally.done} of {tally.total} answered, {tally.store_hits} from the store, {tally.calls} calls")

        for answered in generator.answer(requests, is_good, tell):
            yield answered
            if not answered.from_store and isinstance(answered.outcome, Completion):
                self._hold_to_budget(answered.outcome)

    def _hold_to_budget(self, paid: Completion) -> None:
        budget = self.workbench.settings.budget_usd
        if budget is None:
            return
        if paid.cost_usd is None:
            raise BudgetSpent(
                f"model {self.model}: its price is unknown, and WORKBENCH_BUDGET_USD is set; unset it to run all the same"
            )
        self.workbench.spent_usd += paid.cost_usd
        if self.workbench.spent_usd >= budget:
            raise BudgetSpent(
                f"model {self.model}: {self.workbench.spent_usd:.4f} USD are spent of a budget of {budget:g}; the answers "
                "so far are kept, raise WORKBENCH_BUDGET_USD to go on"
            )


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


def asked(workbench: Workbench, model: str) -> Asked:
    """A model by its id, with what its requests are named by.

    Raises:
        MissingPart: for an unknown id, a missing file or key; nothing has been called then.
    """
    workbench.llm.check(model)
    return Asked(workbench, model, workbench.llm.revision(model), workbench.llm.endpoint(model))


def draft_training_sheet(
    workbench: Workbench,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live: pl.DataFrame,
    say: Callable[[str], None],
) -> Drafts:
    """The drafts of a TrainingSheet; a model is only looked for where its labeling mode asks one.

    Args:
        live: rows of `label/canonical_labels` that stand for this task.
        say: takes a line of progress for the run's events.
    """
    model = Asked(workbench, "", None, None)
    try:
        if training_sheet.spec.labeling_mode == "ai_generated":
            model = asked(workbench, model_of(workbench, training_sheet, template))
        return draft_pairs(
            training_sheet,
            template,
            rendered,
            dict(live.select("item_ref", "canonical_label_id").iter_rows()),
            model=model.model,
            revision=model.revision,
            endpoint=model.endpoint,
            answer=lambda requests, is_good: model.answer(requests, is_good, say),
        )
    except MissingPart as error:
        file = workbench.catalog().file_of("TrainingSheet", training_sheet.name)
        raise MissingPart(f"{file}: TrainingSheet {training_sheet.name}: {error.line}") from None


def ask_base_model(
    workbench: Workbench, rows: pl.DataFrame, training_sheet: TrainingSheet, template: PromptTemplate, model: str
) -> Drafts:
    """What a base model says to these prompts when it is asked directly, whatever their TrainingSheet's labeling mode.

    Input columns: training_sheet, sheet, item_ref, pair_id, label_type, messages.

    Raises:
        MissingPart: before any call, for a model that can not be asked.
    """
    base = asked(workbench, model)
    spec = training_sheet.spec.model_copy(update={"labeling_mode": "ai_generated", "column": None})
    return draft_pairs(
        training_sheet.model_copy(update={"spec": spec}),
        template,
        rows,
        {},
        model=base.model,
        revision=base.revision,
        endpoint=base.endpoint,
        answer=base.answer,
    )
