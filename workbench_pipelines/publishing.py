"""Publishing: the lock that makes a published template version the same for everyone.

`templates/published.lock` holds one line for each version that was ever published, sorted: name, version and hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from workbench_pipelines.catalog import Catalog, Problem, PromptTemplate, version_key
from workbench_pipelines.errors import DefinitionError, TemplateError
from workbench_pipelines.templates import template_hash

LOCK_FILE = "templates/published.lock"

Lock = Mapping[tuple[str, str], str]
"""The hash of each published version, by name and version."""

_LINE = re.compile(r"(\S+) (\d+\.\d+\.\d+) ([0-9a-f]{64})")


def parse_lock(text: str) -> dict[tuple[str, str], str]:
    """The hashes of a lock file's text; an empty text locks nothing.

    Raises:
        DefinitionError: for a line that is no `name version sha256`, or a version that stands twice.
    """
    lock: dict[tuple[str, str], str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise DefinitionError(f"{LOCK_FILE}: line {number} is not `name version sha256`; restore it from git")
        if (found[1], found[2]) in lock:
            raise DefinitionError(f"{LOCK_FILE}: line {number} locks {found[1]} {found[2]} a second time")
        lock[found[1], found[2]] = found[3]
    return lock


def lock_problems(catalog: Catalog, lock: Lock) -> list[Problem]:
    """Each locked version that is gone, went back to draft, or is not what it was when it was published."""
    sources = catalog.template_sources()
    problems: list[Problem] = []
    for (name, version), locked in sorted(lock.items()):
        template = catalog.template_versions(name).get(version)
        if template is None:
            # A document that does not parse has its own problem, and may well be the one.
            if not any(problem.kind == "PromptTemplate" and problem.name == name for problem in catalog.problems):
                gone = f"version {version} was published and is gone; restore it, archived if nobody uses it"
                file = catalog.file_of("PromptTemplate", name) or LOCK_FILE
                problems.append(Problem(file, "PromptTemplate", name, gone))
            continue
        message = _changed(template, sources, locked)
        if message:
            problems.append(Problem(_file_of(catalog, template), "PromptTemplate", name, message))
    return problems


def updated_lock(catalog: Catalog, lock: Lock) -> str:
    """The text of the lock with every newly published version; a line once written never changes.

    Raises:
        TemplateError: when a newly published template can not be parsed.
    """
    sources = catalog.template_sources()
    new = {
        (template.name, template.spec.version): template_hash(template, sources)
        for template in _published(catalog)
        if (template.name, template.spec.version) not in lock
    }
    lines = sorted({**new, **lock}.items(), key=lambda entry: (entry[0][0], version_key(entry[0][1])))
    return "".join(f"{name} {version} {sha}\n" for (name, version), sha in lines)


def _published(catalog: Catalog) -> Iterator[PromptTemplate]:
    for name in catalog.names("PromptTemplate"):
        for template in catalog.template_versions(name).values():
            if template.spec.status == "published":
                yield template


def _changed(template: PromptTemplate, sources: Mapping[str, str], locked: str) -> str | None:
    version = template.spec.version
    if template.spec.status == "draft":
        return f"spec.status: version {version} was published and can not be a draft again; archive it instead"
    try:
        if template_hash(template, sources) == locked:
            return None
    except TemplateError:
        pass  # it no longer parses, so it was changed
    return (
        f"version {version} was published and its spec, or a text it includes, has changed since; "
        "restore it and give the change a new version"
    )


def _file_of(catalog: Catalog, template: PromptTemplate) -> str:
    return next((one.file for one in catalog.parsed if one.document is template), "")
