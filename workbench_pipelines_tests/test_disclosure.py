"""What is restricted is not sent to a model outside the house."""

from __future__ import annotations

import polars as pl
import pytest

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.disclosure import WITHHELD, is_in_house, withheld
from workbench_pipelines.usage import UsageStatement, statements_to_json
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, provider, put, sheet, template, tickets, training_sheet

__all__ = ["provider"]

OUTSIDE = "https://models.example.com/v1"
SHOWS_NOTES = "Which team? {{ subject }} {{ note }}"
TAGGED = {"columns": {"note": {"tags": ["PHI"]}}}


@pytest.mark.parametrize(
    ("address", "provider_name", "expected"),
    [
        ("http://127.0.0.1:8000/v1", "openai", True),
        ("http://[::1]:8000/v1", "openai", True),
        ("http://10.1.2.3/v1", "hosted_vllm", True),
        ("http://localhost:11434", "ollama", True),
        ("http://vllm:8000/v1", "hosted_vllm", True),
        (None, "ollama", True),
        (None, "openai", False),
        (OUTSIDE, "openai", False),
        ("https://93.184.216.34/v1", "openai", False),
        ("https://127.0.0.1.example.com/v1", "openai", False),
        ("https://10.1.2.3@models.example.com/v1", "openai", False),
        ("", "openai", False),
    ],
)
def test_the_house_is_this_machine_and_its_private_network(
    address: str | None, provider_name: str, expected: bool
) -> None:
    assert is_in_house(address, provider_name) is expected


def test_a_prompt_is_withheld_for_what_it_shows_and_says_why() -> None:
    said = [UsageStatement("Sheet invoices", ("training",), data_classification="internal")]
    tag = UsageStatement("tag PHI of column name", prohibited_uses=("training",), data_classification="restricted")
    prompts = pl.DataFrame(
        [
            {
                "training_sheet": "a",
                "item_ref": ref,
                "pair_id": f"p{ref}",
                "usage_statements": statements_to_json(all_said),
            }
            for ref, all_said in (("1", said), ("2", [*said, tag]))
        ]
    )
    (row,) = withheld(prompts, ["openai/gpt-4o-mini"]).to_dicts()
    assert (row["pair_id"], row["reason"]) == ("p2", WITHHELD)
    assert row["detail"] == (
        "what it shows is restricted (tag PHI of column name), and openai/gpt-4o-mini is outside; ask a `local/` model, or "
        "say `generation: {allow_restricted: true}`"
    )
    assert withheld(prompts, []).is_empty()


def test_restricted_notes_stay_in_the_house(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project, tickets(4))
    define(project, sheet(**TAGGED), training_sheet(), template(SHOWS_NOTES))
    monkeypatch.setenv("OPENAI_API_BASE", OUTSIDE)
    (plan,) = project("plan", "drafted", "--json").json["training_sheets"]
    assert (plan["calls"], plan["refused"]) == (0, 4)
    ran = project("run", "drafted", "--json")
    assert ran.json["llm_calls"] == 0
    refusals = project.table("generate", "generated_pairs_refusals")
    assert refusals["reason"].to_list() == [WITHHELD] * 4
    assert not any(note in ran.out + ran.err for note in ("note 1", "note 2"))
    # On loopback it is the house's own model that is asked.
    monkeypatch.setenv("OPENAI_API_BASE", provider.url)
    assert project("run", "drafted", "--json").json["llm_calls"] == 4
    assert project.table("generate", "generated_pairs_refusals").is_empty()


def test_a_training_sheet_may_say_that_its_provider_is_trusted(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project, tickets(2))
    trusted = training_sheet(generation={"allow_restricted": True})
    define(project, sheet(**TAGGED), trusted, template(SHOWS_NOTES))
    monkeypatch.setenv("OPENAI_API_BASE", OUTSIDE)
    (plan,) = project("plan", "drafted", "--json").json["training_sheets"]
    assert (plan["calls"], plan["refused"]) == (2, 0)
