"""The base model as a baseline: asked directly, through the request store, on a sample of the test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.drafting import ask_base_model
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.modelling import field_value
from workbench_pipelines.requests import total_cost
from workbench_pipelines.workbench import Workbench


class BaseModelAnswers:
    """Asks the base models of a Collection's templates, and counts what that took.

    A base model that can not be asked here is left out of the comparison; `figures` then says why.
    """

    def __init__(self, workbench: Workbench, catalog: Catalog, say: Callable[[str], None]) -> None:
        self._workbench, self._catalog, self._say = workbench, catalog, say
        self._calls, self._hits = 0, 0
        self._costs: list[float | None] = []
        self._missing: str | None = None

    def __call__(self, rows: pl.DataFrame, target: str) -> Mapping[str, str | None]:
        """The base model's value of a field by pair_id; None where it gave no usable answer.

        Input columns: those of `train/governed_export`.
        """
        found: dict[str, str | None] = {}
        for (name,), part in rows.group_by("training_sheet", maintain_order=True):
            training_sheet = self._catalog.training_sheet(str(name))
            template = self._catalog.template_for(training_sheet)
            model = self._workbench.settings.model or template.spec.base_model or training_sheet.spec.model
            if model is None:
                continue
            try:
                drafts = ask_base_model(self._workbench, part, training_sheet, template, model)
            except MissingPart as error:
                self._missing = error.line
                self._say(f"the base model is left out: {error.line}")
                continue
            self._calls += drafts.calls
            self._hits += drafts.store_hits
            self._costs.append(drafts.cost_usd)
            answers = dict(drafts.frame.select("pair_id", "response").iter_rows())
            found |= {pair_id: field_value(answers.get(pair_id), target) for pair_id in part["pair_id"]}
        return found

    def figures(self) -> dict[str, int | float | str]:
        """Calls, answers found and cost, as a run reports them."""
        cost = total_cost(self._costs)
        missing = {"base_model_left_out": self._missing} if self._missing else {}
        return {
            "llm_calls": self._calls,
            "store_hits": self._hits,
            "cost_usd": "unknown" if cost is None else cost,
            **missing,
        }


def base_model_answers(workbench: Workbench, say: Callable[[str], None]) -> BaseModelAnswers:
    """The base models of a Collection's templates, ready to be asked."""
    return BaseModelAnswers(workbench, workbench.catalog(), say)
