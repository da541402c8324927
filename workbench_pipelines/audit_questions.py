"""The questions of an audit of usage constraints, with the SQL that answers them; docs/governance.md has them in words."""

from __future__ import annotations

from collections.abc import Mapping

from workbench_pipelines.lineage_queries import NamedQuery

_CHANGE = """a.subject, l.sheet, l.item_ref, l.label_type, a.old_allowed_uses, a.new_allowed_uses, a.old_prohibited_uses,
       a.new_prohibited_uses, a.old_data_classification, a.new_data_classification, a.reason, a.by, a.at"""
_OF_LABEL = "LEFT JOIN canonical_labels AS l ON a.subject = concat('label ', l.canonical_label_id)"
# An erased item is known by a digest of its name alone (`erasure.item_digest`): who knows the name finds what was said of it.
_OF_ERASED = """LEFT JOIN (
  SELECT DISTINCT concat('label ', label) AS subject, item_digest
  FROM (SELECT UNNEST(labels) AS label, item_digest FROM erasures) AS u
) AS e ON a.subject = e.subject"""
_IS_THIS = r"""(a.subject = :this OR l.item_ref = :this OR e.item_digest = encode(sha256(concat(
    '["erased","', replace(replace(:this, '\', '\\'), '"', '\"'), '"]')), 'hex'))"""
_THIS = {
    "this": "a subject (`sheet iris`, `column invoices.patient`, `policy PHI`, `label <id>`) or an item_ref, of an erased item too"
}

AUDIT_QUESTIONS: Mapping[str, NamedQuery] = {
    "who_marked_this": NamedQuery(
        "Who marked this, when, as what, and why?",
        f"""\
SELECT {_CHANGE}
FROM usage_constraint_audit AS a {_OF_LABEL}
{_OF_ERASED}
WHERE {_IS_THIS}
ORDER BY a.at, a.subject""",
        _THIS,
    ),
    "when_classification_changed": NamedQuery(
        "When did the classification of this change, from what to what, and by whom?",
        f"""\
SELECT a.at, a.subject, l.item_ref, a.old_data_classification, a.new_data_classification, a.by, a.reason
FROM usage_constraint_audit AS a {_OF_LABEL}
{_OF_ERASED}
WHERE {_IS_THIS}
  AND COALESCE(a.old_data_classification, '') <> COALESCE(a.new_data_classification, '')
ORDER BY a.at, a.subject""",
        _THIS,
    ),
    "changed_in_30_days": NamedQuery(
        "What of what may be done with anything changed in the last 30 days?",
        f"""\
SELECT {_CHANGE}
FROM usage_constraint_audit AS a {_OF_LABEL}
WHERE a.at >= now() - INTERVAL '30 days'
ORDER BY a.at DESC, a.subject""",
    ),
    "tainted_exports": NamedQuery(
        "Which exports hold pairs that may not be used as they were any more, and which models were trained on them?",
        """\
WITH marked AS (
  SELECT collection, version, pair_id, use, reason, at, MAX(cleared_at) AS cleared_at
  FROM (SELECT collection, version, pair_id, use, at, cleared_at,
               FIRST_VALUE(reason) OVER (PARTITION BY collection, version, pair_id, use, at
                                         ORDER BY cleared_at NULLS FIRST) AS reason
        FROM export_taints) AS t
  GROUP BY collection, version, pair_id, use, reason, at
)
SELECT m.collection, m.version, m.use, m.reason, COUNT(DISTINCT m.pair_id) AS pairs, MIN(m.at) AS since,
       l.model_name, l.model_version
FROM marked AS m
LEFT JOIN model_training_lineage AS l ON l.collection = m.collection AND l.export_version = m.version
WHERE m.cleared_at IS NULL
GROUP BY m.collection, m.version, m.use, m.reason, l.model_name, l.model_version
ORDER BY m.collection, m.version, m.use, m.reason, l.model_name, l.model_version""",
    ),
}
"""The documented questions by name; docs/governance.md says what their columns mean."""
