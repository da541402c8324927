"""What decisions change of what may be done with a label: one row of the audit a change, old beside new.

Whatever back end a decision came by, it is audited before it stands in the ledger; so is the first statement of a label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from workbench_pipelines.consensus import KEY
from workbench_pipelines.identity import canonical_label_id
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.lineage import USAGE_CONSTRAINT_AUDIT
from workbench_pipelines.usage import CLASSIFICATIONS
from workbench_pipelines.workbench import Workbench

AUDIT = ("records", "usage_constraint_audit")

_NAMES = ("allowed_uses", "prohibited_uses", "data_classification")


def keep_audit(workbench: Workbench, decisions: pl.DataFrame, ledger: pl.DataFrame) -> None:
    """Writes down what decisions change of uses, as the ledger that holds them tells."""
    keep_changes(workbench, audit_uses(decisions, ledger))


def keep_changes(workbench: Workbench, changes: pl.DataFrame) -> None:
    """Adds rows of `USAGE_CONSTRAINT_AUDIT` to the audit, each once."""
    if not changes.is_empty():
        workbench.lake.append_new(*AUDIT, frame=changes, key=["subject", "by", "at"])


def audit_uses(decisions: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """The changes that these decisions made, as the ledger that holds them tells.

    Returns:
        Rows of `USAGE_CONSTRAINT_AUDIT` for every restriction and restoration, and for every label that states uses.
    """
    lifts = (pl.col("action") == "restore") & pl.col("undoes").is_null() & pl.col("pair_id").is_null()
    speaking = decisions.filter(pl.col("uses").is_not_null() | (pl.col("action") == "restrict") | lifts)
    rows = []
    for decision in speaking.sort("at", "decision_id").iter_rows(named=True):
        known = ledger.filter(*(pl.col(name) == decision[name] for name in KEY))
        come_later = (pl.col("at") > decision["at"]) | (
            (pl.col("at") == decision["at"]) & (pl.col("decision_id") > decision["decision_id"])
        )
        until = known.filter(~come_later)
        old = _uses(until.filter(pl.col("decision_id") != decision["decision_id"]))
        new = _uses(until)
        if decision["action"] == "restore" and all(old.get(name) == new.get(name) for name in _NAMES):
            continue  # it gave a label back
        rows.append(
            {
                "subject": f"label {canonical_label_id(*(decision[name] for name in KEY))}",
                **{f"old_{name}": old.get(name) for name in _NAMES},
                **{f"new_{name}": new.get(name) for name in _NAMES},
                **{name: decision[name] for name in ("reason", "by", "at", "sheet")},
            }
        )
    return pl.DataFrame(rows, schema=USAGE_CONSTRAINT_AUDIT)


def first_statements(decisions: pl.DataFrame) -> pl.DataFrame:
    """What the first decisions of labels state of uses, as rows of `USAGE_CONSTRAINT_AUDIT`: before, nothing was stated."""
    rows = []
    for decision in decisions.filter(pl.col("uses").is_not_null()).sort("at", "decision_id").iter_rows(named=True):
        stated = json.loads(decision["uses"])
        rows.append(
            {
                "subject": f"label {canonical_label_id(*(decision[name] for name in KEY))}",
                **{f"old_{name}": None for name in _NAMES},
                **{f"new_{name}": stated.get(name) for name in _NAMES},
                **{name: decision[name] for name in ("reason", "by", "at", "sheet")},
            }
        )
    return pl.DataFrame(rows, schema=USAGE_CONSTRAINT_AUDIT)


def widens(change: Mapping[str, Any]) -> bool:
    """Whether a row of the audit permits something that was not permitted before, or is classified as more open."""
    freed = set(change["old_prohibited_uses"] or ()) - set(change["new_prohibited_uses"] or ())
    old, new = change["old_allowed_uses"], change["new_allowed_uses"]
    if old is not None and (new is None or set(new) - set(old)):
        return True
    was, now = change["old_data_classification"], change["new_data_classification"]
    opened = was is not None and (now is None or CLASSIFICATIONS.index(now) < CLASSIFICATIONS.index(was))
    return bool(freed) or opened


def _uses(decisions: pl.DataFrame) -> Mapping[str, Any]:
    """What is stated of the one label these decisions make; nothing where they make none."""
    labels = fold_labels(decisions, None)
    return labels.row(0, named=True) if labels.height else {}
