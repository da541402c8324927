"""A template renders the same for the same inputs, says where it fails, and can neither escape nor run away."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.errors import TemplateError
from workbench_pipelines.fields import FieldSpec
from workbench_pipelines.templates import CompiledTemplate, RenderError, check_inputs, compile_template, template_hash
from workbench_pipelines.typed_values import typed_inputs
from workbench_pipelines_tests.definition_world import make_template

PARIS = dt.timezone(dt.timedelta(hours=1))
WHERE = "templates/t.yaml: PromptTemplate t"


def compiled(text: str, sources: dict[str, str] | None = None, **spec: Any) -> CompiledTemplate:
    return compile_template(make_template(text, **spec), sources or {}, WHERE)


def field(type: str, **given: Any) -> FieldSpec:
    return FieldSpec.model_validate({"name": "x", "type": type, **given})


@given(st.text())
def test_a_value_reaches_the_prompt_unchanged(value: str) -> None:
    assert compiled("<{{ x }}>\n").text({"x": value}) == f"<{value}>\n"


def test_messages_are_the_system_prompt_the_examples_and_the_prompt() -> None:
    examples = [{"inputs": {"x": "a"}, "output": {"answer": "yes"}}]
    messages = compiled("Is {{ x }}?", system_prompt="Say {{ so }}.", examples=examples).render({"x": "b"})
    assert [(one["role"], one["content"]) for one in messages] == [
        ("system", "Say {{ so }}."),
        ("user", "Is a?"),
        ("assistant", '{"answer":"yes"}'),
        ("user", "Is b?"),
    ]
    assert {one["parts"] for one in messages} == {None}


def test_variables_are_found_through_extends_and_includes() -> None:
    sources = {"base": "{{ title }} {% block body %}{{ unused }}{% endblock %}", "row.j2": "{{ row }} of {{ total }}"}
    text = (
        "{% extends 'base' %}{% block body %}{% for row in rows %}{% include 'row.j2' %};{% endfor %}"
        "{{ super() }}{{ loop_count|default(2) }}{% endblock %}"
    )
    template = compiled(text, sources)
    assert template.variables == {"title", "unused", "rows", "total", "loop_count"}
    assert template.text({"title": "T", "unused": "", "rows": [1, 2], "total": 2}) == "T 1 of 2;2 of 2;2"


def test_an_imported_macro_takes_its_arguments() -> None:
    macros = {"m.j2": "{% macro quoted(text) %}<{{ text }}>{% endmacro %}"}
    assert compiled("{% from 'm.j2' import quoted %}{{ quoted(x) }}", macros).text({"x": 1}) == "<1>"


def test_an_optional_variable_that_nothing_binds_is_null() -> None:
    schema = [{"name": "x"}, {"name": "note", "required": False}]
    template = compiled("{{ x }}{% if note %} ({{ note }}){% endif %}", input_schema=schema)
    assert template.text({"x": "a"}) == "a"
    assert template.text({"x": "a", "note": "b"}) == "a (b)"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n\n{{ x y }}", "spec.user_prompt_template line 3: expected token 'end of print statement', got 'y'"),
        ("{% if x %}", "line 1: Unexpected end of template."),
        ("a\n{{ x|uper }}", "spec.user_prompt_template line 2: No filter named 'uper'."),
        ("{% include 'rows.j2' %}", "line 1: there is no template or file 'rows.j2'; did you mean 'row.j2'?"),
        ("\n{% include x %}", "line 2: a text is reached by a name in quotes only"),
        ("{% include 'ring' %}", "'ring' line 1: 'ring' reaches itself"),
        ("{% include 'broken.j2' %}", "'broken.j2' line 2: "),
    ],
)
def test_what_does_not_compile_names_its_text_and_line(text: str, line: str) -> None:
    sources = {"row.j2": "", "ring": "{% include 'ring' %}", "broken.j2": "\n{{"}
    with pytest.raises(TemplateError) as error:
        compiled(text, sources)
    assert error.value.line.startswith(WHERE)
    assert line in error.value.line


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("a\n{{ y }}", "undefined_variable", "spec.user_prompt_template line 2: variable 'y' is undefined"),
        ("{{ x.secret }}", "undefined_variable", "line 1: a value lacks what is asked of it"),
        ("{{ {}[x] }}", "undefined_variable", "line 1: a value lacks what is asked of it"),
        ("{{ 1 / (x|length - 8) }}", "template_error", "line 1: ZeroDivisionError while rendering"),
        ("{{ x + 1 }}", "template_error", "line 1: TypeError while rendering"),
        ("{% include 'p.j2' %}", "undefined_variable", "'p.j2' line 2: variable 'z' is undefined"),
    ],
)
def test_a_render_error_names_variable_and_line_and_never_a_value(text: str, reason: str, line: str) -> None:
    with pytest.raises(RenderError) as error:
        compiled(text, {"p.j2": "\n{{ z }}"}).text({"x": "John Doe"})
    assert error.value.reason == reason
    assert error.value.line.endswith(line)
    assert "John" not in error.value.line


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ x.__class__ }}",
        "{{ x.append.__globals__ }}",
        "{{ x.append(1) }}",
        "{{ x|attr('__class__') }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ self.__init__.__globals__ }}",
        "{{ lipsum(n=100000) }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ [0] * 10 ** 9 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a'|indent(1000000000) }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(10 ** 9) %}{% endfor %}",
        "{% set a = 'aaaaaaaa' %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
        "{% set a = 'aaaaaaaa' %}" + "{% set a = a + a %}" * 40 + "{{ a }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    ],
)
def test_a_template_neither_escapes_nor_runs_away(text: str) -> None:
    with pytest.raises(TemplateError):
        compiled(text).text({"x": []})


def test_steps_are_counted_anew_for_each_prompt() -> None:
    template = compiled("{% for a in range(150000) %}{% endfor %}done")
    assert [template.text({}), template.text({})] == ["done", "done"]


def test_json_in_a_prompt_is_canonical_and_not_escaped_for_html() -> None:
    assert compiled("{{ x|tojson }}").text({"x": {"b": "<é>", "a": 1.0}}) == '{"a":1,"b":"<é>"}'


def test_the_hash_moves_with_spec_and_texts_and_stays_with_the_status() -> None:
    sources = {"p.j2": "{% include 'q.j2' %}", "q.j2": "1", "other": "1"}
    before = template_hash(make_template("{% include 'p.j2' %}"), sources)
    assert template_hash(make_template("{% include 'p.j2' %}", status="archived"), {**sources, "other": "2"}) == before
    assert template_hash(make_template("{% include 'p.j2' %}"), {**sources, "q.j2": "2"}) != before
    assert template_hash(make_template("{% include 'p.j2' %}", max_tokens=9), sources) != before


def test_a_field_written_with_its_default_hashes_like_one_left_out() -> None:
    assert template_hash(make_template(temperature=0.0), {}) == template_hash(make_template(), {})


@pytest.mark.parametrize(
    ("type", "value", "typed"),
    [
        ("string", 7, "7"),
        ("string", 7.0, "7"),
        ("string", Decimal("1.50"), "1.50"),
        ("string", dt.date(2026, 1, 2), "2026-01-02"),
        ("float", 5, 5.0),
        ("float", Decimal("1.5"), 1.5),
        ("integer", 5.0, 5),
        ("integer", 2**63, 2**63),
        ("boolean", True, True),
        ("list", (1, dt.date(2026, 1, 2)), [1, "2026-01-02"]),
        ("date", dt.date(2026, 1, 2), "2026-01-02"),
        ("datetime", dt.datetime(2026, 1, 2, 3, tzinfo=PARIS), "2026-01-02T02:00:00+00:00"),
        ("any", dt.date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_a_value_becomes_the_type_its_field_declares(type: str, value: object, typed: object) -> None:
    found = typed_inputs({"x": value}, [field(type)]).values["x"]
    assert (found, found.__class__) == (typed, typed.__class__)


@pytest.mark.parametrize(
    ("spec", "inputs", "reason"),
    [
        ({"type": "string"}, {"x": None}, "x is null, and it is required"),
        ({"type": "string"}, {}, "x is missing"),
        ({"type": "string"}, {"x": ["John"]}, "x is of type list, not string"),
        ({"type": "integer"}, {"x": 1.5}, "x has a fraction, not an integer"),
        ({"type": "integer"}, {"x": True}, "x is of type bool, not integer"),
        ({"type": "float"}, {"x": float("nan")}, "x is not a finite number"),
        ({"type": "float"}, {"x": "John"}, "x is of type str, not float"),
        ({"type": "date"}, {"x": "John"}, "x is text that is no ISO 8601 date"),
        ({"type": "string", "enum": ["a"]}, {"x": "John"}, "x is none of the allowed values"),
        ({"type": "string", "max_length": 3}, {"x": "John"}, "x is longer than 3 characters"),
        ({"type": "float", "minimum": 2}, {"x": 1}, "x is below 2"),
        ({"type": "list", "items": {"type": "integer"}}, {"x": ["John"]}, "x.0 is not of type integer"),
    ],
)
def test_inputs_that_do_not_fit_say_which_field_and_never_the_value(
    spec: dict[str, Any], inputs: dict[str, Any], reason: str
) -> None:
    assert check_inputs(inputs, [field(**spec)]) == reason


def test_an_optional_input_may_be_null_or_absent_and_a_long_text_is_fine() -> None:
    assert check_inputs({"x": None}, [field("string", required=False)]) is None
    assert check_inputs({}, [field("string", required=False)]) is None
    assert check_inputs({"x": "a" * 10_000}, [field("string")]) is None
