"""Label files become decisions in the ledger, each label with the hash of what its item shows now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.access import Roles, roles_of
from workbench_pipelines.consensus import KEY, Panels
from workbench_pipelines.decisions import (
    DECISIONS,
    LabelRow,
    Refusal,
    Seen,
    decide_labels,
    deliveries,
)
from workbench_pipelines.derivation import derived_row
from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.identity import canonical_label_id, canonical_text, digest, seen_hash
from workbench_pipelines.label_files import read_label_file, table_label_rows
from workbench_pipelines.labels import fold_labels, label_contents
from workbench_pipelines.rendering import seen_by_default
from workbench_pipelines.usage_audit import audit_uses, first_statements, keep_changes, widens
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class Taken:
    """What an import did: decisions written, rows known already, rows refused, and the ledger's version by Sheet."""

    decisions: int
    repeated: int
    refusals: tuple[Refusal, ...]
    versions: Mapping[str, str]
    outdated: tuple[str, ...] = ()
    """Labels that were taken and are not in force, since one that is as new or newer says something else."""


def import_labels(workbench: Workbench, files: Sequence[Path]) -> Taken:
    """Takes label files into `label/decisions`; a row taken before changes nothing.

    Raises:
        ArgumentError: for a file that can not be read at all; bad rows are refused one by one instead.
    """
    catalog = workbench.catalog()
    items = SeenItems(workbench)
    panels = workbench.panels()
    ledger = workbench.decisions()
    count, total = 0, 0
    refusals: list[Refusal] = []
    sheets: set[str] = set()
    repeated: list[LabelRow] = []
    taken: list[pl.DataFrame] = [DECISIONS.to_frame()]
    roles = roles_of(catalog)
    may_lift = roles.reviewers is None or roles.may(workbench.settings.user, "restore")
    refused_voice = _Voices(roles, workbench.settings.user, catalog.two_person_sheets(), panels).refusal
    for file in files:
        rows = [(where, refused_voice(raw) or raw) for where, raw in _rows(workbench, file)]
        total += len(rows)
        made, refused, again = decide_labels(
            rows,
            schema_of=catalog.label_schema,
            seen=items.seen,
            vocabulary=catalog.vocabulary(),
            by=workbench.settings.user,
            now=dt.datetime.now(dt.UTC),
            source=f"import:{file.name}",
            current=label_contents(fold_labels(ledger, None)),
            delivered=deliveries(ledger),
            several=panels.asks_several,
        )
        refusals += refused
        repeated += again
        new = made.filter(~made["decision_id"].is_in(ledger["decision_id"].implode()))
        known = _of_known_labels(new, ledger)
        changes = audit_uses(known, _of_labels(pl.concat([ledger, new]), new))
        unexplained = _lifted_in_silence(new, changes, may_lift)
        if unexplained:
            refusals += [Refusal(file.name, line) for line in unexplained.values()]
            new = new.filter(~pl.col("decision_id").is_in(list(unexplained)))
            known = _of_known_labels(new, ledger)
            changes = audit_uses(known, _of_labels(pl.concat([ledger, new]), new))
        if not new.is_empty():
            keep_changes(
                workbench, pl.concat([changes, first_statements(new.join(known, on="decision_id", how="anti"))])
            )
            workbench.lake.append_new("label", "decisions", frame=new, key=["decision_id"], partition_by="sheet")
            sheets |= set(new["sheet"])
            taken.append(new)
            count += new.height
            ledger = workbench.decisions()
    versions = {name: digest(sorted(ledger.filter(ledger["sheet"] == name)["decision_id"])) for name in sheets}
    said = pl.concat([_said(pl.concat(taken)), _said_again(repeated)])
    outdated = _outdated(said, fold_labels(ledger, None))
    return Taken(count, total - count - len(refusals), tuple(refusals), versions, outdated)


class _Voices:
    """Whose words somebody may bring in a file. Whoever runs an import keeps the lake; where several people are asked of an
    item, a file could be all of them, and the roles hold for it too: a reviewer brings their own words, a steward any."""

    def __init__(self, roles: Roles, importer: str, two_persons: Collection[str], panels: Panels) -> None:
        self._roles, self._importer, self._two_persons, self._panels = roles, importer, two_persons, panels

    def refusal(self, raw: Mapping[str, Any] | str) -> str | None:
        """Why a row is refused; None where it may be taken."""
        if isinstance(raw, str):
            return None
        sheet, item_ref, label_type = (str(raw.get(name)) for name in KEY)
        if sheet not in self._two_persons and not self._panels.asks_several((sheet, item_ref, label_type)):
            return None
        if not self._roles.may(self._importer, "label"):
            return f"{self._importer} may not label; the Access document names who may"
        own = raw.get("labeled_by") in (None, self._importer)
        if own or self._roles.reviewers is None or self._roles.may(self._importer, "restore"):
            return None
        who = "a steward, since several people are asked"
        return f"{self._importer} brings the label of {raw.get('labeled_by')}: that takes {who}"


def _of_labels(decisions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The decisions of the labels that these rows speak of."""
    return decisions.join(labels.select(KEY).unique(), on=KEY, how="semi")


def _lifted_in_silence(new: pl.DataFrame, changes: pl.DataFrame, may_lift: bool) -> dict[str, str]:
    """By decision, why it is refused: it permits more of a label than was stated, and gives no reason or has no right to."""
    found = {}
    lifted = {
        (change["subject"], change["by"], change["at"]): bool((change["reason"] or "").strip())
        for change in changes.iter_rows(named=True)
        if widens(change)
    }
    for row in new.filter(pl.col("uses").is_not_null()).iter_rows(named=True) if lifted else ():
        key = (f"label {canonical_label_id(*(row[name] for name in KEY))}", row["by"], row["at"])
        if key in lifted and not (may_lift and lifted[key]):
            what = "say why in `usage_reason`" if may_lift else "that takes a steward; the Access document names them"
            found[row["decision_id"]] = (
                f"item {row['item_ref']}: it permits more of its label than was stated before: {what}"
            )
    return found


def _of_known_labels(new: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """The new decisions of labels that there were before; what a first one states changes nothing."""
    return new.join(ledger.select(KEY).unique(), on=KEY, how="semi")


_SAID = pl.Schema({**dict.fromkeys((*KEY, "label_data"), pl.String()), "again": pl.Boolean()})


def _said(taken: pl.DataFrame) -> pl.DataFrame:
    """What was said last of each item; rows of `_SAID`."""
    last = taken.sort("at").group_by(KEY, maintain_order=True).last().with_columns(pl.lit(False).alias("again"))
    return last.select(list(_SAID))


def _said_again(repeated: Sequence[LabelRow]) -> pl.DataFrame:
    rows = [(*row.key, canonical_text(row.label_data), True) for row in repeated]
    return pl.DataFrame(rows, schema=_SAID, orient="row")


def _outdated(said: pl.DataFrame, labels: pl.DataFrame) -> tuple[str, ...]:
    """A line for each item of which the import says something else than the label in force.

    A correction needs a later `labeled_at`, and so does a label that was delivered before and overruled since.
    """
    now = labels.select(*KEY, pl.col("label_data").alias("label_data_now"), "last_modified_by", "last_modified_at")
    beaten = said.join(now, on=KEY).filter(pl.col("label_data") != pl.col("label_data_now")).sort("item_ref")
    return tuple(
        f"item {row['item_ref']} of {row['sheet']}: {'known from before' if row['again'] else 'taken'} and not in force: "
        f"the label of {row['last_modified_by']} from {row['last_modified_at'].isoformat()} "
        f"{'came after it' if row['again'] else 'is as new or newer'}; give a correction a later labeled_at"
        for row in beaten.iter_rows(named=True)
    )


class SeenItems:
    """What labeled items show; the items of each Sheet that is named are read once."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._catalog = workbench.catalog()
        self._rows: dict[str, dict[str, dict[str, Any]]] = {}
        self._defaults: dict[tuple[str, str], tuple[str, ...]] = {}

    def seen(self, row: LabelRow) -> Seen:
        """What the labeled item shows: the columns the row names, else all that a template of this task binds.

        Raises:
            ArgumentError: where the Sheet holds no such item or column.
        """
        return self.by_key(row.sheet, row.item_ref, row.label_type, row.seen_columns)

    def by_key(self, sheet: str, item_ref: str, label_type: str, seen_columns: Sequence[str] | None = None) -> Seen:
        """The same for a label's key."""
        items = self._items_of(sheet)
        item: Mapping[str, Any] | None = items.get(item_ref)
        if item is None:
            item = derived_row(item_ref, self._catalog.training_sheets_of(sheet), items.get)
        if item is None:
            raise ArgumentError(f"Sheet {sheet} has no item '{item_ref}'")
        if (sheet, label_type) not in self._defaults:
            self._defaults[sheet, label_type] = seen_by_default(self._catalog, sheet, label_type, tuple(item))
        columns = seen_columns or self._defaults[sheet, label_type]
        unknown = [column for column in columns if column not in item]
        if unknown:
            raise ArgumentError(f"seen_columns: Sheet {sheet} has no column '{unknown[0]}'{nearest(unknown[0], item)}")
        return Seen(tuple(sorted(columns)), seen_hash(item, columns))

    def _items_of(self, sheet: str) -> dict[str, dict[str, Any]]:
        if sheet not in self._rows:
            frame = self._workbench.read_items(self._catalog.sheet(sheet), sampled=False)
            self._rows[sheet] = {row["item_ref"]: row for row in frame.iter_rows(named=True)}
        return self._rows[sheet]


def _rows(workbench: Workbench, file: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    if not file.is_file():
        raise ArgumentError(f"there is no file {file.name}")
    if file.suffix.lower() in (".xlsx", ".xls"):
        yield from table_label_rows(file.name, workbench.read_spreadsheet(file))
        return
    if file.suffix.lower() not in (".jsonl", ".ndjson", ".csv"):
        raise ArgumentError(f"{file.name}: a label file ends in .jsonl, .csv or .xlsx")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{file.name}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    yield from read_label_file(file.name, text)
