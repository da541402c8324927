"""The documented questions that `workbench sql` answers: which rows made which model, and what came of what.

A model is asked for by its name (all its versions) or by ``name/version``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workbench_pipelines.errors import ArgumentError, nearest


@dataclass(frozen=True)
class NamedQuery:
    """A question with the SQL that answers it; `parameters` says what each `:name` in it stands for."""

    question: str
    sql: str
    parameters: Mapping[str, str] = field(default_factory=dict)


_A_MODEL = {"model": "a model name, or name/version"}
_A_SHEET = {"training_sheet": "the name of a TrainingSheet"}
_IS_THE_MODEL = "(l.model_name = :model OR concat(l.model_name, '/', l.model_version) = :model)"
# The version is text; as a number, 10 comes after 9.
_VERSION = "TRY_CAST(model_version AS BIGINT), model_version"

QUERIES: Mapping[str, NamedQuery] = {
    "models_of_training_sheet": NamedQuery(
        "Which models learned from a TrainingSheet?",
        f"""\
SELECT model_name, model_version, collection, export_version, train_pair_count, val_pair_count, mlflow_run_id,
       trained_at, created_by
FROM model_training_lineage
WHERE array_has(training_sheets, :training_sheet)
ORDER BY model_name, {_VERSION}""",
        _A_SHEET,
    ),
    "training_sheets_of_model": NamedQuery(
        "Which TrainingSheets did a model learn from, with how many pairs, and how do they stand now?",
        f"""\
WITH taught AS (
  SELECT l.model_name, l.model_version, l.collection, l.export_version, UNNEST(l.training_sheets) AS training_sheet
  FROM model_training_lineage AS l WHERE {_IS_THE_MODEL}
), trained_pairs AS (
  SELECT l.model_name, l.model_version, UNNEST(l.pair_ids) AS pair_id
  FROM model_training_lineage AS l WHERE {_IS_THE_MODEL}
), counts AS (
  SELECT t.model_name, t.model_version, p.training_sheet, COUNT(*) AS pairs
  FROM trained_pairs AS t JOIN labeled_pairs AS p ON p.pair_id = t.pair_id
  GROUP BY t.model_name, t.model_version, p.training_sheet
), states AS (
  SELECT training_sheet, version, status, template, template_version,
         ROW_NUMBER() OVER (PARTITION BY training_sheet ORDER BY version DESC, updated_at DESC) AS age
  FROM training_sheets
)
SELECT t.model_name, t.model_version, t.collection, t.export_version, t.training_sheet, COALESCE(c.pairs, 0) AS pairs,
       s.version AS version_now, s.status AS status_now, s.template AS template_now,
       s.template_version AS template_version_now
FROM taught AS t
LEFT JOIN counts AS c ON c.model_name = t.model_name AND c.model_version = t.model_version
                     AND c.training_sheet = t.training_sheet
LEFT JOIN states AS s ON s.training_sheet = t.training_sheet AND s.age = 1
ORDER BY t.model_name, TRY_CAST(t.model_version AS BIGINT), t.model_version, t.training_sheet""",
        _A_MODEL,
    ),
    "pairs_of_model": NamedQuery(
        "Which pairs did a model learn from, and do they still say the same?",
        f"""\
WITH trained_pairs AS (
  SELECT l.model_name, l.model_version, UNNEST(l.pair_ids) AS pair_id, UNNEST(l.pair_hashes) AS pair_hash
  FROM model_training_lineage AS l WHERE {_IS_THE_MODEL}
)
SELECT t.model_name, t.model_version, t.pair_id, p.training_sheet, p.sheet, p.item_ref, p.template, p.template_version,
       p.inputs, p.response, p.status, p.canonical_label_id,
       t.pair_hash AS pair_hash_as_trained, p.pair_hash AS pair_hash_now,
       CASE WHEN p.pair_id IS NULL THEN 'gone' WHEN p.pair_hash = t.pair_hash THEN 'unchanged' ELSE 'changed' END
         AS since_training
FROM trained_pairs AS t LEFT JOIN labeled_pairs AS p ON p.pair_id = t.pair_id
ORDER BY t.model_name, TRY_CAST(t.model_version AS BIGINT), t.model_version, p.training_sheet, p.item_ref, t.pair_id""",
        _A_MODEL,
    ),
    "models_compared": NamedQuery(
        "How do the models of one TrainingSheet compare, with each other and with the best baseline on the same rows?",
        """\
WITH figures AS (
  SELECT model_name, model_version, trainer, metric, n, MAX(evaluated_at) AS evaluated_at,
         MAX(CASE WHEN predictor = 'model' THEN value END) AS value,
         MAX(CASE WHEN predictor <> 'model' THEN value END) AS best_baseline
  FROM model_evaluations WHERE strpos(metric, '.') = 0
  GROUP BY model_name, model_version, trainer, metric, n
)
SELECT l.model_name, l.model_version, l.collection, l.export_version, l.train_pair_count, l.val_pair_count,
       f.trainer, f.metric, f.value, f.best_baseline, f.value - f.best_baseline AS ahead_by, f.n AS test_pairs
FROM model_training_lineage AS l
LEFT JOIN figures AS f ON f.model_name = l.model_name AND f.model_version = l.model_version AND f.value IS NOT NULL
WHERE array_has(l.training_sheets, :training_sheet)
ORDER BY f.metric, f.value DESC, l.model_name, TRY_CAST(l.model_version AS BIGINT), l.model_version""",
        _A_SHEET,
    ),
    "feedback_behind_model": NamedQuery(
        "Which feedback stands behind a model: the pairs whose label, when it was trained, came from a correction?",
        f"""\
WITH shown_pairs AS (
  SELECT l.model_name, l.model_version, l.trained_at, UNNEST(l.pair_ids) AS pair_id, 'training' AS used_for
  FROM model_training_lineage AS l WHERE {_IS_THE_MODEL}
  UNION ALL
  SELECT l.model_name, l.model_version, l.trained_at, m.pair_id, 'evaluation' AS used_for
  FROM model_training_lineage AS l JOIN collection_members AS m ON m.collection = l.collection
  WHERE {_IS_THE_MODEL} AND m.split = 'test' AND m.added_at <= l.trained_at
), in_force AS (
  SELECT s.model_name, s.model_version, s.used_for, s.pair_id, p.training_sheet, p.sheet, p.item_ref, p.label_type,
         d.decision_id, d.source, d.by, d.at,
         ROW_NUMBER() OVER (
           PARTITION BY s.model_name, s.model_version, s.pair_id ORDER BY d.at DESC, d.decision_id DESC
         ) AS age
  FROM shown_pairs AS s
  JOIN labeled_pairs AS p ON p.pair_id = s.pair_id
  JOIN decisions AS d ON d.sheet = p.sheet AND d.item_ref = p.item_ref AND d.label_type = p.label_type
  WHERE d.at <= s.trained_at AND d.action IN ('label', 'approve', 'edit') AND p.canonical_label_id IS NOT NULL
)
SELECT model_name, model_version, substr(source, 10) AS feedback_id, used_for, training_sheet, sheet, item_ref,
       label_type, pair_id, decision_id, by AS approved_by, at AS approved_at
FROM in_force WHERE age = 1 AND starts_with(source, 'feedback:')
ORDER BY model_name, TRY_CAST(model_version AS BIGINT), model_version, feedback_id, pair_id""",
        _A_MODEL,
    ),
    "children_of_item": NamedQuery(
        "Which items were derived from an item, how, and what became of their pairs?",
        """\
SELECT training_sheet, item_ref, pair_id, trace['parent_ids'] AS parent_ids, trace['steps'][1]['name'] AS derived_by,
       trace['steps'][1]['params'] AS derived_with, status, response
FROM labeled_pairs
WHERE sheet = :sheet AND array_has(trace['parent_ids'], :item_ref)
ORDER BY training_sheet, item_ref""",
        {"sheet": "the name of a Sheet", "item_ref": "an item of it, or one that was derived"},
    ),
    "parents_of_pair": NamedQuery(
        "Which items was a pair derived from, the outermost first, and which pairs do these have of their own?",
        """\
WITH above AS (
  SELECT sheet, item_ref, UNNEST(trace['parent_ids']) AS parent_ref FROM labeled_pairs WHERE pair_id = :pair_id
)
SELECT a.sheet, a.item_ref, a.parent_ref, p.training_sheet AS parent_training_sheet, p.pair_id AS parent_pair_id,
       p.status AS parent_status
FROM above AS a LEFT JOIN labeled_pairs AS p ON p.sheet = a.sheet AND p.item_ref = a.parent_ref
ORDER BY character_length(a.parent_ref), p.training_sheet""",
        {"pair_id": "the name of a pair"},
    ),
    "drafts_against_labels": NamedQuery(
        "What are a model's drafts worth: how often do they say what people say of the same item?",
        """\
WITH truth AS (
  SELECT DISTINCT sheet, item_ref, label_type, response FROM labeled_pairs WHERE status = 'labeled'
), compared AS (
  SELECT g.training_sheet, g.model, g.response AS drafted, t.response AS labeled
  FROM generated_pairs AS g
  JOIN truth AS t ON t.sheet = g.sheet AND t.item_ref = g.item_ref AND t.label_type = g.label_type
  WHERE g.request_hash IS NOT NULL
), classes AS (
  SELECT training_sheet, model, labeled, COUNT(*) AS n FROM compared GROUP BY training_sheet, model, labeled
), largest AS (
  SELECT training_sheet, model, MAX(n) AS n FROM classes GROUP BY training_sheet, model
), agreed AS (
  SELECT training_sheet, model, COUNT(*) AS drafts, SUM(CASE WHEN drafted = labeled THEN 1 ELSE 0 END) AS right_ones
  FROM compared GROUP BY training_sheet, model
)
SELECT a.training_sheet, a.model, a.drafts, 1.0 * a.right_ones / a.drafts AS accuracy,
       1.0 * l.n / a.drafts AS majority_guess
FROM agreed AS a JOIN largest AS l ON l.training_sheet = a.training_sheet AND l.model = a.model
ORDER BY a.training_sheet, a.model""",
    ),
    "examples_of_model": NamedQuery(
        "Which few-shot examples stand in the prompts of the pairs that a model learned from?",
        f"""\
WITH trained_pairs AS (
  SELECT l.model_name, l.model_version, UNNEST(l.pair_ids) AS pair_id
  FROM model_training_lineage AS l WHERE {_IS_THE_MODEL}
), shown AS (
  SELECT p.pair_id, UNNEST(p.example_ids) AS example_id FROM rendered_prompts AS p
)
SELECT t.model_name, t.model_version, e.store, e.example_id, e.sheet, e.item_ref, e.label_type, e.input, e.expected_output,
       COUNT(*) AS pairs
FROM trained_pairs AS t
JOIN shown AS s ON s.pair_id = t.pair_id
JOIN examples AS e ON e.example_id = s.example_id
GROUP BY t.model_name, t.model_version, e.store, e.example_id, e.sheet, e.item_ref, e.label_type, e.input,
         e.expected_output
ORDER BY t.model_name, TRY_CAST(t.model_version AS BIGINT), t.model_version, e.store, e.sheet, e.item_ref, e.example_id""",
        _A_MODEL,
    ),
}
"""The documented questions by name; docs/lineage_queries.md says what their columns mean."""


def named_query(name: str, given: Iterable[str] = (), queries: Mapping[str, NamedQuery] = QUERIES) -> NamedQuery:
    """The documented query of that name, when `given` names exactly its parameters.

    Raises:
        ArgumentError: for an unknown query, or a parameter that is missing or unknown.
    """
    if name not in queries:
        raise ArgumentError(f"there is no query '{name}'{nearest(name, queries)}")
    query = queries[name]
    names = set(given)
    for missing in sorted(set(query.parameters) - names):
        raise ArgumentError(f"query {name}: give {missing} ({query.parameters[missing]})")
    for unknown in sorted(names - set(query.parameters)):
        raise ArgumentError(f"query {name}: unknown parameter '{unknown}'{nearest(unknown, query.parameters)}")
    return query
