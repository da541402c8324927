"""What people are asked: the open pairs of a TrainingSheet, or the items of a Sheet for a task, as one person may see them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from workbench_pipelines.bindings import bindings_of
from workbench_pipelines.clients.image_reader import image_size
from workbench_pipelines.derivation import MARK
from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.identity import response_hash, seen_hash
from workbench_pipelines.rendering import compiled_template, seen_by_default
from workbench_pipelines.restrictions import OPEN_CLASSIFICATIONS, SNAPSHOT_COLUMNS, restrictions_of
from workbench_pipelines.review_page.item_views import ItemViews
from workbench_pipelines.review_page.queues import Queues
from workbench_pipelines.review_page.tables import PAIRS, Tables
from workbench_pipelines.review_queue import NEEDS
from workbench_pipelines.review_tasks import Asked, Picture, ReviewTask, item_task
from workbench_pipelines.volumes import IMAGE_PREFIX, image_columns, path_column, volumes_of
from workbench_pipelines.workbench import Workbench

PROMPTS = ("generate", "rendered_prompts")
MOST_BYTES = 8 * 1024**2  # an image goes along as text, a third longer, in every look at its task


def ask(
    workbench: Workbench,
    name: str,
    person: str | None,
    *,
    task: str | None = None,
    needs: Sequence[str] = (),
    limit: int | None = None,
    shared: bool = False,
) -> Asked:
    """What is asked of a TrainingSheet, or with a task of the items of a Sheet.

    Args:
        person: who is asked; None for somebody who may see nothing that is restricted.
        needs: pairs of these needs alone.
        limit: at most so many, in the order of the queue.
        shared: whether it goes to a place where people see what others say: what several people answer for on their own is
            left out then, and the images of the items come along.

    Raises:
        ArgumentError, DefinitionError: for a need, a TrainingSheet, a Sheet or a task that there is not.
    """
    asked = Questions(workbench)
    if task is not None:
        return asked.of_items(name, task, person, limit=limit, shared=shared)
    return asked.of_pairs(name, person, needs=needs, limit=limit, shared=shared)


class Questions:
    """The questions of one project, for back ends that are handed them."""

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench
        self.tables = Tables(workbench)
        self.queues = Queues(self.tables)
        self.items = ItemViews(self.tables)

    def of_pairs(
        self,
        name: str,
        person: str | None,
        *,
        needs: Sequence[str] = (),
        limit: int | None = None,
        shared: bool = False,
    ) -> Asked:
        """The pairs of a TrainingSheet that wait for a person, in the order of their queue.

        Args:
            person: who is shown them; None for somebody who may see nothing that is restricted.
            needs: those of these needs alone.
            shared: as for `ask`.

        Raises:
            ArgumentError: for a need that there is not.
            DefinitionError: for a TrainingSheet or template that is not defined or broken.
        """
        for need in needs:
            if need not in NEEDS:
                raise ArgumentError(f"--needs: '{need}' is no need{nearest(need, NEEDS)}")
        training_sheet = self.tables.catalog.training_sheet(name)
        template = self.tables.catalog.template_for(training_sheet)
        label_type = template.spec.label_type
        schema = self.tables.catalog.label_schema(label_type)
        rows = self.queues.open_rows(name, person)
        if needs:
            rows = rows.filter(pl.col("need").is_in(list(needs)))
        sees = person is not None and self.tables.roles().sees_restricted(person)
        is_open = pl.col("data_classification").is_in(OPEN_CLASSIFICATIONS).fill_null(False) | pl.lit(sees)
        shown = rows.filter(is_open).sort("rank")
        apart = shown.filter(self.tables.panels().only(shown)) if shared else shown.clear()
        shown = shown.join(apart.select("pair_id"), on="pair_id", how="anti", maintain_order="left")
        shown = shown if limit is None else shown.head(limit)
        bound = bindings_of(training_sheet, template, compiled_template(self.tables.catalog, template).variables)
        pictures = {variable: bound.get(variable, variable) for variable in template.spec.attachments}
        tasks = [self._task(row, pictures, shared) for row in self._with_pairs(name, shown, person or "")]
        waiting = set(self.queues.open_rows(name, person).filter(is_open)["pair_id"]) - set(apart["pair_id"])
        withheld = rows.filter(~is_open).height
        return Asked(tasks, withheld, label_type, schema, frozenset(waiting), apart.height)

    def of_items(
        self, sheet: str, label_type: str, person: str | None, *, limit: int | None = None, shared: bool = False
    ) -> Asked:
        """The items of a Sheet that have no label for a task yet, each with the columns the task is decided by.

        Raises:
            DefinitionError, ArgumentError: for a Sheet or task that there is not.
        """
        schema = self.tables.catalog.label_schema(label_type)
        document = self.tables.catalog.sheet(sheet)
        items = self.tables.items(sheet)
        hidden = restrictions_of(self.tables.catalog).sheets.get(sheet)
        sees = person is not None and self.tables.roles().sees_restricted(person)
        technical = {path_column(source) for source in volumes_of(document)} | SNAPSHOT_COLUMNS
        known = [name for name in items.columns if name not in technical and not name.endswith("_sha256")]
        columns = [
            name for name in seen_by_default(self.tables.catalog, sheet, label_type, items.columns) if name in known
        ]
        visible = [name for name in columns if sees or (hidden is not None and name not in hidden)]
        waiting = self.queues.open_items(sheet, label_type, person or "")
        if not visible:
            return Asked([], len(waiting), label_type, schema)
        panels = self.tables.panels()
        apart = {ref for ref in waiting if shared and panels.asks_several((sheet, ref, label_type))}
        waiting = [ref for ref in waiting if ref not in apart]
        chosen = waiting if limit is None else waiting[:limit]
        order = pl.DataFrame({"item_ref": chosen}, schema={"item_ref": pl.String()})
        rows = order.join(items, on="item_ref", how="left", maintain_order="left")
        pictures = [name for name in visible if name in image_columns(document)]
        tasks = [
            ReviewTask(
                sheet=sheet,
                item_ref=row["item_ref"],
                label_type=label_type,
                shown={name: row[name] for name in visible if name not in pictures},
                seen_columns=tuple(sorted(visible)),
                seen_hash=seen_hash(row, visible),
                pictures=self._pictures(sheet, row["item_ref"], pictures) if shared else {},
            )
            for row in rows.iter_rows(named=True)
        ]
        names = frozenset(item_task(sheet, ref, label_type) for ref in waiting)
        return Asked(tasks, 0, label_type, schema, names, len(apart))

    def _with_pairs(self, name: str, rows: pl.DataFrame, person: str) -> list[dict[str, Any]]:
        """Queue rows with what their pairs hold, what was shown of their items, and the answer that is proposed now.

        Whoever answers on their own is proposed what a model wrote, and nothing that somebody else said.
        """
        lake = self.workbench.lake
        if rows.is_empty() or not lake.exists(*PAIRS):
            return []
        wanted = pl.col("pair_id").is_in(rows["pair_id"].implode())
        pairs = lake.scan(*PAIRS, partition={"training_sheet": [name]}).filter(wanted)
        held = pairs.select(
            "pair_id",
            "messages",
            "inputs",
            "seen_hash",
            "model",
            "ai_confidence",
            "labeling_mode",
            pl.col("response").alias("draft"),
        ).collect()
        prompts = lake.scan(*PROMPTS, partition={"training_sheet": [name]}).filter(wanted)
        seen = prompts.select("pair_id", "seen_hash", "seen_columns").collect()
        sheet = rows["sheet"][0]
        proposed = self.tables.labels(sheet).filter(pl.col("proposed_by").is_not_null() & ~pl.col("stale"))
        proposals = proposed.select("item_ref", "label_type", pl.col("label_data").alias("proposal"))
        known = (
            rows.drop("response", "response_hash")
            .join(held, on="pair_id", maintain_order="left")
            .join(seen, on=["pair_id", "seen_hash"], how="left", maintain_order="left")
            .join(proposals, on=["item_ref", "label_type"], how="left", maintain_order="left")
            .with_columns(pl.coalesce("proposal", "draft").alias("response"))
        )
        found = known.with_columns(self.tables.panels().only(known).alias("several")).to_dicts()
        for row in found:
            key = (row["sheet"], row["item_ref"], row["label_type"])
            if row["several"] and self.items.sight(*key, person).blind:
                row["response"] = None if row["labeling_mode"] == "canonical" else row["draft"]
        return found

    def _task(self, row: Mapping[str, Any], pictures: Mapping[str, str], shared: bool) -> ReviewTask:
        response = row["response"]
        inputs = json.loads(row["inputs"] or "{}")
        return ReviewTask(
            sheet=row["sheet"],
            item_ref=row["item_ref"],
            label_type=row["label_type"],
            shown={name: value for name, value in inputs.items() if name not in pictures},
            # Without the prompt that showed it, the inbox says what the item shows when it takes the judgement.
            seen_columns=tuple(row["seen_columns"] or ()),
            seen_hash=row["seen_hash"] if row["seen_columns"] else "",
            training_sheet=row["training_sheet"],
            pair_id=row["pair_id"],
            response=response,
            response_hash=None if response is None else response_hash(response),
            messages=tuple((one["role"], one["content"]) for one in row["messages"] or ()),
            need=row["need"],
            detail=row["detail"],
            model=row["model"],
            ai_confidence=row["ai_confidence"],
            pictures=self._pictures(row["sheet"], row["item_ref"], list(pictures.values())) if shared else {},
        )

    def _pictures(self, sheet: str, item_ref: str, columns: Sequence[str]) -> dict[str, Picture]:
        """The images of an item; one that can not be read, or is too large to go along, is left out.

        Whoever is handed the tasks may see their columns: that was decided before.
        """
        paths = image_columns(self.tables.catalog.sheet(sheet))
        # What is derived of an item has its images.
        refs = [item_ref, *(item_ref[:place] for place, character in enumerate(item_ref) if character == MARK)]
        row = next(iter(self.tables.items(sheet).filter(pl.col("item_ref").is_in(refs)).to_dicts()), {})
        found: dict[str, Picture] = {}
        for column in columns:
            if column not in paths or not row.get(column):
                continue
            image = self.workbench.attachments.read(row[paths[column]], str(row[column]).removeprefix(IMAGE_PREFIX))
            if isinstance(image, tuple) and len(image[0]) <= MOST_BYTES:
                uri = f"data:{image[1]};base64,{base64.b64encode(image[0]).decode()}"
                found[column] = Picture(uri, *image_size(image[0]))
        return found
