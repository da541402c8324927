"""The sandbox in which prompt templates run: no attribute of Python's own, nothing random, and bounded work.

Jinja2's immutable sandbox keeps a template from the interpreter but not from the processor and the memory. So loops and
calls are counted, repeated and padded text is bounded, and what makes renderings differ (`random`, `lipsum`) is gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, nodes
from jinja2.filters import do_indent
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
from jinja2.visitor import NodeTransformer

from workbench_pipelines.identity import canonical_text

MAX_STEPS = 200_000  # loop rounds and calls in one prompt: far past any real prompt, under a second of work
MAX_CHARACTERS = 2_000_000  # of any text in the making; the largest context windows hold about half of it

_WIDENING = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})
_WIDE_FORMAT = re.compile(r"[0-9]{5,}|\*|\{[^{}]*\{")
_REMOVED_GLOBALS = ("lipsum",)
_REMOVED_FILTERS = ("batch", "center", "format", "random", "slice", "urlize", "wordwrap")

_steps: ContextVar[list[int]] = ContextVar("_steps")


class TooMuchWork(SecurityError):
    """A template that would not end, or would fill the memory."""


def start_counting() -> None:
    """Give the next rendering in this context its own count of steps."""
    _steps.set([MAX_STEPS])


def _step() -> None:
    left = _steps.get()
    left[0] -= 1
    if left[0] < 0:
        raise TooMuchWork(f"more than {MAX_STEPS} loop rounds and calls")


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _step()
        yield value


def _check_length(length: int) -> None:
    if length > MAX_CHARACTERS:
        raise TooMuchWork(f"a text of more than {MAX_CHARACTERS} characters")


def _joined(values: Iterable[Any]) -> str:
    texts = [str(value) for value in values]
    _check_length(sum(map(len, texts)))
    return "".join(texts)


def _indent(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    _check_length(width * (text.count("\n") + 1))
    return do_indent(text, width, first, blank)


def _bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_STEPS:
        raise TooMuchWork(f"a range of more than {MAX_STEPS} numbers")
    return numbers


def _to_json(value: Any, indent: int | None = None) -> str:
    """Canonical JSON; Jinja2's own filter escapes for HTML, which a prompt is not."""
    text = canonical_text(value)
    return text if indent is None else json.dumps(json.loads(text), indent=min(indent, 8), ensure_ascii=False)


class _Guards(NodeTransformer):
    """Loops count their rounds, `~` bounds what it joins."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_counted", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        values = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(values, "_joined", [], [], None, None, lineno=node.lineno)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """An environment over named template texts; a missing variable is an error, text is never escaped."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self, sources: Mapping[str, str]) -> None:
        def load(name: str) -> tuple[str, str, Callable[[], bool]] | None:
            # The name stands in for a file name, so that an error says in which text it is.
            return (sources[name], name, lambda: True) if name in sources else None

        super().__init__(
            loader=FunctionLoader(load),
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        for name in _REMOVED_GLOBALS:
            self.globals.pop(name, None)
        for name in _REMOVED_FILTERS:
            self.filters.pop(name, None)
        self.globals["range"] = _bounded_range
        self.filters |= {"indent": _indent, "tojson": _to_json, "_counted": _counted, "_joined": _joined}

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        guarded = _Guards().visit(source)
        guarded.set_environment(self)
        return super()._generate(guarded, name, filename, defer_init)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic, refused where it would make a huge text, list or number."""
        if operator == "%" and isinstance(left, str) and _WIDE_FORMAT.search(left):
            raise TooMuchWork("a format with a width of its own")
        if operator == "*":
            for sequence, times in ((left, right), (right, left)):
                if isinstance(sequence, (str, list, tuple)) and isinstance(times, int):
                    _check_length(len(sequence) * times)
        if operator == "**" and not (abs(left) <= 10**6 and abs(right) <= 64):
            raise TooMuchWork("a power of more than 64")
        if operator == "+" and isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
            _check_length(len(left) + len(right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A call, counted; methods that pad a text only up to the bound."""
        _step()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str) and __obj.__name__ in _WIDENING:
            _check_length(max((arg for arg in args if isinstance(arg, int)), default=0))
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`text.format(...)`, without widths that are wide or come from elsewhere."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None and _WIDE_FORMAT.search(value.__self__):
            raise TooMuchWork("a format with a width of its own")
        return wrapped
