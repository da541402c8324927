"""The files of a project load whatever state they are in, and the lock is replaced in one step."""

from __future__ import annotations

from pathlib import Path

from workbench_pipelines.clients.project_files import ProjectFiles, load_project_catalog

SHEET = "apiVersion: workbench/v1\nkind: Sheet\nmetadata: {name: a}\nspec: {primary_table: a.csv, item_ref: id}\n"


def file(folder: Path, name: str, content: bytes | str = "x: 1\n") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def paths(project: Path) -> list[str]:
    return [one.path for one in ProjectFiles(project).definitions()]


def test_definitions_are_the_yaml_files_of_both_folders_in_order(tmp_path: Path) -> None:
    for name in ("templates/t.yaml", "sheets/b.yml", "sheets/deep/a.yaml", "sheets/a.csv", "other/x.yaml"):
        file(tmp_path, name)
    assert paths(tmp_path) == ["sheets/b.yml", "sheets/deep/a.yaml", "templates/t.yaml"]


def test_a_project_without_folders_has_no_definitions(tmp_path: Path) -> None:
    assert paths(tmp_path) == []


def test_hidden_files_and_links_out_of_the_project_are_left_out(tmp_path: Path) -> None:
    project = tmp_path / "project"
    outside = file(tmp_path, "outside/a.yaml")
    file(project, "sheets/.draft.yaml")
    file(project, "sheets/.git/x.yaml")
    (project / "sheets/link.yaml").symlink_to(outside)
    (project / "sheets/folder").symlink_to(outside.parent)
    (project / "sheets/circle").symlink_to(project / "sheets")
    assert paths(project) == []


def test_a_file_that_is_no_text_is_a_problem_and_the_rest_loads(tmp_path: Path) -> None:
    file(tmp_path, "sheets/a.yaml", SHEET)
    file(tmp_path, "sheets/b.yaml", b"kind: Sheet\nmetadata: {name: caf\xe9}\n")
    catalog = load_project_catalog(ProjectFiles(tmp_path))
    assert catalog.names("Sheet") == ["a"]
    assert [one.line for one in catalog.problems] == [
        "sheets/b.yaml: byte 0xE9 in line 2 is not UTF-8; save it as UTF-8"
    ]


def test_partials_are_named_relative_to_the_templates(tmp_path: Path) -> None:
    file(tmp_path, "templates/parts/head.j2", "{{ x }}")
    file(tmp_path, "templates/parts/bad.j2", b"\xff")
    files = ProjectFiles(tmp_path)
    assert files.partials() == {"parts/head.j2": "{{ x }}"}
    assert [one.file for one in files.problems()] == ["templates/parts/bad.j2"]


def test_the_lock_is_written_and_read(tmp_path: Path) -> None:
    files = ProjectFiles(tmp_path)
    assert files.published_lock() is None
    files.write_published_lock("one\n")
    files.write_published_lock("two\n")
    assert files.published_lock() == "two\n"
    assert [path.name for path in (tmp_path / "templates").iterdir()] == ["published.lock"]
