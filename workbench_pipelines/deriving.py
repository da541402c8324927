"""Deriving: the steps of a TrainingSheet asked of its models, each answer through the store that all requests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import polars as pl

from workbench_pipelines.answers import answer_reader
from workbench_pipelines.asking import Asked, asked, model_of
from workbench_pipelines.bindings import bindings_of
from workbench_pipelines.budget import Budget
from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.catalog.variety import StepSpec
from workbench_pipelines.clients.prices import cost_at_most
from workbench_pipelines.drafting import refuse_silence, through_net
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.generation import Drafts, draft_pairs
from workbench_pipelines.generation_plan import Plan, plan_drafts
from workbench_pipelines.identity import digest
from workbench_pipelines.netting import net_of
from workbench_pipelines.prompts import REFUSALS, taken_items
from workbench_pipelines.rendering import compiled_template, place_of, render_step
from workbench_pipelines.requests import total_cost
from workbench_pipelines.steps import (
    DERIVED_ITEMS,
    Made,
    Unmade,
    before_steps,
    chosen_for,
    derived_rows,
    made_of,
)  # fmt: skip
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class Making:
    """What the steps of a TrainingSheet made, what came to nothing, and what that took.

    Attributes:
        frame: rows of `DERIVED_ITEMS`.
        refusals: rows of `prompts.REFUSALS`: the item that a step was asked of, and why nothing came of it.
        asked: the drafts of each round.
        plans: what each round would take, with the most that it would cost, where nothing is paid.
    """

    frame: pl.DataFrame
    refusals: pl.DataFrame
    asked: tuple[Drafts, ...] = ()
    plans: tuple[tuple[Plan, float | None], ...] = ()

    @property
    def cost_usd(self) -> float | None:
        return total_cost([one.cost_usd for one in self.asked])


def make_items(
    workbench: Workbench,
    training_sheet: TrainingSheet,
    snapshot: pl.DataFrame,
    say: Callable[[str], None] = lambda line: None,
    *,
    pays: bool = True,
) -> Making:
    """The items that the steps of a TrainingSheet make of those of its Sheet; nothing for one without steps.

    Where `pays` is False, answers are only looked for, and `plans` says what was not found.

    Raises:
        DefinitionError, TemplateError, SourceError, FilterError: as rendering its prompts.
        MissingPart: for a model that can not be asked; BudgetSpent once a budget is.
    """
    if not training_sheet.spec.steps:
        return Making(DERIVED_ITEMS.to_frame(), REFUSALS.to_frame())
    maker = _Maker(workbench, training_sheet, snapshot, say, pays)
    where = place_of(workbench.catalog(), training_sheet)
    taken = taken_items(training_sheet, snapshot, where)
    made = before_steps(training_sheet, taken.iter_rows(named=True))
    maker.refuse(Unmade(ref, "nothing_to_cut", "the column that is cut holds no text") for ref in made if not made[ref])
    for step in training_sheet.spec.steps:
        kept: list[Made] = []
        for number in range(1, step.repeat + 1):
            # A round goes on with what the one before made; what is kept is done with this step.
            kept += [made] if step.keep_parent else []
            made = maker.round(step, number, made)
        made = {root: [one for part in (*kept, made) for one in part[root]] for root in made}
    refusals = pl.concat(maker.refusals).sort("item_ref", "reason")
    return Making(derived_rows(training_sheet, made), refusals, tuple(maker.asked), tuple(maker.plans))


class _Maker:
    """One run over the steps of a TrainingSheet."""

    def __init__(
        self,
        workbench: Workbench,
        training_sheet: TrainingSheet,
        snapshot: pl.DataFrame,
        say: Callable[[str], None],
        pays: bool,
    ) -> None:
        self.workbench, self.snapshot, self.say, self.pays = workbench, snapshot, say, pays
        self.catalog = workbench.catalog()
        self.training_sheet = training_sheet
        self.net = net_of(workbench, self.catalog, training_sheet.spec.sheet, snapshot)
        # People may be the ones who answer what steps made; the steps themselves ask models.
        spec = training_sheet.spec.model_copy(update={"labeling_mode": "ai_generated", "column": None})
        self._as_asked = training_sheet.model_copy(update={"spec": spec})
        self._where = place_of(self.catalog, training_sheet)
        limit = training_sheet.spec.generation.budget_usd
        self._budget = None if limit is None else Budget(f"{self._where}: spec.generation.budget_usd", limit)
        self.refusals = [REFUSALS.to_frame()]
        self.asked: list[Drafts] = []
        self.plans: list[tuple[Plan, float | None]] = []

    def round(self, step: StepSpec, number: int, made: Made) -> Made:
        """The items that a round of a step makes."""
        template = self.catalog.step_template(self.training_sheet, step)
        before = {root: [chosen_for(step, number, one) for one in items] for root, items in made.items()}
        rendered = render_step(self.catalog, self.training_sheet, step, self.snapshot, before, self.net)
        self.refusals.append(rendered.refusals)
        # A step asks under a name of its own, beside the pair that the item may become.
        name = pl.col("pair_id").map_elements(lambda pair: digest(["step", step.name, number, pair]), pl.String)
        drafts = self._drafts(step, template, rendered.frame.with_columns(name))
        self.asked.append(drafts)
        self.refusals.append(
            drafts.refusals.with_columns(pl.concat_str(pl.lit(f"step {step.name}: "), "detail").alias("detail"))
        )
        answers = {row["item_ref"]: row for row in drafts.frame.iter_rows(named=True)}
        variables = compiled_template(self.catalog, template).variables
        bindings = {**self.training_sheet.spec.bindings, **bindings_of(self.training_sheet, template, variables)}
        after: Made = {}
        for root, items in before.items():
            after[root] = []
            for one in items:
                answer = answers.get(one.item_ref)
                if answer is None:
                    continue
                facts = {
                    "template": template.name,
                    "template_version": template.spec.version,
                    "model": answer["model"],
                    "request_hash": answer["request_hash"],
                }
                children, unmade = made_of(step, number, one, answer["response"], facts, bindings)
                after[root] += children
                self.refuse(unmade)
        return after

    def refuse(self, unmade: Iterable[Unmade]) -> None:
        rows = [(self.training_sheet.name, one.item_ref, None, one.reason, one.detail) for one in unmade]
        self.refusals.append(pl.DataFrame(rows, schema=REFUSALS, orient="row"))

    def _drafts(self, step: StepSpec, template: PromptTemplate, prompts: pl.DataFrame) -> Drafts:
        models = self._models(step, template)
        held = models.withheld(prompts)
        prompts = prompts.join(held, on="pair_id", how="anti", maintain_order="left")
        read = answer_reader(json_schema_of(template.spec.output_schema))
        if not self.pays:
            plan = plan_drafts(
                self._as_asked,
                template,
                prompts,
                {},
                model=models.first,
                is_kept=models.is_kept(read),
                asks_once_more=models.how.ask_once_more,
            )
            tokens = (plan.prompt_tokens_at_most, plan.completion_tokens_at_most)
            prices = [cost_at_most(model.name, *tokens) for model in models.models]
            known = None if None in prices else max(price for price in prices if price is not None)
            self.plans.append((plan, known))
        answer = models.answer(read, self.say, lambda request: self.pays)
        drafts = draft_pairs(self._as_asked, template, prompts, {}, model=models.first, answer=answer)
        if self.pays:
            refuse_silence(drafts, models.first.name)
        drafts = replace(drafts, refusals=pl.concat([drafts.refusals, held]))
        return (
            drafts if self.net is None else through_net(drafts, self.net, json_schema_of(template.spec.output_schema))
        )

    def _models(self, step: StepSpec, template: PromptTemplate) -> Asked:
        own = self._as_asked
        if step.model is not None:
            own = own.model_copy(update={"spec": own.spec.model_copy(update={"model": step.model})})
        try:
            model = model_of(self.workbench, own, template)
            return asked(self.workbench, model, own.spec.generation, self._where, self._budget)
        except MissingPart as error:
            raise MissingPart(f"{self._where}: spec.steps.{step.name}: {error.line}") from None
