"""What the README claims: its own-data project runs as written, its commands and links exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from click.testing import CliRunner

from workbench_pipelines.access import roles_of
from workbench_pipelines.catalog.documents import KINDS
from workbench_pipelines.catalog.sheet_specs import Extract, SecondarySource
from workbench_pipelines.cli.commands import workbench
from workbench_pipelines.cli.lineage import QUERIES
from workbench_pipelines.clients import image_reader, text_reader
from workbench_pipelines.clients.readers import READERS
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines.volumes import volume_columns
from workbench_pipelines_tests.definition_world import make_catalog, make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import MODEL, provider

__all__ = ["provider"]

README = (CHECKOUT / "README.md").read_text()


def own_files() -> dict[str, str]:
    """The files of the README's own-data project by path, below `my/`."""
    return dict(re.findall(r"`my/([\w./]+)`[^\n]*\n\n```\w+\n(.*?)```", README, re.S))


def commands() -> list[list[str]]:
    """Every `.venv/bin/workbench ...` line of the README, as arguments."""
    import shlex

    lines = re.findall(r"^\.venv/bin/workbench (.+)$", README, re.M)
    return [shlex.split(line, comments=True) for line in lines]


def more_of(kind: str) -> dict[str, Any]:
    """What the README says a spec of this kind can hold besides."""
    (block,) = re.findall(r"^More of what a definition can say.*?```yaml\n(.*?)```", README, re.S | re.M)
    (text,) = re.findall(rf"^# in a {kind}'s spec\n(.*?)(?=^# in a |\Z)", block, re.S | re.M)
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def test_the_access_document_it_shows_gives_the_roles_it_names() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README.partition("\n## Reviews\n")[2].partition("\n## ")[0], re.DOTALL)
    roles = roles_of(make_catalog(yaml.safe_load(block)))
    assert roles.actions_of("ann") - {"undo"} == {"label", "edit", "reject", "flag"}
    assert roles.actions_of("bob") - roles.actions_of("rob") == {"approve"}
    assert roles.actions_of("stella") - roles.actions_of("bob") == {"restrict", "restore"}
    assert roles.sees_restricted("bob")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Sheet", {"primary_table": "tickets.csv", "item_ref": "ticket"}),
        ("TrainingSheet", {"sheet": "tickets"}),
        ("PromptTemplate", {"version": "1.0.0", "label_type": "team", "output_schema": [{"name": "team"}]}),
    ],
)
def test_what_a_definition_can_say_is_accepted(kind: str, given: dict[str, Any]) -> None:
    document = KINDS[kind].model_validate(make_document(kind, "tickets", **given, **more_of(kind)))
    assert document.name == "tickets"


def test_what_it_says_of_volumes_and_images_is_what_is_read() -> None:
    (said,) = re.findall(r"^\*\*Volumes\.\*\*.*?(?=^## )", README, re.S | re.M)
    assert set(re.findall(r"`(\.[a-z]+)`", said)) == {*text_reader.PDF, *text_reader.HTML, *text_reader.PLAIN}
    assert all(name in said for name in image_reader.FORMATS)
    assert {name for name in get_args(Extract) if f"`{name}`" in said or f"`extract: {name}`" in said} == {
        *get_args(Extract)
    }
    project_file = (CHECKOUT / "pyproject.toml").read_text()
    for extra in re.findall(r"'\.\[(\w+)\]'", said):
        assert READERS[extra].extra == extra
        assert re.search(rf"^{extra} = ", project_file, re.M)
    sources = {source["name"]: source for source in more_of("Sheet")["secondary_sources"]}
    columns = {
        name for source in sources.values() if source.get("type") == "volume"
        for name in volume_columns(SecondarySource.model_validate(source))
    }  # fmt: skip
    named = set(re.findall(r"`((?:document|photo)_\w+)`", said)) | set(more_of("PromptTemplate")["attachments"])
    assert named <= columns


def test_the_own_data_project_runs_as_it_is_written(project: Project) -> None:
    files = own_files()
    assert sorted(files) == ["sheets/data/tickets.csv", "sheets/tickets.yaml", "templates/ticket_team.yaml"]
    for path, text in files.items():
        project.write(path, text)
    assert project("validate").code == 0
    assert "Cannot log in" in project("preview", "tickets_routed").out
    assert project("plan", "--json").json["calls"] == 0
    ran = project("run", "tickets_v1", "--json")
    assert ran.code == 0, ran.err
    (export,) = ran.json["exports"]
    assert export["train"] + export["val"] + export["test"] == 20
    assert ran.json["models"][0]["name"] == "tickets_v1.router"
    assert project("status").code == 0


def test_the_few_shot_section_does_what_it_says(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, text in own_files().items():
        project.write(path, text)
    section = README.partition("### Few-shot examples")[2].partition("\n## ")[0]
    (yaml_block,) = re.findall(r"```yaml\n(.*?)```", section, re.S)
    project.write("sheets/examples.yaml", yaml_block)
    monkeypatch.setenv("WORKBENCH_MODEL", MODEL)
    rows = [
        {"sheet": "tickets", "item_ref": f"T-{n:03d}", "label_type": "ticket_team", "label_data": {"team": team}}
        for n, team in ((1, "access"), (2, "billing"), (3, "access"), (4, "billing"), (5, "access"), (6, "billing"))
    ]
    file = project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert project("label", "import", str(file)).code == 0
    assert project("validate").code == 0
    ran = project("run", "tickets_drafted", "--json")
    assert ran.code in (0, 5), ran.err
    assert ran.json["llm_calls"] == 14
    prompts = project.table("generate", "rendered_prompts")
    assert set(prompts["example_ids"].list.len()) <= {1, 2, 3}  # of six, those of the train split
    found = project("examples", "search", "cannot log in", "--store", "support", "-k", "5", "--json").json["examples"]
    assert found[0]["item_ref"] == "T-001"


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_of_the_readme_is_one(arguments: list[str]) -> None:
    group, names = workbench, []
    for argument in arguments:
        command = getattr(group, "commands", {}).get(argument)
        if command is None:
            break
        group, names = command, [*names, argument]
    assert names, f"workbench {arguments[0]} is no command"
    helped = CliRunner().invoke(workbench, [*names, "--help"])
    assert helped.exit_code == 0
    for option in (one for one in arguments if one.startswith("--")):
        assert option in helped.output


def test_the_documented_queries_exist() -> None:
    named = re.findall(r"--query (\w+)", README)
    assert named
    assert set(named) <= set(QUERIES)


def test_every_link_and_make_target_leads_somewhere() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", README)
    assert links
    assert [link for link in links if not (CHECKOUT / link).exists()] == []
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"^make (\w+)", README, re.M))
    assert {"run", "test", "ui"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_the_jobs_and_variables_it_names_are_the_ones_there_are() -> None:
    settings = (CHECKOUT / "workbench_pipelines" / "settings.py").read_text()
    for name in re.findall(r"^\| `([A-Z_]+)`", README, re.M):
        assert name in settings
    jobs = (CHECKOUT / "workbench_pipelines" / "defs" / "jobs.py").read_text()
    line = re.search(r"^Jobs: (.+?)\. ", README, re.M)
    assert line
    for job in re.findall(r"`(\w+)`", line.group(1)):
        assert f'"{job}"' in jobs


def test_the_starter_counts_are_those_of_the_starter_data() -> None:
    import polars as pl

    opinions = pl.scan_parquet(CHECKOUT / "sheets/data/opinions.parquet").select(pl.len()).collect().item()
    assert f"{opinions:,} sentences" in README
    labels = (CHECKOUT / "sheets/labels/iris_species.jsonl").read_text().splitlines()
    assert f"{len(labels)} canonical labels" in README


def test_the_workspace_names_the_code_location_as_the_project_does() -> None:
    workspace = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())
    project_file = Path(CHECKOUT / "pyproject.toml").read_text()
    (origin,) = workspace["load_from"]
    assert f'code_location_name = "{origin["python_module"]["location_name"]}"' in project_file
