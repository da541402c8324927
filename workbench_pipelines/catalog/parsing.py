"""From the text of a YAML file to documents, each with its own problem lines when it is wrong."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from workbench_pipelines.catalog.documents import KINDS, Document
from workbench_pipelines.errors import nearest


@dataclass(frozen=True)
class ProjectFile:
    """A definition file: its path relative to the project, and its text."""

    path: str
    text: str


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in one document; `line` is what people read."""

    file: str
    kind: str | None
    name: str | None
    message: str

    @property
    def line(self) -> str:
        subject = f"{self.kind} {self.name}: " if self.kind and self.name else ""
        return " ".join(f"{self.file}: {subject}{self.message}".split())


@dataclass(frozen=True)
class Parsed:
    """A document with its file; `document` is None where it is broken, and `problems` says why."""

    file: str
    kind: str | None
    name: str | None
    document: Document | None
    problems: tuple[Problem, ...] = ()


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML without silent overwriting: a key that stands twice is an error."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if isinstance(key, str) and key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", key_node.start_mark)
        seen.add(key if isinstance(key, str) else id(key_node))
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


# A run asks for the catalog at every step, and its files hardly change: documents are frozen values.
@lru_cache(maxsize=1024)
def parse_file(file: ProjectFile) -> tuple[Parsed, ...]:
    """The documents of a file; one broken document leaves the others readable."""
    return tuple(_documents(file))


def _documents(file: ProjectFile) -> Iterator[Parsed]:
    first_line = 0
    for text in re.split(r"(?m)^---[ \t]*(?:#.*)?$", file.text):
        if text.strip() and any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
            yield _parse_document(file.path, text, first_line)
        first_line += text.count("\n")


def _parse_document(path: str, text: str, first_line: int) -> Parsed:
    try:
        raw = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        kind, name = _guess_kind(text), _guess_name(text)
        mark = getattr(error, "problem_mark", None)
        where = f"line {first_line + mark.line + 1}: " if mark else ""
        found = getattr(error, "problem", None) or "not readable as YAML"
        return Parsed(path, kind, name, None, (Problem(path, kind, name, f"{where}{found}"),))
    if not isinstance(raw, dict):
        return Parsed(path, None, None, None, (Problem(path, None, None, "a document is a mapping with `kind`"),))
    kind = raw.get("kind") if isinstance(raw.get("kind"), str) else None
    metadata = raw.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) and isinstance(metadata.get("name"), str) else None
    if kind not in KINDS:
        found = f"kind '{kind}' is unknown{nearest(str(kind), KINDS)}" if kind else "a document needs `kind`"
        return Parsed(path, None, name, None, (Problem(path, None, name, found),))
    try:
        document = typing.cast(Document, KINDS[kind].model_validate(raw))
    except ValidationError as error:
        # A misspelt field is also a missing one: the line with the nearest known name comes first.
        found_errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        # Of a list whose members are wrong it says that it is too short, too: one mistake is one line.
        broken = [e["loc"] for e in found_errors if e["type"] != "too_short"]
        told = [e for e in found_errors if e["loc"] in broken or not any(_within(one, e["loc"]) for one in broken)]
        problems = tuple(Problem(path, kind, name, _explain(KINDS[kind], e)) for e in told)
        return Parsed(path, kind, name, None, problems)
    return Parsed(path, kind, name, document)


def _within(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _guess_kind(text: str) -> str | None:
    found = re.search(r"(?m)^kind:\s*[\"']?(\w+)", text)
    return found.group(1) if found and found.group(1) in KINDS else None


def _guess_name(text: str) -> str | None:
    found = re.search(r"(?m)^metadata:\s*(?:\{|\n(?:\s+.*\n)*?\s+)[^\n]*?\bname:\s*[\"']?([\w.-]+)", text)
    return found.group(1) if found else None


def _explain(model: type[BaseModel], error: Any) -> str:
    """A pydantic error as one phrase that names the field, what was found and the nearest known field."""
    loc = list(error["loc"])
    where = ".".join(str(step) for step in loc) or "the document"
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, loc[:-1])
        return f"{where}: unknown field{nearest(str(loc[-1]), known)}"
    if error["type"] == "missing":
        return f"{where}: this field is needed"
    message = error["msg"].removeprefix("Value error, ")
    found = error.get("input")
    if error["type"] == "string_type" and isinstance(found, (int, float)):
        return f"{where}: {found} is a number; quote it"
    shown = f" (found {found!r})" if isinstance(found, (str, int, float, bool)) and repr(found) not in message else ""
    return f"{where}: {message}{shown}"


def _fields_at(model: Any, steps: list[Any]) -> list[str]:
    """The field names a model knows at a place inside it."""
    here: list[Any] = [model]
    for step in steps:
        following: list[Any] = []
        for candidate in here:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                by_name = {(f.alias or n): f for n, f in candidate.model_fields.items()} | candidate.model_fields
                # A dict key is no field: the members of the dict are still to come.
                following += _inner_types(by_name[step].annotation) if step in by_name else [candidate]
            else:
                following.append(candidate)
        # A number in the place (a list index) or a dict key stays at the member type.
        here = following or here
    names: list[str] = []
    for candidate in here:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            names += [field.alias or name for name, field in candidate.model_fields.items()]
    return names


def _inner_types(annotation: Any) -> list[Any]:
    """The classes inside an annotation such as `tuple[Member, ...] | None`."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return [annotation]
    return [inner for arg in typing.get_args(annotation) for inner in _inner_types(arg)]
