"""Charts: the figures of an evaluation as PNG images, for MLflow and for the Dagster UI.

They are drawn without a screen and without global state, and the same figures give the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from workbench_pipelines.evaluation import Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_CLASSES = 30  # what stays legible on one screen; the rest is named in the subtitle
MAX_LABEL = 24
DPI = 120
INK, MUTED = "#1f2933", "#667085"
BARS = {"precision": "#9ec5e8", "recall": "#3d7cb8", "f1": "#163e63"}


def confusion_chart(scores: Scores, title: str = "Confusion matrix") -> bytes:
    """A PNG of true classes (rows) by predicted ones (columns), counts in the cells, shaded by share of the row."""
    rows = _shown(scores)
    columns = [name for name in scores.columns if name in rows or name not in scores.classes]
    counts = [
        [scores.confusion[scores.classes.index(row)][scores.columns.index(column)] for column in columns]
        for row in rows
    ]
    shares = [[cell / max(1, sum(line)) for cell in line] for line in counts]
    side = 1.6 + (0.62 if len(rows) <= 12 else 0.36) * max(len(rows), len(columns), 4)
    figure = _figure(side + 1.6, side + 0.5)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    size = 11 if len(rows) <= 12 else 8
    for y, line in enumerate(counts):
        for x, count in enumerate(line):
            colour = "white" if shares[y][x] > 0.55 else INK if count else "#c5ccd6"
            axes.text(x, y, f"{count:,}", ha="center", va="center", color=colour, fontsize=size)
    axes.set_xticks(
        range(len(columns)), [_short(name) for name in columns], rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(rows)), [_short(name) for name in rows])
    axes.set_xlabel("predicted", color=MUTED)
    axes.set_ylabel("true", color=MUTED)
    axes.tick_params(length=0, colors=INK)
    axes.set_xticks([x - 0.5 for x in range(1, len(columns))], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, len(rows))], minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.75, pad=0.03, format="{x:.0%}")
    bar.set_label("share of the true class", color=MUTED)
    bar.outline.set_visible(False)
    _title(figure, scores, title)
    return _png(figure)


def per_class_chart(scores: Scores, title: str = "Per class") -> bytes:
    """A PNG of precision, recall and F1 of each class as bars, with the number of its rows."""
    rows = _shown(scores)
    figure = _figure(8.2, 1.7 + 0.72 * len(rows))
    axes = figure.add_subplot()
    height = 0.26
    for place, (part, colour) in enumerate(BARS.items()):
        values = [getattr(scores.per_class[name], part) for name in rows]
        spots = [row + (place - 1) * height for row in range(len(rows))]
        axes.barh(spots, values, height=height * 0.92, color=colour, label="F1" if part == "f1" else part)
        for spot, value in zip(spots, values, strict=True):
            axes.text(value + 0.01, spot, f"{value:.2f}", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [f"{_short(name)}\nn = {scores.per_class[name].support:,}" for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.08)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xlabel("score on the scored rows (higher is better)", color=MUTED)
    axes.axvline(
        scores.macro_f1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label=f"macro F1 {scores.macro_f1:.2f}"
    )
    axes.grid(axis="x", color="#e6e9ee", linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    _title(figure, scores, title)
    return _png(figure)


def length_chart(bins: Sequence[tuple[int, int, Mapping[str, int]]], title: str) -> bytes:
    """A PNG of how many pairs have how many tokens, a bar a split: bins by `lengths.histogram`."""
    figure = _figure(8.2, 3.6)
    axes = figure.add_subplot()
    splits = list(bins[0][2]) if bins else []
    width = 0.8 / max(1, len(splits))
    for place, (split, colour) in enumerate(zip(splits, BARS.values(), strict=False)):
        spots = [at + (place - (len(splits) - 1) / 2) * width for at in range(len(bins))]
        axes.bar(spots, [counts[split] for _, _, counts in bins], width=width * 0.92, color=colour, label=split)
    axes.set_xticks(range(len(bins)), [f"{low + 1:,}–{high:,}" for low, high, _ in bins], fontsize=8)
    axes.set_xlabel("tokens of prompt and answer", color=MUTED)
    axes.set_ylabel("pairs", color=MUTED)
    axes.grid(axis="y", color="#e6e9ee", linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if splits:
        axes.legend(frameon=False)
    figure.suptitle(title.replace("$", r"\$"), fontsize=12, color=INK)
    return _png(figure)


def markdown_image(png: bytes, alt: str) -> str:
    """Markdown that holds the image itself, as the Dagster UI shows it in metadata."""
    safe = " ".join(alt.replace("[", "(").replace("]", ")").split())
    return f"![{safe}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _shown(scores: Scores) -> list[str]:
    """The classes with the most rows, in the order of their names."""
    largest = sorted(scores.classes, key=lambda name: (-scores.per_class[name].support, name))[:MAX_CLASSES]
    return sorted(largest)


def _short(name: str) -> str:
    # A dollar sign would start a formula.
    return (name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 1] + "…").replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _title(figure: Figure, scores: Scores, title: str) -> None:
    left_out = len(scores.classes) - min(len(scores.classes), MAX_CLASSES)
    about = f"n = {scores.n:,}   accuracy {scores.accuracy:.3f}   macro F1 {scores.macro_f1:.3f}"
    if left_out:
        about += f"   ({left_out} smaller classes not shown)"
    figure.suptitle(f"{title.replace('$', chr(92) + '$')}\n{about}", fontsize=12, color=INK)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
