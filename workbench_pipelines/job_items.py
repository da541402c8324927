"""What a labeling job can give out: the items that wait, those of them that are free, and who may have them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.access import TEAM, Roles, roles_of
from workbench_pipelines.annotation_tasks import AnnotationTask, Source
from workbench_pipelines.catalog import Catalog
from workbench_pipelines.consensus import ADJUDICATOR, ANNOTATOR, Key
from workbench_pipelines.derivation import with_derived
from workbench_pipelines.errors import ArgumentError, LabelError, nearest
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.pair_judgements import standing_decisions
from workbench_pipelines.restrictions import OPEN_CLASSIFICATIONS, RESTRICTED, restrictions_of
from workbench_pipelines.review_queue import NEEDS, REVIEW_QUEUE
from workbench_pipelines.task_sharing import JobItem
from workbench_pipelines.workbench import Workbench

QUEUE = ("label", "review_queue")


@dataclass(frozen=True)
class JobAsk:
    """What a job asks people to label.

    With `training_sheet` the pairs of its queue, else the items of `sheet` without a label of `label_type`. `needs`, `items`
    and `filter_condition` choose among them, `limit` takes the first. A gap is the same with `source="gap"`, a `reason`, and
    `target_count` where fewer labels than items are wanted.
    """

    training_sheet: str | None = None
    sheet: str | None = None
    label_type: str | None = None
    needs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    filter_condition: str | None = None
    limit: int | None = None
    instructions: str | None = None
    target_count: int | None = None
    reason: str | None = None
    source: Source = "queue"
    due: dt.datetime | None = None
    job: str | None = None


@dataclass(frozen=True)
class SheetNow:
    """A Sheet's items, what was decided of them, and the labels that comes to."""

    items: pl.DataFrame
    decisions: pl.DataFrame
    labels: pl.DataFrame


def sheet_now(workbench: Workbench, name: str) -> SheetNow:
    """A Sheet as its last snapshot and the ledger have it; before there is a snapshot, as its sources do.

    Raises:
        DefinitionError, SourceError: for a Sheet that is not defined or can not be read.
    """
    catalog = workbench.catalog()
    sheet = catalog.sheet(name)
    table = ("data", "sheet_snapshot", name)
    items = workbench.lake.read(*table) if workbench.lake.exists(*table) else workbench.read_items(sheet)
    decisions = workbench.sheet_decisions(sheet)
    items = with_derived(items, decisions["item_ref"].unique(), catalog.training_sheets_of(name))
    labels = fold_labels(decisions, items, catalog.two_person_sheets(), workbench.panels())
    return SheetNow(items, decisions, labels)


def what_is_asked(catalog: Catalog, ask: JobAsk) -> tuple[str, str]:
    """The Sheet and the label type of a job.

    Raises:
        DefinitionError: for what is not defined.
        ArgumentError: where neither a TrainingSheet nor a Sheet with a label type is named.
    """
    if ask.training_sheet is not None:
        training_sheet = catalog.training_sheet(ask.training_sheet)
        return training_sheet.spec.sheet, catalog.template_for(training_sheet).spec.label_type
    if ask.sheet is None or ask.label_type is None:
        raise ArgumentError("a job is of a TrainingSheet, or of a Sheet and a label type")
    catalog.label_schema(ask.label_type)
    return catalog.sheet(ask.sheet).name, ask.label_type


def people_of(catalog: Catalog, roles: Roles, named: Sequence[str]) -> list[str]:
    """The people that are named, those of teams one by one; each of them may label.

    Raises:
        ArgumentError: for nobody, an unknown team, or somebody who may not.
    """
    if not named:
        raise ArgumentError("a task is somebody's: name who gets it")
    found = list(_resolved(catalog, named))
    known = {*(roles.reviewers or ()), *roles.approvers, *roles.stewards}
    for person in found:
        if not roles.may(person, "label"):
            raise ArgumentError(f"{person} may not label; the Access document names who may{nearest(person, known)}")
    return found


def job_items(
    workbench: Workbench,
    ask: JobAsk,
    sheet: str,
    label_type: str,
    people: Sequence[str],
    given: Mapping[Key, AnnotationTask],
) -> tuple[list[JobItem], list[tuple[str, str]]]:
    """The items that wait and can be given out, the first ones first; and those that can not, with the reason.

    Args:
        given: the tasks in which labels are asked for already.

    Raises:
        LabelError: where the TrainingSheet has no queue.
        ArgumentError, FilterError: for a need that there is not, or a filter that is none.
    """
    catalog = workbench.catalog()
    now = sheet_now(workbench, sheet)
    rows = _waiting(workbench, catalog, ask, sheet, label_type, now)
    if ask.filter_condition is not None:
        wanted = compile_filter(ask.filter_condition, now.items.schema, "the filter of the job")
        _refuse_hidden(workbench, catalog, sheet, wanted)
        kept = now.items.filter(wanted)
        rows = rows.filter(pl.col("item_ref").is_in(kept["item_ref"].implode()))
    if ask.items:
        rows = rows.filter(pl.col("item_ref").is_in(list(ask.items)))
    missing = sorted(set(ask.items) - set(rows["item_ref"]))
    refused = [(item, "it is not among those that wait") for item in missing]
    roles = roles_of(catalog)
    sees = {person: roles.sees_restricted(person) for person in people}
    found: list[JobItem] = []
    for row in rows.iter_rows(named=True):
        if ask.limit is not None and len(found) >= ask.limit:
            break
        item, task = row["item_ref"], given.get((sheet, row["item_ref"], label_type))
        if row["awaits"] == ADJUDICATOR:
            refused.append((item, "it waits for an approver who decides between its annotators, in the queue"))
        elif task is not None:
            refused.append((item, f"it is in task {task.short} of {task.assignee} already"))
        else:
            heard = list(row["annotators"] or ()) if row["awaits"] == ANNOTATOR else []
            open_to_all = row["data_classification"] in OPEN_CLASSIFICATIONS
            not_for = {person: "may not see it" for person in people if not (open_to_all or sees[person])}
            not_for |= {person: "answered it already" for person in people if person in heard}
            stratum = f"{row['need'] or ''} {row['stratum'] or ''}"
            found.append(JobItem(item, row["pair_id"], stratum, not_for, len(heard)))
    return found, refused


def _refuse_hidden(workbench: Workbench, catalog: Catalog, sheet: str, wanted: pl.Expr) -> None:
    """Refuses a filter that would tell which item holds a restricted value.

    Raises:
        ArgumentError: naming the column.
    """
    hidden = restrictions_of(catalog).sheets.get(sheet)
    if roles_of(catalog).sees_restricted(workbench.settings.user):
        return
    for name in wanted.meta.root_names():
        if hidden is None or name in hidden:
            raise ArgumentError(f"Sheet {sheet}: the column '{name}' is restricted, and nobody can look for its values")


def _waiting(
    workbench: Workbench, catalog: Catalog, ask: JobAsk, sheet: str, label_type: str, now: SheetNow
) -> pl.DataFrame:
    """The items that wait, in order, with what is known of them: pair_id, need, stratum, data_classification, annotators, awaits."""
    labels = now.labels.filter(pl.col("label_type") == label_type)
    live = labels.filter(pl.col("active") & ~pl.col("stale")).select("item_ref")
    said = labels.select("item_ref", "annotators", "awaits")
    if ask.training_sheet is None:
        hidden = restrictions_of(catalog).sheets.get(sheet, None) is None
        rows = now.items.select(
            "item_ref",
            *(pl.lit(None, pl.String).alias(name) for name in ("pair_id", "need", "stratum")),
            # Of a Sheet that is open as a whole, each column still says who may see it.
            pl.lit(RESTRICTED if hidden else OPEN_CLASSIFICATIONS[0]).alias("data_classification"),
        )
        return rows.join(live, on="item_ref", how="anti", maintain_order="left").join(
            said, on="item_ref", how="left", maintain_order="left"
        )
    unknown = [need for need in ask.needs if need not in NEEDS]
    if unknown:
        raise ArgumentError(f"there is no need '{unknown[0]}'{nearest(unknown[0], NEEDS)}")
    queue = REVIEW_QUEUE.to_frame()
    if workbench.lake.exists(*QUEUE):
        queue = workbench.lake.read(*QUEUE, partition={"training_sheet": [ask.training_sheet]}).sort("rank")
    if queue.is_empty():
        raise LabelError(
            f"TrainingSheet {ask.training_sheet} has no queue; `workbench run {ask.training_sheet}` makes it"
        )
    if ask.needs:
        queue = queue.filter(pl.col("need").is_in(list(ask.needs)))
    rejected = standing_decisions(now.decisions).filter(pl.col("action") == "reject").select("pair_id")
    # What was flagged waits although it may have a label.
    settled = queue.filter(pl.col("need") != "flagged").join(live, on="item_ref", how="semi").select("pair_id")
    return (
        queue.join(pl.concat([rejected, settled]), on="pair_id", how="anti", maintain_order="left")
        .unique("item_ref", keep="first", maintain_order=True)
        .join(said, on="item_ref", how="left", maintain_order="left")
    )


def _resolved(catalog: Catalog, named: Sequence[str]) -> Iterator[str]:
    teams = {name: people for spec in catalog.access() for name, people in spec.teams.items()}
    for name in named:
        if not name.startswith(TEAM):
            yield name
            continue
        if name.removeprefix(TEAM) not in teams:
            raise ArgumentError(f"there is no team '{name}'{nearest(name.removeprefix(TEAM), teams)}")
        yield from teams[name.removeprefix(TEAM)]
