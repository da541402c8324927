"""The history of policies: what runs saw of usage constraints in the definitions, and the audit of what changed in them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import polars as pl

from workbench_pipelines.catalog import Catalog, UsagePolicy
from workbench_pipelines.catalog.documents import Document
from workbench_pipelines.clients.git_history import last_author
from workbench_pipelines.row_usage import Policies
from workbench_pipelines.usage_audit import AUDIT
from workbench_pipelines.usage_policies import (
    PERSONAL_DATA,
    USAGE_POLICIES,
    Content,
    audit_of_versions,
    new_versions,
    policy_subjects,
    sheet_subjects,
)
from workbench_pipelines.workbench import Workbench


def keep_policies(workbench: Workbench, catalog: Catalog, sheet: str, now: dt.datetime) -> None:
    """Writes down what the policies and a Sheet state of uses, where it is other than what was seen last, and its audit.

    Raises:
        DefinitionError: for a broken Sheet or UsagePolicy, and a tag without a policy.
    """
    document = catalog.sheet(sheet)
    file = catalog.file_of("Sheet", sheet)
    policies = Policies(catalog.tag_policies(), catalog.vocabulary())
    stated = policy_subjects(catalog) | sheet_subjects(document, policies, f"{file}: Sheet {sheet}")
    sheets = set(catalog.names("Sheet"))

    def is_gone(subject: str, content: Content) -> bool:
        owner = content.get("of") or subject
        kind, _, name = str(owner).partition(" ")
        return name == sheet or name not in sheets if kind == "sheet" else True

    known = workbench.record("usage_policies", USAGE_POLICIES)
    fresh = new_versions(stated, known, is_gone=is_gone, by=_authors(workbench, catalog, sheet), at=now)
    if not fresh.is_empty():
        workbench.lake.append_new("records", "usage_policies", frame=fresh, key=["subject", "version"])
    # From what the table holds, not from what was to be written: another run may have been faster, or one ended in between.
    audit = audit_of_versions(workbench.record("usage_policies", USAGE_POLICIES))
    if not audit.is_empty():
        workbench.lake.append_new(*AUDIT, frame=audit, key=["subject", "by", "at"])


def _authors(workbench: Workbench, catalog: Catalog, sheet: str) -> Callable[[str], str]:
    """Who is behind what a subject says: the author of its file's last commit, else who runs."""
    files = {
        tag: one.file
        for one in catalog.parsed
        if isinstance(one.document, UsagePolicy)
        for tag in one.document.spec.tags
    }
    known: dict[str, str | None] = {}

    def author(subject: str) -> str:
        kind, _, name = subject.partition(" ")
        if kind == "policy":
            file = files.get(name)
        elif subject == PERSONAL_DATA:
            file = next((one.file for one in catalog.parsed if _states_personal_data(one.document)), None)
        else:
            file = catalog.file_of("Sheet", sheet) if name else None
        if kind == "sheet" and name != sheet:
            file = None
        if file is None:
            return workbench.settings.user
        if file not in known:
            known[file] = last_author(workbench.settings.project, file)
        return known[file] or workbench.settings.user

    return author


def _states_personal_data(document: Document | None) -> bool:
    return isinstance(document, UsagePolicy) and document.spec.personal_data is not None


def policies_now(workbench: Workbench) -> pl.DataFrame:
    """The newest version of every subject; rows of `USAGE_POLICIES`."""
    versions = workbench.record("usage_policies", USAGE_POLICIES).sort("subject", "version")
    return versions.unique("subject", keep="last", maintain_order=True)
