"""Few-shot examples through the real command line: what is shown, what is paid, what is never shown."""

from __future__ import annotations

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines_tests.example_world import few_shot, label, plant, prompts, run, shown_refs, store
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import provider

__all__ = ["provider"]


def test_a(project: Project, provider: ScriptedProvider) -> None:
    plant(project)
    label(project, *range(8))
    ran = run(project)
    print(ran.out)
    p = prompts(project)["T-010"]
    for m in p["messages"]: print(m)
    print(p)
    print(store(project).select("item_ref","input","expected_output","snapshot","search_keys","allowed_uses"))
    assert run(project).json["llm_calls"]==0
