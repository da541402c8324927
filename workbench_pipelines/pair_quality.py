"""The quality of pairs: what was looked at in each, what was found, and why a person should look at it.

What is found flags a pair and rejects none. A value that is null was not looked at, which is not the same as nothing found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.answer_quality import FAULTS, Usual, faults_of, score_of, usual_length
from workbench_pipelines.catalog.quality_specs import QualitySpec
from workbench_pipelines.catalog.variety import AnswerLanguageSpec
from workbench_pipelines.consensus import KEY
from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.duplicates import components, exact_copies, near_duplicates, texts_of
from workbench_pipelines.fields import is_closed
from workbench_pipelines.identity import response_hash
from workbench_pipelines.known_values import NOTHING_KNOWN, KnownValues, known_spans
from workbench_pipelines.languages import Identify, other_language, text_of
from workbench_pipelines.personal_data import KNOWN_VALUE
from workbench_pipelines.row_digests import table_digest
from workbench_pipelines.toxicity import TOXIC, ToxicWords, toxicity_of

Frame = pl.DataFrame | pl.LazyFrame

PAIR_QUALITY = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "response_hash": pl.String(),
        "quality_score": pl.Float64(),
        "faults": pl.List(pl.String()),
        "toxicity": pl.Float64(),
        "input_toxicity": pl.Float64(),
        "language": pl.String(),
        "duplicate_of": pl.String(),
        "duplicate": pl.String(),
        "pii": pl.List(pl.String()),
        "inconsistent": pl.List(pl.String()),
        "judge": pl.String(),
        "judge_score": pl.Float64(),
        "judge_probability": pl.Float64(),
        "judged_at": UTC_TIME,
        "judge_statements": pl.String(),
        "error_bound": pl.Float64(),
        "auto_approved": pl.Boolean(),
        "needs": pl.List(pl.String()),
    }
)
"""Columns of `label/pair_quality`: a row for each pair that has an answer, the expert's where one has labeled its item.

`response_hash` names the answer that was looked at. `needs` are the reasons for which a person should look, in the order of
`NEEDS`. `judge_statements` are what a judge's rubric states of uses (JSON), `auto_approved` says that the judge's word stands."""

DOUBTFUL = 0.5  # of a judge: rather wrong than right
NEEDS = (
    *FAULTS, "inconsistent", "answered_otherwise", "duplicate", "near_duplicate", "wrong_language", "pii", "toxic_answer",
    "toxic_input", "judge_doubts",
)  # fmt: skip
"""Why a person should look at a pair: the faults of its answer by their names, and what was found beside them."""

JUDGED = pl.Schema(
    {
        name: PAIR_QUALITY[name]
        for name in (
            "pair_id",
            "judge",
            "judge_score",
            "judge_probability",
            "judged_at",
            "judge_statements",
            "error_bound",
        )
    }
    | {"approvable": pl.Boolean()}
)
"""What a judge said of pairs; `approvable` where its word would stand without a person."""

# Pairs whose texts are in memory at one time.
_PART = 50_000


@dataclass(frozen=True)
class Looks:
    """What looks at texts, from outside: their language, personal data in them, words that are toxic, and what is known of the
    items."""

    identify: Identify
    personal_data: Callable[[pl.Series], pl.Series]
    toxic_words: Callable[[], ToxicWords]
    known_values: KnownValues = NOTHING_KNOWN


def answers_to_look_at(rendered: Frame, generated: Frame, labels: Frame) -> pl.DataFrame:
    """The answer of each pair, as it will stand in it: the expert's live label of its item, else its draft.

    Args:
        rendered: rows of `generate/rendered_prompts` of one TrainingSheet.
        generated: rows of `generate/generated_pairs` of the same one.
        labels: rows of `label/canonical_labels` of its Sheet.

    Returns:
        training_sheet, pair_id, sheet, item_ref, label_type, inputs, response, response_hash and is_label, in the order of the
        drafts; pairs without an answer are left out.
    """
    live = labels.lazy().filter(pl.col("active") & ~pl.col("stale")).select(*KEY, "label_data")
    found = (
        generated.lazy()
        .select("training_sheet", "pair_id", "response", "response_hash")
        .join(rendered.lazy().select("pair_id", *KEY, "inputs"), on="pair_id", how="inner", maintain_order="left")
        .join(live, on=KEY, how="left", maintain_order="left")
        .with_columns(is_label=pl.col("label_data").is_not_null(), response=pl.coalesce("label_data", "response"))
        .filter(pl.col("response").is_not_null())
        .collect()
    )
    said = {text: response_hash(text) for text in found["label_data"].drop_nulls().unique()}
    by_label = pl.col("label_data").replace_strict(said, default=None, return_dtype=pl.String)
    return found.with_columns(pl.coalesce(by_label, "response_hash").alias("response_hash")).select(
        "training_sheet", "pair_id", *KEY, "inputs", "response", "response_hash", "is_label"
    )


def look_at(
    answers: pl.DataFrame,
    spec: QualitySpec,
    schema: Mapping[str, Any],
    looks: Looks,
    *,
    languages: Mapping[str, str] | None = None,
    answer_language: AnswerLanguageSpec | None = None,
    inconsistent: pl.DataFrame | None = None,
    judged: pl.DataFrame | None = None,
    auto_approve: bool = False,
) -> pl.DataFrame:
    """What is found in each pair; rows of `PAIR_QUALITY` in the order of the answers.

    Args:
        answers: as `answers_to_look_at` gives them.
        schema: the output schema of the template.
        languages: by pair, the language its answer should be in, where something names it; with it goes `answer_language`,
            which says what of an answer is looked at.
        inconsistent: pair_id and the rules it breaks (`consistency.broken_rules`).
        judged: what a judge said of them; rows of `JUDGED`.
        auto_approve: whether the judge's word stands where it may.
    """
    usual = usual_length(answers["response"].to_list(), schema)
    parts = [_texts(part, schema, usual) for part in answers.iter_slices(_PART)]
    seen = pl.concat(parts) if parts else answers.with_columns(shown=pl.lit(""), said=pl.lit(""), faults=pl.lit([]))
    seen = seen.drop("inputs", "response")
    if spec.duplicates:
        seen = _with_duplicates(seen, is_closed(schema))
    if spec.toxicity and seen.height:
        words = looks.toxic_words()
        scores = {"toxicity": toxicity_of(seen["said"], words), "input_toxicity": toxicity_of(seen["shown"], words)}
        seen = seen.with_columns(series.alias(name) for name, series in scores.items())
    if spec.pii:
        both = seen.select(pl.concat_str("shown", "said", separator="\n;\n")).to_series()
        seen = seen.with_columns(_with_known(looks.personal_data(both), both, seen["item_ref"], looks.known_values))
    if languages is not None and answer_language is not None:
        seen = _with_languages(seen, answers, languages, answer_language, looks.identify)
    for extra in (inconsistent, judged):
        if extra is not None:
            seen = seen.join(extra, on="pair_id", how="left", maintain_order="left")
    known = {
        **PAIR_QUALITY,
        "approvable": pl.Boolean(),
        "other_language": pl.Boolean(),
        "answered_otherwise": pl.Boolean(),
    }
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in known.items() if name not in seen.columns]
    return _decided(seen.with_columns(absent), auto_approve)


def flag_counts(quality: pl.DataFrame) -> dict[str, int]:
    """How many pairs there are for each reason to look at them; reasons that nothing has are left out."""
    needs = quality.select(pl.col("needs").explode()).drop_nulls().to_series()
    counts = dict(needs.value_counts().iter_rows())
    return {name: counts[name] for name in NEEDS if name in counts}


def content_of(quality: pl.DataFrame) -> str:
    """The content of what was found, without times."""
    lists = {"faults", "pii", "inconsistent", "needs"}
    said = [
        pl.col(name) if name in lists else pl.col(name).cast(pl.String) for name in PAIR_QUALITY if name != "judged_at"
    ]
    return table_digest(quality.select(said).sort("pair_id"))


def _texts(part: pl.DataFrame, schema: Mapping[str, Any], usual: Usual | None) -> pl.DataFrame:
    """A part of the answers with what is shown and said in each, as text, and the faults of each answer."""
    shown = [None if text is None else texts_of([orjson.loads(text)]) for text in part["inputs"]]
    said = [texts_of([orjson.loads(text)]) for text in part["response"]]
    if is_closed(schema):
        # Classes are few and rows are many: each is looked at once.
        found = {text: faults_of(text, "", schema) for text in part["response"].unique()}
        faults = [found[text] for text in part["response"]]
    else:
        faults = [
            faults_of(text, what or "", schema, usual) for text, what in zip(part["response"], shown, strict=True)
        ]
    return part.with_columns(
        pl.Series("shown", shown, pl.String),
        pl.Series("said", said, pl.String),
        pl.Series("faults", faults, pl.List(pl.String)),
    )


def _with_known(kinds: pl.Series, texts: pl.Series, items: pl.Series, known: KnownValues) -> pl.Series:
    """The kinds of personal data in texts, with that of what is known of their items; where nobody looked for the others, null
    stays null unless something is found."""
    if not known.any:
        return kinds.alias("pii")
    rows = []
    for found, text, item in zip(kinds, texts, items, strict=True):
        held = None if found is None else found.to_list()
        rows.append(sorted({*(held or ()), KNOWN_VALUE}) if text and known_spans(text, known.of(item)) else held)
    return pl.Series("pii", rows, dtype=pl.List(pl.String))


def _with_duplicates(seen: pl.DataFrame, closed: bool) -> pl.DataFrame:
    """Pairs with what they say again; the same question with another answer of a known few is no copy but a contradiction."""
    text = pl.concat_str("shown", "said", separator="\n", ignore_nulls=True)
    texts = seen.select("pair_id", "shown", pl.col("said").alias("answer"), text.alias("text"))
    near = near_duplicates(texts)
    otherwise: set[str] = set()
    if closed:
        answer = texts.select("pair_id", "answer")
        near = near.join(answer, left_on="a", right_on="pair_id").join(
            answer, left_on="b", right_on="pair_id", suffix="_b"
        )
        near = near.filter(pl.col("answer") == pl.col("answer_b"))
        contradicted = texts.filter(pl.col("shown").str.len_chars() > 0).filter(
            pl.col("answer").n_unique().over("shown") > 1
        )
        otherwise = set(contradicted["pair_id"])
    lowest = components(near)
    copies = exact_copies(texts)
    for name, earliest in copies.items():
        # A text in which nothing can be seen shares no words with its copy.
        lowest.setdefault(name, earliest)
    rows = [(name, low, "exact" if name in copies else "near") for name, low in lowest.items() if name != low]
    found = pl.DataFrame(
        rows, schema={"pair_id": pl.String, "duplicate_of": pl.String, "duplicate": pl.String}, orient="row"
    )
    return seen.join(found, on="pair_id", how="left", maintain_order="left").with_columns(
        pl.col("pair_id").is_in(sorted(otherwise)).alias("answered_otherwise")
    )


def _with_languages(
    seen: pl.DataFrame,
    answers: pl.DataFrame,
    languages: Mapping[str, str],
    spec: AnswerLanguageSpec,
    identify: Identify,
) -> pl.DataFrame:
    """Pairs with the language of their answers, and whether that is another one than it should be."""
    found: dict[tuple[str, str | None], tuple[str | None, bool | None]] = {}
    rows = []
    for pair_id, response in answers.select("pair_id", "response").iter_rows():
        asked = (response, languages.get(pair_id))
        if asked not in found:
            found[asked] = _language_of(text_of(response, spec), asked[1], spec.min_characters, identify)
        rows.append(found[asked])
    languages_found, others = ([row[place] for row in rows] for place in (0, 1))
    return seen.with_columns(
        pl.Series("language", languages_found, pl.String), pl.Series("other_language", others, pl.Boolean)
    )


def _language_of(text: str, wanted: str | None, at_least: int, identify: Identify) -> tuple[str | None, bool | None]:
    """The language of a text, and whether it is hardly the wanted one; nothing where it is too short to tell."""
    if len(text) < at_least:
        return None, None
    ranked = identify(text)
    return next(iter(ranked)), None if wanted is None else other_language(ranked, wanted) is not None


def _decided(seen: pl.DataFrame, auto_approve: bool) -> pl.DataFrame:
    """Rows of `PAIR_QUALITY`: the score, the reasons to look, and whether a judge's word stands."""
    faults = {tuple(names): score_of(names) for names in seen["faults"].unique().to_list()}
    scores = pl.Series("score", [faults[tuple(names)] for names in seen["faults"].to_list()], pl.Float64)
    doubted = pl.col("judge_probability") < DOUBTFUL
    found = {
        "inconsistent": pl.col("inconsistent").list.len() > 0,
        "answered_otherwise": pl.col("answered_otherwise"),
        "duplicate": pl.col("duplicate") == "exact",
        "near_duplicate": pl.col("duplicate") == "near",
        "wrong_language": pl.col("other_language"),
        "pii": pl.col("pii").list.len() > 0,
        "toxic_answer": pl.col("toxicity") >= TOXIC,
        "toxic_input": pl.col("input_toxicity") >= TOXIC,
        "judge_doubts": doubted & ~pl.col("is_label"),
    }
    flags = pl.concat_list([pl.when(holds.fill_null(False)).then(pl.lit(name)) for name, holds in found.items()])
    needs = pl.concat_list("faults", flags.list.drop_nulls())
    stands = pl.col("approvable").fill_null(False) & ~pl.col("is_label") & (pl.col("needs").list.len() == 0)
    decided = seen.with_columns(
        (scores * pl.col("judge_probability").fill_null(1.0)).round(6).alias("quality_score"), needs.alias("needs")
    ).with_columns((stands & auto_approve).alias("auto_approved"))
    return decided.select([pl.col(name).cast(dtype) for name, dtype in PAIR_QUALITY.items()])
