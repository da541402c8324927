"""Promotions: whether a trained model may take over, by the one expression a Collection states (`promote_if`).

An expression compares metrics and numbers: ``macro_f1 >= baseline.macro_f1``,
``accuracy > majority.accuracy and macro_f1 >= champion.macro_f1 - 0.01``. A bare name is a metric of the new model;
``<predictor>.<metric>`` is that of another; ``baseline.<metric>`` is the best that any baseline reached. Allowed are
comparisons, ``and``, ``or``, parentheses, numbers, ``+``, ``-`` and ``*``; the text is parsed, never executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from workbench_pipelines.errors import DefinitionError, nearest
from workbench_pipelines.evaluation import BASELINES, MODEL

METRICS = ("accuracy", "macro_f1", "macro_precision", "macro_recall", "n")
CHAMPION = "champion"
BASELINE = "baseline"
OTHERS = (BASELINE, CHAMPION, MODEL, *BASELINES)
MAX_CHARACTERS = 500  # a rule that people can still read; bounds the depth of the parse as well

_COMPARE: Mapping[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.GtE: (">=", operator.ge),
    ast.Gt: (">", operator.gt),
    ast.LtE: ("<=", operator.le),
    ast.Lt: ("<", operator.lt),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
_ARITHMETIC: Mapping[type[ast.operator], tuple[str, Callable[[float, float], float]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
}


class PromotionError(DefinitionError):
    """An expression that can not decide, in one line."""


class Promotion(NamedTuple):
    """The decision, and the sentence that gives its figures."""

    passed: bool
    sentence: str


class _NoChampionError(Exception):
    """There is no champion yet, so there is nothing to beat."""


class _Term(NamedTuple):
    value: float
    text: str


def check_promotion(expression: str) -> None:
    """Hold an expression to the allowed form and names, before anything is trained.

    Raises:
        PromotionError: naming what is not allowed, with the nearest known name.
    """
    perfect = dict.fromkeys(METRICS, 1.0)
    promotion(dict.fromkeys((MODEL, CHAMPION, *BASELINES), perfect), expression)


def promotion(metrics_by_predictor: Mapping[str, Mapping[str, float]], expression: str) -> Promotion:
    """Whether an expression holds for these metrics, with every figure that was compared.

    The base model counts in `baseline` only where it was asked; it is asked on a sample of the test rows, so its figure
    says on how many (n). A comparison with a champion that does not exist yet holds.

    Raises:
        PromotionError: the expression is not of the allowed form, or names what is unknown or was not measured.
    """
    if len(expression) > MAX_CHARACTERS:
        raise PromotionError(f"promote_if: {len(expression)} characters, at most {MAX_CHARACTERS}")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise PromotionError(
            f"promote_if: '{expression}' is no expression such as 'macro_f1 >= baseline.macro_f1'"
        ) from None
    said: list[str] = []
    passed = _decide(tree, metrics_by_predictor, said)
    return Promotion(passed, f"{'promoted' if passed else 'not promoted'}: {'; '.join(said)}")


def _decide(node: ast.expr, metrics: Mapping[str, Mapping[str, float]], said: list[str]) -> bool:
    if isinstance(node, ast.BoolOp):
        # Every part is judged, so the sentence is complete and a wrong name behind an `or` is found.
        parts = [_decide(part, metrics, said) for part in node.values]
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if not isinstance(node, ast.Compare):
        raise PromotionError(f"promote_if: '{ast.unparse(node)}' is no comparison")
    sides = [node.left, *node.comparators]
    try:
        terms = [_value(side, metrics) for side in sides]
    except _NoChampionError:
        said.append(f"{ast.unparse(node)}: holds, there is no champion yet")
        return True
    text, holds = terms[0].text, True
    for op, left, right in zip(node.ops, terms, terms[1:], strict=False):
        if type(op) not in _COMPARE:
            raise PromotionError(f"promote_if: '{ast.unparse(node)}' compares by something other than >= > <= < == !=")
        sign, compare = _COMPARE[type(op)]
        holds = holds and compare(left.value, right.value)
        text += f" {sign} {right.text}"
    said.append(f"{text}: {'holds' if holds else 'does not hold'}")
    return holds


def _value(node: ast.expr, metrics: Mapping[str, Mapping[str, float]]) -> _Term:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return _Term(float(node.value), f"{node.value:g}")
    if isinstance(node, ast.Name):
        value, _ = _metric(MODEL, node.id, metrics)
        return _Term(value, f"{node.id} {value:.3g}")
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        value, source = _metric(node.value.id, node.attr, metrics)
        return _Term(value, f"{node.value.id}.{node.attr} {value:.3g}{source}")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _value(node.operand, metrics)
        return _Term(-inner.value, f"-{inner.text}")
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        sign, apply = _ARITHMETIC[type(node.op)]
        left, right = _value(node.left, metrics), _value(node.right, metrics)
        return _Term(apply(left.value, right.value), f"({left.text} {sign} {right.text})")
    raise PromotionError(f"promote_if: '{ast.unparse(node)}' is not allowed; use metrics, numbers, + - *")


def _metric(predictor: str, metric: str, metrics: Mapping[str, Mapping[str, float]]) -> tuple[float, str]:
    """The figure, and in brackets whose it is and on how many rows where that is not plain from the name."""
    if predictor not in OTHERS:
        raise PromotionError(f"promote_if: no predictor is called '{predictor}'{nearest(predictor, OTHERS)}")
    if metric not in METRICS:
        raise PromotionError(f"promote_if: no metric is called '{metric}'{nearest(metric, METRICS)}")
    if predictor == BASELINE:
        asked = [name for name in BASELINES if metric in metrics.get(name, {})]
        if not asked:
            raise PromotionError(f"promote_if: no baseline was measured, so {BASELINE}.{metric} has no value")
        best = max(asked, key=lambda name: metrics[name][metric])
        return metrics[best][metric], f" ({best}{_rows(metrics[best])})"
    if predictor == CHAMPION and CHAMPION not in metrics:
        raise _NoChampionError
    if metric not in metrics.get(predictor, {}):
        raise PromotionError(f"promote_if: {predictor}.{metric} was not measured")
    return metrics[predictor][metric], ""


def _rows(metrics: Mapping[str, float]) -> str:
    return f", n={metrics['n']:.0f}" if "n" in metrics else ""
