"""Rendering 100,000 prompts: the sandboxed, strict, compiled-once template against plain Jinja2 on the same items.

    python benchmarks/rendering.py [--items N] [--rounds N]

Three templates, from the shortest to one with a loop and an include. Both sides make the same list of messages, and the
witness is the digest of all of them. Then the same against compiling for each row, on 1,000 items, as that is what a
template that is not kept costs; and what `render_prompts` does besides (types, hashes, canonical JSON) on all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from typing import Any

from side_by_side import Side, compare, print_table

PARTIALS = {"visit.j2": "- {{ visit.day }}: {{ visit.code }}{% if visit.note %} ({{ visit.note }}){% endif %}\n"}
TEMPLATES = {
    "four numbers": (
        "An iris flower has sepals {{ sepal_length }} cm long and {{ sepal_width }} cm wide, and petals "
        "{{ petal_length }} cm long and {{ petal_width }} cm wide. Which species: setosa, versicolor or virginica?"
    ),
    "text, filter and condition": (
        "Is the opinion in this text positive, negative or neutral?\n\nText: {{ text|trim }}\n"
        "{% if score > 2 %}People liked it.{% else %}People did not like it.{% endif %}"
    ),
    "loop and include": (
        "{{ text|upper }}\n{% for visit in visits %}{% include 'visit.j2' %}{% endfor %}\nWhich department?"
    ),
}


def make_items(count: int) -> list[dict[str, Any]]:
    # Imported here, by every side, so that no side's time holds the loading of a library.
    import polars

    import workbench_pipelines.prompts

    assert polars
    assert workbench_pipelines.prompts
    chance = random.Random(7)
    words = ["the", "film", "was", "good", "bad", "fine", "and", "i", "liked", "it", "not", "at", "all", "though"]
    return [
        {
            "sepal_length": round(chance.uniform(4, 8), 1),
            "sepal_width": round(chance.uniform(2, 5), 1),
            "petal_length": round(chance.uniform(1, 7), 1),
            "petal_width": round(chance.uniform(0, 3), 1),
            "text": " ".join(chance.choices(words, k=25)),
            "score": chance.randrange(5),
            "visits": [
                {"day": f"2026-01-{n + 1:02}", "code": f"C{chance.randrange(99)}", "note": "late" if n == 1 else ""}
                for n in range(4)
            ],
        }
        for _ in range(count)
    ]


def our_template(text: str) -> Any:
    from workbench_pipelines.catalog import PromptTemplate

    return PromptTemplate.model_validate(
        {
            "apiVersion": "workbench/v1",
            "kind": "PromptTemplate",
            "metadata": {"name": "bench"},
            "spec": {
                "version": "1.0.0",
                "label_type": "bench",
                "user_prompt_template": text,
                "output_schema": [{"name": "answer"}],
            },
        }
    )


def ours(text: str, items: list[dict[str, Any]]) -> list[Any]:
    from workbench_pipelines.templates import compile_template

    compiled = compile_template(our_template(text), PARTIALS, "bench")
    return [compiled.render(item) for item in items]


def plain(text: str, items: list[dict[str, Any]]) -> list[Any]:
    from jinja2 import DictLoader, Environment

    template = Environment(loader=DictLoader(PARTIALS), keep_trailing_newline=True).from_string(text)
    return [[{"role": "user", "content": template.render(item), "parts": None}] for item in items]


def compiled_per_row(text: str, items: list[dict[str, Any]]) -> list[Any]:
    from jinja2 import DictLoader, Environment

    return [
        [
            {
                "role": "user",
                "content": Environment(loader=DictLoader(PARTIALS), keep_trailing_newline=True)
                .from_string(text)
                .render(item),
                "parts": None,
            }
        ]
        for item in items
    ]


def whole_table(text: str, items: list[dict[str, Any]]) -> list[Any]:
    """The rows of `rendered_prompts`, from a snapshot with the bound columns."""
    import polars as pl

    from workbench_pipelines.catalog import TrainingSheet
    from workbench_pipelines.prompts import render_prompts
    from workbench_pipelines.templates import compile_template

    template = our_template(text)
    compiled = compile_template(template, PARTIALS, "bench")
    snapshot = pl.DataFrame(items).select(
        pl.int_range(pl.len()).cast(pl.String).str.zfill(9).alias("item_ref"),
        pl.lit("0" * 64).alias("item_hash"),
        pl.lit([], dtype=pl.List(pl.String)).alias("row_tags"),
        pl.lit('[{"allowed_uses":["training"],"source":"Sheet bench"}]').alias("usage_statements"),
        *sorted(compiled.variables),
    )
    spec = {"sheet": "bench", "template": "bench"}
    document = {"apiVersion": "workbench/v1", "kind": "TrainingSheet", "metadata": {"name": "bench"}, "spec": spec}
    training_sheet = TrainingSheet.model_validate(document)
    rendered = render_prompts(training_sheet, template, compiled, snapshot, where="bench")
    return rendered.frame["messages"].to_list()


def witness(messages: list[Any]) -> str:
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()

    def side(name: str, run: Any, text: str, count: int) -> Side:
        return Side(name, lambda items: run(text, items), lambda: make_items(count), witness)

    for title, text in TEMPLATES.items():
        both = [("plain Jinja2", plain), ("ours", ours)]
        figures = compare([side(name, run, text, given.items) for name, run in both], given.rounds)
        print_table(f"{given.items:,} prompts, {title}", figures, {"ours": 1.1})
    text = TEMPLATES["four numbers"]
    few = [("ours", ours), ("compiled per row", compiled_per_row)]
    print_table("1,000 prompts", compare([side(name, run, text, 1000) for name, run in few], given.rounds))
    whole = [("plain Jinja2", plain), ("the table of rendered_prompts", whole_table)]
    print_table(
        f"{given.items:,} prompts with types and hashes",
        compare([side(name, run, text, given.items) for name, run in whole], min(given.rounds, 3)),
    )


if __name__ == "__main__":
    main()
