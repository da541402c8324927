"""Approvals of prompt templates: who put a version into the lock of what is published, on record.

`workbench publish` is the approval. Git carries it to other clones, which write down the author of the lock's line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import polars as pl

from workbench_pipelines.access import roles_of
from workbench_pipelines.clients.git_history import line_authors
from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.publishing import LOCK_FILE, parse_lock, updated_lock
from workbench_pipelines.workbench import Workbench

TEMPLATE_APPROVALS = pl.Schema(
    {
        "template": pl.String(),
        "version": pl.String(),
        "content_hash": pl.String(),
        "approved_by": pl.String(),
        "recorded_at": UTC_TIME,
    }
)
"""Columns of `records/template_approvals`: one row a published version; `content_hash` is what was approved."""

_KEY = ["template", "version", "content_hash"]


def publish_templates(workbench: Workbench, now: dt.datetime) -> list[str]:
    """Locks every published template version that is new, in the name of the user, and says which, as `name version`.

    Raises:
        ArgumentError: for somebody who may not approve, where there is an Access document.
        DefinitionError, TemplateError: as `publishing.updated_lock`.
    """
    catalog = workbench.catalog()
    before = workbench.files.published_lock() or ""
    after = updated_lock(catalog, parse_lock(before))
    added = set(after.splitlines()) - set(before.splitlines())
    user = workbench.settings.user
    if added and not roles_of(catalog).may(user, "approve"):
        raise ArgumentError(
            f"{user or 'nobody (WORKBENCH_USER is empty)'} may not approve templates; an Access document names who may"
        )
    workbench.files.write_published_lock(after)
    keep_approvals(workbench, now)
    return sorted(line.rpartition(" ")[0] for line in added)


def keep_approvals(workbench: Workbench, now: dt.datetime) -> None:
    """Writes down who approved each version of the lock that is not on record: its line's author, else who runs.

    Raises:
        DefinitionError: for a lock that can not be read.
    """
    text = workbench.files.published_lock() or ""
    known = workbench.record("template_approvals", TEMPLATE_APPROVALS)
    new = pl.DataFrame([(*key, sha) for key, sha in parse_lock(text).items()], schema=_KEY, orient="row")
    new = new.cast({name: pl.String() for name in _KEY}).join(known, on=_KEY, how="anti")
    if new.is_empty():
        return
    authors: Mapping[str, str] = line_authors(workbench.settings.project, LOCK_FILE)
    by = [authors.get(" ".join(row), workbench.settings.user) for row in new.iter_rows()]
    rows = new.with_columns(pl.Series("approved_by", by, pl.String), pl.lit(now).cast(UTC_TIME).alias("recorded_at"))
    workbench.lake.append_new("records", "template_approvals", frame=rows.select(list(TEMPLATE_APPROVALS)), key=_KEY)
