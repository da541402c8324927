"""Rows through the net: prompts, answers, labels and pairs, each as it may leave, or refused with the kind and the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.fields import schema_violation
from workbench_pipelines.identity import canonical_text, prompt_hash, response_hash
from workbench_pipelines.personal_data import BLOCK, REFUSED, regions
from workbench_pipelines.personal_data_net import Blocked, Net

_CHUNK = 10_000  # rows that are Python objects at one time
_REFUSAL = pl.Schema(dict.fromkeys(("training_sheet", "item_ref", "pair_id", "reason", "detail"), pl.String()))
Message = Mapping[str, Any]


def netted_prompts(prompts: pl.DataFrame, net: Net) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prompts whose messages may be shown, and those that may not be; their bound values went through the net before.

    What a template's words show to be personal data (`MRN: {{ number }}`) is masked in `inputs` as well.

    Input columns: training_sheet, item_ref, pair_id, messages, inputs, prompt_hash.

    Returns:
        The prompts in their order, and rows of `prompts.REFUSALS`.
    """
    changed: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for chunk in prompts.select("training_sheet", "item_ref", "pair_id", "messages", "inputs").iter_slices(_CHUNK):
        rows = chunk.to_dicts()
        net.prime((message["content"], "") for row in rows for message in row["messages"] if message["content"])
        for row in rows:
            try:
                messages, inputs = netted_messages(row["messages"], orjson.loads(row["inputs"]), net, row["item_ref"])
            except Blocked as error:
                refused.append({**row, "reason": REFUSED, "detail": f"the prompt shows {error}"})
                continue
            if messages is not None:
                changed.append(
                    {
                        "pair_id": row["pair_id"],
                        "messages": messages,
                        "inputs": canonical_text(inputs),
                        "prompt_hash": prompt_hash(messages),
                    }
                )
    refusals = pl.DataFrame([{name: row[name] for name in _REFUSAL} for row in refused], schema=_REFUSAL)
    kept = prompts.join(refusals, on="pair_id", how="anti", maintain_order="left") if refused else prompts
    schema = {name: prompts.schema[name] for name in ("pair_id", "messages", "inputs", "prompt_hash")}
    return replaced(kept, pl.DataFrame(changed, schema=schema)), refusals


def netted_messages(
    messages: Sequence[Message], inputs: Any, net: Net, item_ref: str
) -> tuple[list[dict[str, Any]] | None, Any]:
    """Messages as they may be shown, and their inputs; None where there is nothing to change.

    Raises:
        Blocked: where they show what is blocked, or what is masked in them is no text in the inputs.
    """
    found: dict[str, str] = {}
    now = []
    for message in messages:
        content = message["content"]
        if content:
            content = net.text(content, item_ref)
            if content != message["content"]:
                found |= _replacements(message["content"], net, item_ref)
        now.append({**message, "content": content})
    if not found:
        return None, inputs
    return now, _replaced_in(inputs, found, "")


def netted_answers(
    answers: pl.DataFrame, net: Net, schema: Mapping[str, Any], column: str = "response"
) -> pl.DataFrame:
    """What each answer says as it may leave, with `refused`, why it may not; null columns for answers that stay as they are.

    Input columns: item_ref and `column` (canonical JSON).

    Returns:
        `row` (the place of the answer), `netted` and `refused`; only rows that change.
    """
    rows: list[dict[str, Any]] = []
    start = 0
    for chunk in answers.select("item_ref", column).iter_slices(_CHUNK):
        read = {text: _read(text) for text in chunk[column].drop_nulls().unique()}
        net.prime(leaf for value in read.values() for leaf in _leaves(value, ""))
        for place, (item_ref, text) in enumerate(chunk.iter_rows(), start):
            if text is None:
                continue
            try:
                value = net.value(read[text], item_ref)
            except Blocked as error:
                rows.append({"row": place, "refused": f"the answer holds {error}"})
                continue
            if value != read[text]:
                misfit = schema_violation(value, schema)
                kinds = ", ".join(sorted({kind for kind, _ in net.acting(read[text], item_ref)}))
                why = f"the answer holds {kinds}, and does not fit its schema without: {misfit}" if misfit else None
                netted = value if read[text] == text else canonical_text(value)
                rows.append({"row": place, "netted": netted, "refused": why})
        start += chunk.height
    types = {"row": pl.UInt32, "netted": pl.String, "refused": pl.String}
    return pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=types)


def netted_drafts(drafts: pl.DataFrame, net: Net, schema: Mapping[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drafts whose answers may leave, and rows of `generation.REFUSALS` for the others.

    Input columns: training_sheet, item_ref, pair_id, response, response_hash.
    """
    found = netted_answers(drafts, net, schema)
    if found.is_empty():
        return drafts, _REFUSAL.to_frame()
    rows = drafts.with_row_index("row")
    said = rows.join(found, on="row", how="left", maintain_order="left")
    refused = said.filter(pl.col("refused").is_not_null())
    refusals = refused.select(
        "training_sheet", "item_ref", "pair_id", pl.lit(REFUSED).alias("reason"), pl.col("refused").alias("detail")
    )
    hashes = {text: response_hash(text) for text in found["netted"].drop_nulls().unique()}
    now = pl.col("netted").replace_strict(hashes, default=None, return_dtype=pl.String)
    kept = said.filter(pl.col("refused").is_null()).with_columns(
        pl.coalesce("netted", "response").alias("response"), pl.coalesce(now, "response_hash").alias("response_hash")
    )
    return kept.select(drafts.columns), refusals


def netted_labels(labels: pl.DataFrame, net: Net) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labels as what they say may leave, and those of which it may not.

    Input columns: item_ref, label_data and notes. A note in which something is blocked has it masked: no row hangs on a note.

    Returns:
        The labels that may, and the others with `refused`. One that breaks its schema without what was masked is flagged by
        whoever holds it against the schema.
    """
    found = netted_answers(labels, net, {}, "label_data")
    rows = labels.with_row_index("row").join(found, on="row", how="left", maintain_order="left")
    if "notes" in rows.columns:
        rows = rows.with_columns(_netted_notes(rows, net, "notes"))
    rows = rows.with_columns(pl.coalesce("netted", "label_data").alias("label_data")).drop("row", "netted")
    refused = pl.col("refused").is_not_null()
    return rows.filter(~refused).drop("refused"), rows.filter(refused)


def with_netted_notes(pairs: pl.DataFrame, net: Net, column: str = "review_notes") -> pl.DataFrame:
    """Pairs with what people noted of them as it may leave; what is blocked is masked, since no row hangs on a note."""
    return pairs.with_columns(_netted_notes(pairs, net, column))


def what_stands(pairs: pl.DataFrame, net: Net) -> dict[str, str]:
    """By pair, why it may not leave as it is: the first kind in it that is not only flagged, its field, and what to do.

    Input columns: pair_id, item_ref, messages, response, inputs.
    """
    found: dict[str, str] = {}
    for chunk in pairs.select("pair_id", "item_ref", "messages", "response", "inputs").iter_slices(_CHUNK):
        rows = chunk.to_dicts()
        net.prime(_texts_of(rows))
        for row in rows:
            standing = [
                (kind, "messages") for kind, _ in net.acting([m["content"] for m in row["messages"]], row["item_ref"])
            ]
            for column in ("response", "inputs"):
                value = orjson.loads(row[column]) if row[column] else None
                standing += [(kind, f"{column}.{name}") for kind, name in net.acting(value, row["item_ref"])]
            if standing:
                kind, place = standing[0]
                action = net.policy.action(kind)
                todo = "" if action == BLOCK else "; the pair is older than that: run its TrainingSheet again"
                found[row["pair_id"]] = f"{kind} in {place}: the policy says {action}{todo}"
    return found


def what_was_masked(pairs: pl.DataFrame, net: Net) -> dict[str, str]:
    """By pair, which kind that is blocked by now has a mask in it, and where.

    Input columns: pair_id, messages, response, inputs.
    """
    found: dict[str, str] = {}
    for pair_id, messages, *others in pairs.select("pair_id", "messages", "response", "inputs").iter_rows():
        texts = [("messages", one["content"]) for one in messages]
        for place, text in (*texts, *zip(("response", "inputs"), others, strict=True)):
            if text and (kinds := net.blocked_masks(text)):
                found.setdefault(pair_id, f"{kinds[0]} is masked in {place}: the policy says {BLOCK}")
    return found


def replaced(frame: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """A frame with the columns of some of its rows, by pair_id, as they are now."""
    if changed.is_empty():
        return frame
    columns = [name for name in changed.columns if name != "pair_id"]
    now = frame.join(changed, on="pair_id", how="left", maintain_order="left", suffix="_now")
    return now.with_columns(pl.coalesce(f"{name}_now", name).alias(name) for name in columns).select(frame.columns)


def _read(text: str) -> Any:
    """What an answer says; one that is no JSON, as a draft that a person refused may be, is a text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _netted_notes(rows: pl.DataFrame, net: Net, column: str) -> pl.Series:
    notes: list[str | None] = []
    net.prime((text, "") for text in rows[column].drop_nulls())
    for item_ref, text in rows.select("item_ref", column).iter_rows():
        try:
            notes.append(net.text(text, item_ref) if text else text)
        except Blocked as error:
            notes.append(f"({error})")
    return pl.Series(column, notes, pl.String)


def _replacements(text: str, net: Net, item_ref: str) -> dict[str, str]:
    """What of a text the net masks, each with what stands for it."""
    found = regions(net.spans(text, item_ref), net.policy)
    parts = {text[one.start : one.end]: one.kind for one in found}
    return {part: net.stands_for(kind, part) for part, kind in parts.items()}


def _replaced_in(value: Any, found: Mapping[str, str], name: str) -> Any:
    """A value with what was found elsewhere replaced in it."""
    if isinstance(value, dict):
        return {key: _replaced_in(inner, found, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced_in(inner, found, name) for inner in value]
    if isinstance(value, str):
        for part, stands in found.items():
            value = value.replace(part, stands)
        return value
    if not isinstance(value, bool) and str(value) in found:
        raise Blocked(
            found[str(value)].strip("<>"), name, "it is masked in the prompt, and is no text that can be masked"
        )
    return value


def _texts_of(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        yield from ((message["content"], "") for message in row["messages"] if message["content"])
        for column in ("response", "inputs"):
            if row[column]:
                yield from _leaves(orjson.loads(row[column]), "")


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """The texts in a value, each with the name of its field."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    elif isinstance(value, str):
        yield value, name
