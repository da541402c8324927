"""Prompt templates: Jinja2 text that becomes chat messages, compiled once and rendered per item in a sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

from jinja2 import Template, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.sandbox import SecurityError

from workbench_pipelines.catalog import PromptTemplate
from workbench_pipelines.errors import TemplateError, nearest
from workbench_pipelines.fields import FieldSpec
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.template_sandbox import MAX_CHARACTERS, TemplateSandbox, TooMuchWork, start_counting
from workbench_pipelines.typed_values import typed_inputs

LANGUAGE = "language"
"""The variable whose value chooses among the texts of a template in several languages."""
_IS_UNDEFINED = re.compile(r"^'(\w+)' is undefined$")

Message = dict[str, str | None]


class RenderError(TemplateError):
    """One prompt that could not be made; `reason` is the short code that its refusal carries."""

    def __init__(self, line: str, reason: str) -> None:
        super().__init__(line)
        self.reason = reason


class _Text(NamedTuple):
    """A text of a template's own: who says it, the field it stands in, and its name among the texts."""

    role: str
    field: str
    name: str
    content: str


@dataclass(frozen=True)
class CompiledTemplate:
    """A template ready to render; `variables` are those its texts and every text they reach ask for, and its images."""

    variables: frozenset[str]
    where: str
    _turns: tuple[tuple[_Text, Template], ...] = field(repr=False)
    _before: tuple[Message, ...] = ()
    """What stands before the first turn that is no system message: a plain system prompt, and the examples."""
    _absent: Mapping[str, None] = field(default_factory=dict)
    """Optional variables: null where an item does not bind them, so that `{% if note %}` works all the same."""
    _in_language: Mapping[str, CompiledTemplate] = field(default_factory=dict)
    """The same template in other languages, by the value of `language` that asks for it."""

    @property
    def lead(self) -> int:
        """How many messages stand before the first question: the system prompt and the turns of the template's own examples."""
        return len(self._before) + self._opening

    def text(self, inputs: Mapping[str, Any]) -> str:
        """The user prompt for these inputs; of several messages the last one, which is what is asked.

        Raises:
            RenderError: naming the undefined variable or the line; never a value.
        """
        return self._rendered(*self._turns[-1], inputs)

    def render(self, inputs: Mapping[str, Any]) -> list[Message]:
        """The messages for these inputs: the system prompt, each example as a user and an assistant turn, the prompt.

        Raises:
            RenderError: naming the undefined variable or the line; never a value.
        """
        other = self._in_language.get(str(inputs.get(LANGUAGE)))
        if other is not None:
            return other.render(inputs)
        turns = [_message(text.role, self._rendered(text, template, inputs)) for text, template in self._turns]
        # Copies: the caller owns its messages.
        return [*turns[: self._opening], *map(dict, self._before), *turns[self._opening :]]

    @property
    def _opening(self) -> int:
        """How many turns of a conversation are the system prompt that it opens with."""
        return 1 if self._turns[0][0].role == "system" else 0

    def _rendered(self, text: _Text, template: Template, inputs: Mapping[str, Any]) -> str:
        start_counting()
        try:
            rendered = template.render({**self._absent, **inputs} if self._absent else inputs)
        except Exception as error:
            raise _explained(error, self.where, [text]) from None
        if len(rendered) > MAX_CHARACTERS:
            raise RenderError(f"{self.where}: a prompt of more than {MAX_CHARACTERS} characters", "template_error")
        return rendered


def compile_template(template: PromptTemplate, sources: Mapping[str, str], where: str) -> CompiledTemplate:
    """Compile a template with every text it extends, includes or imports.

    Args:
        sources: texts by the name a template reaches them with, `Catalog.template_sources()`.
        where: the file and document that error lines begin with.

    Raises:
        TemplateError: a syntax error with its line, an unknown or circular reference, an example that does not render.
    """
    spec, own = template.spec, _own_texts(template)
    texts = {**sources, **{text.name: text.content for text in own}}
    sandbox = TemplateSandbox(texts)
    try:
        family = {name: tree for text in own for name, tree in _family(sandbox, texts, text.name)}
        # Compiling finds unknown filters and tests, which parsing lets through.
        compiled = {name: sandbox.get_template(name) for name in family}
        named = {name for text in own for name in _undeclared(text.name, family)}
    except (TemplateSyntaxError, SecurityError, RecursionError, _BrokenReference) as error:
        raise _explained(error, where, own) from None
    for variable in spec.attachments:
        if variable in named:
            raise TemplateError(
                f"{where}: spec.attachments: '{variable}' is an image, and a text of the template shows it"
            )
    variables = frozenset({*named, *spec.attachments})
    turns = tuple((text, compiled[text.name]) for text in own)
    absent = dict.fromkeys(f.name for f in spec.input_schema if not f.required)
    bare = CompiledTemplate(variables, where, turns, (), absent)
    before = [_message("system", spec.system_prompt)] if spec.system_prompt else []
    for example in spec.examples:
        # An example shows text alone.
        shown = [field for field in spec.input_schema if field.name not in spec.attachments]
        inputs, reason = typed_inputs(example.inputs, shown)
        if reason:
            raise TemplateError(f"{where}: spec.examples: {reason}")
        before += [_message("user", bare.text(inputs)), _message("assistant", canonical_text(example.output))]
    others = {
        language: compile_template(one, sources, f"{where}: spec.languages.{language}")
        for language, one in _translations(template).items()
    }
    if others:
        variables = variables.union({LANGUAGE}, *(one.variables for one in others.values()))
    return CompiledTemplate(variables, where, turns, tuple(before), absent, others)


def template_hash(template: PromptTemplate, sources: Mapping[str, str]) -> str:
    """What a version of a template is: its spec without the status, and every text it reaches.

    Raises:
        TemplateError: when its text or one it reaches can not be parsed.
    """
    reached = _reached(template, sources)
    for one in _translations(template).values():
        reached |= _reached(one, sources)
    # Defaults are left out: a field that a later version of this package adds moves no published hash.
    spec = template.spec.model_dump(mode="json", exclude={"status"}, exclude_defaults=True)
    return digest({"spec": spec, "reached": reached})


def _reached(template: PromptTemplate, sources: Mapping[str, str]) -> dict[str, str]:
    """The texts beside its own that a template reaches, by name."""
    own = _own_texts(template)
    texts = {**sources, **{text.name: text.content for text in own}}
    sandbox = TemplateSandbox(texts)
    try:
        family = {name for text in own for name, _ in _family(sandbox, texts, text.name)}
    except (TemplateSyntaxError, _BrokenReference) as error:
        raise _explained(error, f"PromptTemplate {_own_name(template)}", own) from None
    return {name: texts[name] for name in family - {text.name for text in own}}


def _translations(template: PromptTemplate) -> dict[str, PromptTemplate]:
    """The template as it is in each of its other languages."""
    found = {}
    for language, text in sorted(template.spec.languages.items()):
        said = {
            "user_prompt_template": text.user_prompt_template,
            "system_prompt": text.system_prompt or template.spec.system_prompt,
        }
        found[language] = template.model_copy(
            update={"spec": template.spec.model_copy(update={**said, "languages": {}})}
        )
    return found


def check_inputs(inputs: Mapping[str, Any], input_schema: Sequence[FieldSpec]) -> str | None:
    """Why inputs do not fit a schema, naming the field and never the value; None where they fit."""
    return typed_inputs(inputs, input_schema).reason


class _BrokenReference(Exception):
    """A reference to another text that leads nowhere or back; `lineno` and `name` say where it stands."""

    def __init__(self, message: str, lineno: int, name: str) -> None:
        super().__init__(message)
        self.lineno, self.name = lineno, name


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content, "parts": None}


def _own_name(template: PromptTemplate) -> str:
    return f"{template.name}@{template.spec.version}"


def _own_texts(template: PromptTemplate) -> list[_Text]:
    """The Jinja2 texts of a template in the order in which they are said."""
    name, text = _own_name(template), template.spec.user_prompt_template
    if text is not None:
        return [_Text("user", "spec.user_prompt_template", name, text)]
    return [
        # `#` stands in no name of a template and in no path of a Jinja2 file, which ends in .j2.
        _Text(message.role, f"spec.messages.{number}.content", f"{name}#{number}", message.content)
        for number, message in enumerate(template.spec.messages)
    ]


def _references(tree: nodes.Template, name: str) -> Iterator[tuple[str, int]]:
    """The names a text extends, includes or imports, each with its line."""
    for node in tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
        target = node.template  # type: ignore[attr-defined]
        try:
            found = target.as_const()
        except nodes.Impossible:
            # A name that is known only at render time could be any text: its variables and its hash would be unknown.
            raise _BrokenReference("a text is reached by a name in quotes only", node.lineno, name) from None
        for one in found if isinstance(found, (list, tuple)) else [found]:
            yield str(one), node.lineno


def _family(sandbox: TemplateSandbox, texts: Mapping[str, str], own_name: str) -> Iterator[tuple[str, nodes.Template]]:
    """The parsed text of a template and of each text it reaches, depth first, each once."""
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> Iterator[tuple[str, nodes.Template]]:
        done.add(name)
        tree = sandbox.parse(texts[name], name, name)
        yield name, tree
        for target, line in _references(tree, name):
            if target in (*path, name):
                raise _BrokenReference(f"'{target}' reaches itself", line, name)
            if target not in texts:
                raise _BrokenReference(f"there is no template or file '{target}'{nearest(target, texts)}", line, name)
            if target not in done:
                yield from walk(target, (*path, name))

    yield from walk(own_name, ())


def _undeclared(name: str, family: Mapping[str, nodes.Template]) -> frozenset[str]:
    """What a text needs from outside, with what those it reaches need; these see the variables that it sets."""
    tree = family[name]
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    reached = {needed for target, _ in _references(tree, name) for needed in _undeclared(target, family)}
    return frozenset(meta.find_undeclared_variables(tree) | (reached - own))


def _explained(error: Exception, where: str, own: Sequence[_Text]) -> TemplateError:
    """An error of Jinja2, or of what a template does, as one line without a value of the item."""
    if isinstance(error, (TemplateSyntaxError, _BrokenReference)):
        what = error.message if isinstance(error, TemplateSyntaxError) else str(error)
        return TemplateError(f"{_place(where, error.name, own, error.lineno)}: {what}")
    name, line = _last_template_line(error.__traceback__)
    place = _place(where, name, own, line)
    if isinstance(error, UndefinedError):
        variable = _IS_UNDEFINED.match(str(error))
        what = f"variable '{variable[1]}' is undefined" if variable else "a value lacks what is asked of it"
        return RenderError(f"{place}: {what}", "undefined_variable")
    if isinstance(error, TooMuchWork):
        return RenderError(f"{place}: {error}", "template_error")
    if isinstance(error, SecurityError):
        return RenderError(f"{place}: the sandbox refuses what is asked here", "template_error")
    # Texts of other errors quote values of the item.
    return RenderError(f"{place}: {type(error).__name__} while rendering", "template_error")


def _place(where: str, name: str | None, own: Sequence[_Text], line: int | None) -> str:
    fields = {text.name: text.field for text in own}
    found = own[-1].field if name is None else fields.get(name, f"'{name}'")
    return f"{where}: {found} line {line}" if line else f"{where}: {found}"


def _last_template_line(traceback: TracebackType | None) -> tuple[str | None, int | None]:
    """The text and line an error came from; Jinja2 puts both into the frames of its traceback."""
    found: tuple[str | None, int | None] = (None, None)
    while traceback is not None:
        if "__jinja_exception__" in traceback.tb_frame.f_globals:
            found = (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found
