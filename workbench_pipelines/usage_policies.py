"""Policies as they stood: what a tag, a Sheet, a joined source or a tagged column states of uses, version by version.

A *subject* is ``uses`` (every use that is known), ``policy <tag>``, ``sheet <name>``, ``source <sheet>.<source>``,
``column <sheet>.<column>``, ``personal_data`` (what is done with it in the project) or ``personal_data <sheet>``. What it states is
written down when a run first sees it, and again whenever it says something else; the audit of changes is a fold of that, so
that writing it twice changes nothing.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog, Sheet, TagPolicy, UsageSpec
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.lineage import USAGE_CONSTRAINT_AUDIT
from workbench_pipelines.personal_data import FLAG
from workbench_pipelines.row_usage import Policies
from workbench_pipelines.usage import UsageStatement, effective_use

USAGE_POLICIES = pl.Schema(
    {
        "subject": pl.String(),
        "version": pl.Int64(),
        "content_hash": pl.String(),
        "content": pl.String(),
        "by": pl.String(),
        "at": pl.Datetime("us", "UTC"),
    }
)
"""Columns of `records/usage_policies`, one row a version; `content` is canonical JSON, `at` when a run first saw it.

`by` is the author of the commit that the file stands in, or who ran it where the file has changes that nobody committed.
"""

VOCABULARY = "uses"
PERSONAL_DATA = "personal_data"
_STATED = ("allowed_uses", "prohibited_uses", "data_classification")
# What `of` says a subject belongs to, and what is gone, are no statements of uses.
_NOT_STATED = frozenset({"of", "gone"})

Content = Mapping[str, Any]
"""allowed_uses, prohibited_uses, data_classification and reason; tags, source_tags and rows where there are any; of personal
data, what is done with each kind; `of`, the subject it belongs to; `gone` where it was taken out of the definitions."""


def policy_subjects(catalog: Catalog) -> dict[str, Content]:
    """What every tag states, the package's own policies included, and the uses that there are.

    Raises:
        DefinitionError: for a broken UsagePolicy.
    """
    found: dict[str, Content] = {VOCABULARY: {"allowed_uses": list(catalog.vocabulary()), "of": None}}
    for tag, policy in catalog.tag_policies().items():
        found[f"policy {tag}"] = {**_stated_by(policy), "of": VOCABULARY}
    if catalog.states_personal_data():
        found[PERSONAL_DATA] = {PERSONAL_DATA: catalog.personal_data().content, "of": VOCABULARY}
    return found


def sheet_subjects(sheet: Sheet, policies: Policies, where: str) -> dict[str, Content]:
    """What a Sheet states as a whole, and each of its joined sources and tagged columns.

    Raises:
        DefinitionError: for a tag without a policy, and an unknown use or classification.
    """
    spec, owner = sheet.spec, f"sheet {sheet.name}"

    def together(usage: UsageSpec | None, tags: tuple[str, ...], place: str) -> Content:
        said = [policies.statement(tag, f"tag {tag}", place) for tag in tags]
        if usage is not None:
            said.insert(0, policies.stated(usage, owner, place, None))
        rows = [rule.model_dump(mode="json") for rule in usage.rows] if usage is not None else []
        return {
            **_effective(said, policies.vocabulary),
            "reason": usage.reason if usage is not None else None,
            **({"source_tags": sorted(tags)} if tags else {}),
            **({"rows": rows} if rows else {}),
        }

    own = spec.usage.model_copy(update={"allowed_uses": spec.usage.allowed_uses or ()})
    found: dict[str, Content] = {owner: {**together(own, spec.source_tags, f"{where}: spec.usage"), "of": None}}
    if spec.personal_data is not None:
        found[f"{PERSONAL_DATA} {sheet.name}"] = {PERSONAL_DATA: spec.personal_data.policy.content, "of": owner}
    for source in spec.secondary_sources:
        if source.usage is not None or source.source_tags:
            place = f"{where}: spec.secondary_sources.{source.name}"
            found[f"source {sheet.name}.{source.name}"] = {
                **together(source.usage, source.source_tags, place),
                "of": owner,
            }
    for column, described in spec.columns.items():
        if described.tags:
            place = f"{where}: spec.columns.{column}.tags"
            said = [policies.statement(tag, f"tag {tag}", place) for tag in described.tags]
            found[f"column {sheet.name}.{column}"] = {
                **_effective(said, policies.vocabulary),
                "reason": None,
                "tags": sorted(described.tags),
                "of": owner,
            }
    return found


def new_versions(
    now: Mapping[str, Content],
    known: pl.DataFrame,
    *,
    is_gone: Callable[[str, Content], bool],
    by: Callable[[str], str],
    at: dt.datetime,
) -> pl.DataFrame:
    """The versions that are still to be written: of what is new, says something else, or was taken out.

    Args:
        now: what each subject states.
        known: rows of `USAGE_POLICIES`.
        is_gone: whether a known subject that does not state anything now was taken out of the definitions.
        by: who is behind what a subject says.
    """
    latest = {row["subject"]: row for row in known.sort("version").iter_rows(named=True)}
    told = dict(now)
    for subject, row in latest.items():
        content = json.loads(row["content"])
        if subject not in told and not content.get("gone") and is_gone(subject, content):
            told[subject] = {"of": content.get("of"), "gone": True}
    rows = [
        {
            "subject": subject,
            "version": latest[subject]["version"] + 1 if subject in latest else 1,
            "content_hash": digest(dict(content)),
            "content": canonical_text(dict(content)),
            "by": by(subject),
            "at": at,
        }
        for subject, content in sorted(told.items())
        if subject not in latest or latest[subject]["content_hash"] != digest(dict(content))
    ]
    return pl.DataFrame(rows, schema=USAGE_POLICIES)


def audit_of_versions(versions: pl.DataFrame) -> pl.DataFrame:
    """The changes between versions, as rows of `USAGE_CONSTRAINT_AUDIT`.

    What is there when a Sheet, or the project, is seen for the first time changes nothing; what comes to it later does.

    Args:
        versions: every row of `USAGE_POLICIES`.
    """
    first_seen = dict(versions.filter(pl.col("version") == 1).select("subject", "at").iter_rows())
    return pl.DataFrame(list(_changes(versions, first_seen)), schema=USAGE_CONSTRAINT_AUDIT)


def _changes(versions: pl.DataFrame, first_seen: Mapping[str, dt.datetime]) -> Iterator[dict[str, Any]]:
    before: dict[str, Content] = {}
    for row in versions.sort("subject", "version").iter_rows(named=True):
        subject, content = row["subject"], json.loads(row["content"])
        old = before.get(subject)
        before[subject] = content
        owner = content.get("of")
        if old is None and (owner is None or first_seen.get(owner) == row["at"]):
            continue
        yield {
            "subject": subject,
            **{f"old_{name}": (old or {}).get(name) for name in _STATED},
            **{f"new_{name}": content.get(name) for name in _STATED},
            "reason": _why(old, content),
            "by": row["by"],
            "at": row["at"],
            "sheet": None,
        }


def _why(old: Content | None, new: Content) -> str:
    """The reason that is stated, or what of the statement is another one."""
    if new.get("gone"):
        return "taken out of the definitions"
    rules = "; ".join(_rules_that_changed((old or {}).get("rows") or [], new.get("rows") or []))
    if new.get("reason"):
        return f"{new['reason']}{f' ({rules})' if rules else ''}"
    if PERSONAL_DATA in new:
        return _what_is_done(old or {}, new)
    if old is None or old.get("gone"):
        return f"tagged {', '.join(new['tags'])}" if new.get("tags") else "added to the definitions"
    others = sorted(name for name in {*old, *new} - _NOT_STATED - {"rows"} if old.get(name) != new.get(name))
    said = [rules, f"{', '.join(others)} changed" if others else ""]
    return f"{'; '.join(filter(None, said))} in the definitions"


def _rules_that_changed(old: list[Any], new: list[Any]) -> Iterator[str]:
    """Each row rule that came or went, by its number, as refusals name it; the condition stands in the history of policies."""
    for number, rule in enumerate(new, start=1):
        if rule not in old:
            tags = ", ".join(rule["tags"])
            yield f"row rule {number} ({tags}) {'is another one' if number <= len(old) else 'was added'}"
    for number, rule in enumerate(old, start=1):
        # One at whose place another stands now was named above.
        if rule not in new and (number > len(new) or new[number - 1] in old):
            yield f"row rule {number} ({', '.join(rule['tags'])}) was taken out"


def _what_is_done(old: Content, new: Content) -> str:
    """What is done with personal data now that was not before; flagged is what nothing was said of."""
    before, now = ((one.get(PERSONAL_DATA) or {}).get("entities", {}) for one in (old, new))
    changes = [
        f"{kind} {before.get(kind, FLAG)} -> {action}"
        for kind, action in now.items()
        if before.get(kind, FLAG) != action
    ]
    version = (one.get(PERSONAL_DATA, {}).get("key_version") for one in (old, new))
    if len({*version} - {None}) == 2:
        changes.append(f"key_version is {new[PERSONAL_DATA]['key_version']}")
    return f"personal_data: {', '.join(changes) or 'stated, and nothing is done otherwise'}"


def _effective(said: list[UsageStatement], vocabulary: Any) -> dict[str, Any]:
    """What statements come to together; allowed_uses None where none of them allows anything."""
    found = effective_use(said, vocabulary)
    allows = any(one.allowed_uses is not None for one in said)
    stated = any(one.data_classification is not None for one in said)
    return {
        "allowed_uses": list(found.allowed_uses) if allows else None,
        "prohibited_uses": list(found.prohibited_uses),
        "data_classification": found.data_classification if stated else None,
    }


def _stated_by(policy: TagPolicy) -> dict[str, Any]:
    return {
        "allowed_uses": None if policy.allowed_uses is None else sorted(set(policy.allowed_uses)),
        "prohibited_uses": sorted(set(policy.prohibited_uses)),
        "data_classification": policy.data_classification,
        "reason": policy.reason,
    }
