"""Few-shot prompts: the examples most similar to an item stand as turns before its question.

An example is never the item itself nor a near-duplicate of it, so that no prompt holds its own answer. Which examples may be
shown at all is decided before (`example_standing`, `example_splits`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from workbench_pipelines import identity
from workbench_pipelines.compared_words import words_of
from workbench_pipelines.duplicates import NEAR_DUPLICATE, SHINGLE
from workbench_pipelines.features import Embed
from workbench_pipelines.usage import statements_from_json, statements_to_json

if TYPE_CHECKING:
    import numpy as np

SIMILARITY_DIGITS = 4  # what differs by less is alike: the last digits of a product depend on the machine
_CHUNK = 512  # prompts whose similarities to all examples are in memory at one time
_SPARE = 32  # examples looked at beyond those wanted, before all are put in order

Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Pool:
    """The examples that prompts of a TrainingSheet may show, in the order of their items.

    Columns of `frame`: example_id, sheet, item_ref, input, inputs, expected_output, and statements (JSON, what is stated of
    what the example shows). `vectors` holds a row of length one for each.
    """

    frame: pl.DataFrame
    vectors: np.ndarray


def pool_of(examples: pl.DataFrame, embed: Embed, embedding_model: str) -> Pool:
    """A pool of these examples; one that was embedded by another model is embedded again, to be comparable.

    Input columns: those of `Pool`, embedding and embedding_model.
    """
    import numpy as np

    examples = examples.sort("sheet", "item_ref")
    if examples.is_empty():
        return Pool(examples, np.zeros((0, 1), dtype=np.float32))
    if (examples["embedding_model"] == embedding_model).all() and not examples["embedding"].null_count():
        vectors = np.array(examples["embedding"].to_list(), dtype=np.float32)
    else:
        vectors = embed(examples["input"].to_list())
    return Pool(examples, _unit(vectors))


def show_examples(prompts: pl.DataFrame, pool: Pool, *, k: int, lead: int, embed: Embed) -> pl.DataFrame:
    """The prompts, each with its `k` most similar examples as turns before its question, the most similar one last.

    Equally similar ones count in the order of their Sheets and items. What is stated of an example is stated of the prompt
    from then on. The columns an item shows, and their hash, stay as they are.

    Input columns: those of `prompts.RENDERED_PROMPTS`.
    Output columns: the same, with messages, prompt_hash, usage_statements and example_ids changed.

    Args:
        lead: how many messages stand before the question: the system prompt and the turns of the template's own examples.
    """
    if prompts.is_empty() or pool.frame.is_empty():
        return prompts
    shown = _Shown(pool, k)
    return pl.concat([shown.within(part, lead, embed) for part in prompts.iter_slices(_CHUNK)])


def similarities(texts: Sequence[str], pool: Pool, embed: Embed) -> np.ndarray:
    """A row for each text: the cosine of its embedding with that of each example."""
    import numpy as np

    if pool.frame.is_empty():
        return np.zeros((len(texts), 0), dtype=np.float32)
    return np.asarray(np.round(_unit(embed(list(texts))) @ pool.vectors.T, SIMILARITY_DIGITS))


def example_figures(prompts: pl.DataFrame, k: int) -> dict[str, int]:
    """How many different examples prompts show, and how many prompts show fewer than they ask for."""
    shown = prompts["example_ids"].list
    return {
        "examples_shown": prompts["example_ids"].explode().n_unique() if shown.len().sum() else 0,
        "prompts_short_of_examples": int((shown.len().fill_null(0) < k).sum()),
    }


def shingles(inputs: str) -> Shingles:
    """The runs of three words of what an item shows (canonical JSON of its bound variables), or all its words if fewer."""
    words = words_of("\n".join(_leaves(orjson.loads(inputs))))
    return frozenset(tuple(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1)))


def near_duplicates(one: Shingles, other: Shingles) -> bool:
    """Whether two items share so much that one would give the other's answer away; exact, by Jaccard's index."""
    return len(one & other) >= NEAR_DUPLICATE * len(one | other)


def is_same_item(sheet: str, item_ref: str, other_sheet: str, other_ref: str) -> bool:
    """Whether two items are one, or one is derived from the other (`<parent>#<n>`)."""
    if sheet != other_sheet:
        return False
    return item_ref == other_ref or item_ref.startswith(f"{other_ref}#") or other_ref.startswith(f"{item_ref}#")


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None:
        yield str(value)


def _unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


class _Shown:
    """The examples of a pool as turns, and what of them is worked out once for all prompts."""

    def __init__(self, pool: Pool, k: int) -> None:
        self.pool, self.k = pool, k
        self.rows = pool.frame.select("example_id", "sheet", "item_ref", "input", "expected_output").to_dicts()
        self.shingles = [shingles(text) for text in pool.frame["inputs"]]
        self.statements = [
            _as_example(text, row["sheet"]) for text, row in zip(pool.frame["statements"], self.rows, strict=True)
        ]

    def within(self, prompts: pl.DataFrame, lead: int, embed: Embed) -> pl.DataFrame:
        rows = prompts.to_dicts()
        questions = ["\n".join(m["content"] or "" for m in row["messages"][lead:]) for row in rows]
        changed = []
        for row, similar in zip(rows, similarities(questions, self.pool, embed), strict=True):
            chosen = self._chosen(row, similar)
            turns = [turn for place in reversed(chosen) for turn in self._turns(place)]
            messages = [*row["messages"][:lead], *turns, *row["messages"][lead:]]
            said = tuple(sorted({self.statements[place] for place in chosen}))
            changed.append(
                {
                    "messages": messages,
                    "prompt_hash": identity.prompt_hash(messages),
                    "usage_statements": _together(row["usage_statements"], said),
                    "example_ids": [self.rows[place]["example_id"] for place in reversed(chosen)],
                }
            )
        schema = {name: prompts.schema[name] for name in changed[0]}
        return prompts.with_columns(pl.DataFrame(changed, schema=schema).get_columns())

    def _chosen(self, row: Mapping[str, Any], similar: np.ndarray) -> list[int]:
        """The places of the examples for a prompt, the most similar one first."""
        own = shingles(row["inputs"])
        chosen: list[int] = []
        for place in _by_similarity(similar, self.k):
            other = self.rows[place]
            if is_same_item(row["sheet"], row["item_ref"], other["sheet"], other["item_ref"]):
                continue
            if near_duplicates(own, self.shingles[place]):
                continue
            chosen.append(place)
            if len(chosen) == self.k:
                break
        return chosen

    def _turns(self, place: int) -> list[dict[str, str | None]]:
        row = self.rows[place]
        return [
            {"role": "user", "content": row["input"], "parts": None},
            {"role": "assistant", "content": row["expected_output"], "parts": None},
        ]


def _by_similarity(similar: np.ndarray, k: int) -> Iterator[int]:
    """The places from the most similar on; of equally similar ones the first comes first. All are put in order only if need be."""
    import numpy as np

    count = len(similar)
    near = np.arange(count)
    if count > k + _SPARE:
        least = np.partition(similar, count - k - _SPARE)[count - k - _SPARE]
        near = np.flatnonzero(similar >= least)
    yield from near[np.argsort(-similar[near], kind="stable")].tolist()
    if len(near) < count:
        far = np.setdiff1d(np.arange(count), near, assume_unique=True)
        yield from far[np.argsort(-similar[far], kind="stable")].tolist()


@lru_cache(maxsize=4096)  # few texts, many examples
def _as_example(statements: str, sheet: str) -> str:
    """What is stated of an example, as a prompt that shows it says it; it counts whatever columns the prompt shows."""
    source = f"few-shot example of {sheet}"
    said = statements_from_json(statements)
    return statements_to_json(replace(one, source=f"{source}: {one.source}", columns=None) for one in said)


@lru_cache(maxsize=4096)
def _together(own: str, others: Sequence[str]) -> str:
    return statements_to_json(one for text in (own, *others) for one in statements_from_json(text))
