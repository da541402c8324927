"""SQL text that only reads: one SELECT as a checked syntax tree, with its parameters filled in as literals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.generator import Generator
from sqlglot.parser import Parser
from sqlglot.tokens import TokenType

from workbench_pipelines.errors import ArgumentError, nearest

MAX_LENGTH = 20_000  # the longest documented query has 2,000 characters; the parser is recursive
Scalar = str | int | float | bool | None

_FORBIDDEN = (exp.DDL, exp.DML, exp.Command, exp.Into, exp.Lock, exp.Copy, exp.Pragma, exp.Set, exp.Attach)
_FILE_FUNCTION = re.compile(r"^(read|scan|load|copy|glob|parquet|csv|delta|json)_|_scan$|^(glob|getenv|load)$", re.I)


class _Generator(Generator):
    TRANSFORMS: ClassVar = {
        **Generator.TRANSFORMS,
        exp.GroupConcat: lambda self, e: self.func("string_agg", e.this, e.args.get("separator")),
        exp.StrPosition: lambda self, e: self.func("strpos", e.this, e.args.get("substr")),
    }


class _Parser(Parser):
    FUNCTIONS: ClassVar = {}


class EngineDialect(Dialect):
    """SQL as DataFusion reads it: functions keep the names they have, where sqlglot would translate them."""

    Parser = _Parser
    Generator = _Generator


def parse_select(sql: str) -> exp.Expression:
    """The one SELECT that the text is.

    Raises:
        ArgumentError: for anything else, saying where it stops being readable.
    """
    if len(sql) > MAX_LENGTH:
        raise ArgumentError(f"the query has {len(sql)} characters; at most {MAX_LENGTH} are read")
    try:
        tokens = EngineDialect().tokenize(sql)
        while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
            tokens.pop()
        if not tokens:
            raise ArgumentError("the query is empty; write one SELECT")
        if any(token.token_type == TokenType.SEMICOLON for token in tokens):
            raise ArgumentError("the query is more than one statement; write one SELECT")
        if tokens[0].text.upper() not in ("SELECT", "WITH", "("):
            raise ArgumentError(f"only SELECT reads the lake, not {plain(tokens[0].text.upper())}")
        root = EngineDialect().parser().parse(tokens, sql)[0]
    except SqlglotError as error:
        raise ArgumentError(_unreadable(error)) from None
    except RecursionError:
        raise ArgumentError("the query is nested too deeply") from None
    if not isinstance(root, (exp.Select, exp.SetOperation, exp.Subquery)):
        raise ArgumentError("the query is no SELECT; only SELECT reads the lake")
    _refuse_all_but_reading(root)
    return root


def _unreadable(error: SqlglotError) -> str:
    first: dict[str, object] = next(iter(getattr(error, "errors", None) or []), {})
    where = f" at line {first['line']}, column {first['col']}" if "line" in first else ""
    found = plain(str(first.get("description") or "it ends in the middle"))
    found = re.sub("Required keyword:.*", "something is missing here", found)
    near = str(first.get("highlight") or "")
    found = re.sub("Invalid expression / Unexpected token", f"'{near}' is not expected here", found)
    return f"the query is not readable as SQL{where}: {found}"


def with_parameters(tree: exp.Expression, params: Mapping[str, Scalar]) -> exp.Expression:
    """The tree with the value of each `:name` in its place, as a literal that can be nothing else.

    Raises:
        ArgumentError: for a parameter without a value, or a value without a parameter.
    """
    used: set[str] = set()
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = node.name
        if isinstance(node, exp.Parameter) or name not in params:
            raise ArgumentError(f"the query asks for a value for :{name}, which is not given{nearest(name, params)}")
        used.add(name)
        node.replace(exp.convert(params[name]))
    for unused in sorted(set(params) - used):
        raise ArgumentError(f"the query has no parameter :{unused}")
    return tree


def _refuse_all_but_reading(tree: exp.Expression) -> None:
    """Raises ArgumentError for a part that writes, sets, locks, never ends or reads a file."""
    for node in tree.walk():
        if isinstance(node, _FORBIDDEN):
            raise ArgumentError(f"only SELECT reads the lake, not {node.key.upper()}")
        if isinstance(node, exp.With) and node.recursive:
            raise ArgumentError("WITH RECURSIVE may never end; write the query without it")
        if isinstance(node, exp.Func):
            name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
            if _FILE_FUNCTION.search(name):
                raise ArgumentError(f"{name.lower()}() is not available: a query reads the lake's tables only")


def plain(message: str) -> str:
    """A message of a library on one line, without its colours and its prefixes."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", message).split())
    return re.sub(r"^(?:(?:[A-Z]\w+ )+error: |Error during planning: |SQL error: |\w+ caused by )+", "", text)[:300]
