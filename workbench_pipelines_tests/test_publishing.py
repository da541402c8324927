"""A published template version is the same for everyone, for ever."""

from __future__ import annotations

import pytest

from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.publishing import lock_problems, parse_lock, updated_lock
from workbench_pipelines_tests.definition_world import make_catalog, template_document


def lock_of(*documents: dict, partials: dict[str, str] | None = None) -> dict[tuple[str, str], str]:
    return parse_lock(updated_lock(make_catalog(*documents, partials=partials), {}))


def lines(*documents: dict, lock: dict[tuple[str, str], str], partials: dict[str, str] | None = None) -> list[str]:
    return [one.line for one in lock_problems(make_catalog(*documents, partials=partials), lock)]


def test_the_lock_holds_published_versions_in_their_own_order() -> None:
    catalog = make_catalog(
        template_document(version="1.10.0"),
        template_document(version="1.9.0"),
        template_document(name="draft", status="draft"),
    )
    text = updated_lock(catalog, {})
    assert [line.split()[:2] for line in text.splitlines()] == [["t", "1.9.0"], ["t", "1.10.0"]]
    assert updated_lock(catalog, parse_lock(text)) == text


def test_a_new_version_is_added_and_no_line_ever_changes() -> None:
    lock = {("t", "1.0.0"): "a" * 64, ("gone", "1.0.0"): "b" * 64}
    text = updated_lock(make_catalog(template_document(), template_document(version="1.1.0")), lock)
    assert parse_lock(text).items() >= lock.items()
    assert ("t", "1.1.0") in parse_lock(text)


def test_an_unchanged_or_archived_version_is_no_problem() -> None:
    lock = lock_of(template_document())
    assert lines(template_document(), lock=lock) == []
    assert lines(template_document(status="archived"), lock=lock) == []


def test_a_changed_version_is_told_to_become_a_new_one() -> None:
    (line,) = lines(template_document("Is {{ x }} wrong?"), lock=lock_of(template_document()))
    assert line == (
        "0.yaml: PromptTemplate t: version 1.0.0 was published and its spec, or a text it includes, has changed since; "
        "restore it and give the change a new version"
    )


def test_a_changed_partial_changes_what_includes_it() -> None:
    including = template_document("{% include 'p.j2' %}")
    lock = lock_of(including, partials={"p.j2": "1", "q.j2": "1"})
    assert lines(including, lock=lock, partials={"p.j2": "1", "q.j2": "2"}) == []
    assert len(lines(including, lock=lock, partials={"p.j2": "2", "q.j2": "1"})) == 1


def test_a_version_that_is_gone_or_a_draft_again_is_named() -> None:
    lock = lock_of(template_document(), template_document(version="2.0.0"))
    assert lines(template_document(version="2.0.0"), lock=lock) == [
        "0.yaml: PromptTemplate t: version 1.0.0 was published and is gone; restore it, archived if nobody uses it"
    ]
    (line,) = lines(template_document(status="draft"), template_document(version="2.0.0"), lock=lock)
    assert "can not be a draft again" in line


def test_a_version_that_no_longer_parses_was_changed() -> None:
    assert len(lines(template_document("{{ x"), lock=lock_of(template_document()))) == 1


@pytest.mark.parametrize("text", ["t 1.0.0", "t 1.0 " + "a" * 64, f"t 1.0.0 {'a' * 64}\nt 1.0.0 {'b' * 64}"])
def test_a_damaged_lock_names_its_line(text: str) -> None:
    with pytest.raises(DefinitionError, match=r"^templates/published.lock: line [12] "):
        parse_lock(text)
