"""Chunks: a long text cut where its layout allows it, each piece with the headings above it and its place.

A chunk never spans two sections. Paragraphs, lists, tables and blocks of code stay whole where they fit; of what is longer, a
table is cut between rows and keeps its head, the rest at list items, lines, sentences, words, whichever comes first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from workbench_pipelines.catalog.variety import ChunksSpec

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

HEADING = "heading"
"""The variable that holds the path of headings above a chunk."""
BETWEEN_HEADINGS = " > "
# Tokens without a tokenizer, counted with care: at most four letters or three digits are one, any other mark is one by
# itself. English text comes to a third more than with the tokenizers of current models, so that a chunk fits.
_TOKEN = re.compile(r"[A-Za-z]{1,4}|[0-9]{1,3}|[^\sA-Za-z0-9]")
_SENTENCE_END = re.compile(r"(?<=[.!?:;。！？])\s+|\n+")
_PARAGRAPH = re.compile(r"\S(?:.*?\S)??(?=[ \t]*\n[ \t]*\n|\s*\Z)", re.DOTALL)


@dataclass(frozen=True)
class Chunk:
    """A piece of a text.

    Attributes:
        text: what is shown: the overlap, the head of a table that was cut, and the piece itself.
        headings: the titles of the sections it stands in, the outermost first.
        section: their numbers, as in `2.1`; empty before the first heading.
        start, end: its place in the text, in characters, without the overlap.
    """

    text: str
    headings: tuple[str, ...]
    section: str
    start: int
    end: int

    @property
    def heading(self) -> str:
        return BETWEEN_HEADINGS.join(self.headings)


@dataclass(frozen=True)
class _Block:
    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class _Section:
    headings: tuple[str, ...]
    number: str
    blocks: Sequence[_Block]


def measure_of(unit: str) -> Callable[[str], int]:
    """How long a text is, in characters or in tokens."""
    return len if unit == "characters" else count_tokens


def count_tokens(text: str) -> int:
    """About how many tokens a text has, rather more than fewer."""
    return sum(1 for _ in _TOKEN.finditer(text))


def cut(text: str, spec: ChunksSpec) -> list[Chunk]:
    """The chunks of a text in their order; none of a text without a word."""
    measure = measure_of(spec.unit)
    room = spec.size - spec.overlap
    sections = _markdown_sections(text) if spec.layout == "markdown" else [_Section((), "", _paragraphs(text))]
    found = []
    for section in sections:
        for head, start, end in _pieces(text, section.blocks, room, measure):
            before = _overlap(text, section.blocks[0].start, start, spec.overlap, measure) if not head else ""
            found.append(Chunk(before + head + text[start:end], section.headings, section.number, start, end))
    return found


def _pieces(
    text: str, blocks: Sequence[_Block], room: int, measure: Callable[[str], int]
) -> Iterator[tuple[str, int, int]]:
    """What is repeated before a piece, and its place: as many whole blocks as there is room for, headings alone never."""
    start = end = -1
    says = False
    for block in blocks:
        if start >= 0 and measure(text[start : block.end]) <= room:
            end, says = block.end, says or block.kind != "heading"
            continue
        if start >= 0 and says:
            yield "", start, end
        start = end = -1
        if measure(text[block.start : block.end]) <= room:
            start, end, says = block.start, block.end, block.kind != "heading"
        elif block.kind == "table":
            yield from _rows(text, block, room, measure)
        else:
            yield from _split(text, block, room, measure)
    if start >= 0 and says:
        yield "", start, end


def _rows(text: str, block: _Block, room: int, measure: Callable[[str], int]) -> Iterator[tuple[str, int, int]]:
    """A table that is too long, cut between its rows; every piece shows its head again."""
    lines, at = [], block.start
    for line in text[block.start : block.end].splitlines(keepends=True):
        lines.append((at, at + len(line)))
        at += len(line)
    head = text[lines[0][0] : lines[1][1]]
    start, end = block.start, lines[1][1]
    shown, rows = "", 0
    for first, last in lines[2:]:
        if rows and measure(shown + text[start:last]) > room:
            yield shown, start, end
            start, shown, rows = first, head, 0
        end, rows = last, rows + 1
    yield shown, start, end


def _split(text: str, block: _Block, room: int, measure: Callable[[str], int]) -> Iterator[tuple[str, int, int]]:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    kind = TextSplitter if block.kind in ("paragraph", "code") else MarkdownSplitter
    splitter = kind(room) if measure is len else kind.from_callback(measure, room)
    for offset, piece in splitter.chunk_indices(text[block.start : block.end]):
        yield "", block.start + offset, block.start + offset + len(piece)


def _overlap(text: str, floor: int, start: int, most: int, measure: Callable[[str], int]) -> str:
    """The end of what stands before in the same section, from the beginning of a sentence or line on."""
    if not most or start <= floor:
        return ""
    before = text[floor:start]
    for begin in [0, *(match.end() for match in _SENTENCE_END.finditer(before))]:
        if before[begin:].strip() and measure(before[begin:]) <= most:
            return before[begin:]
    return ""


def _paragraphs(text: str) -> list[_Block]:
    return [_Block("paragraph", *match.span()) for match in _PARAGRAPH.finditer(text)]


def _markdown_sections(text: str) -> list[_Section]:
    """The sections of a Markdown text; a heading with nothing below it goes with the next."""
    lines = [0]
    for line in text.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    headings: list[tuple[int, str]] = []
    counts = [0] * 7
    found: list[_Section] = []
    blocks: list[_Block] = []
    path: tuple[tuple[str, ...], str] = ((), "")
    bare = True  # whether nothing but headings stands in `blocks`
    tokens = _parser().parse(_same_lines(text))
    for place, token in enumerate(tokens):
        if token.level or token.map is None or token.nesting < 0:
            continue
        first, last = token.map
        block = _block(text, token.type, lines[first], lines[min(last, len(lines) - 1)])
        if token.type == "heading_open":
            if not bare:
                found.append(_Section(*path, tuple(blocks)))
                blocks = []
            level = int(token.tag[1])
            headings = [one for one in headings if one[0] < level] + [(level, tokens[place + 1].content.strip())]
            counts[level] += 1
            counts[level + 1 :] = [0] * (6 - level)
            numbers = [str(counts[one]) for one, _ in headings]
            path, bare = (tuple(title for _, title in headings), ".".join(numbers)), True
        else:
            bare = False
        if block.end > block.start:
            blocks.append(block)
    if blocks:
        found.append(_Section(*path, tuple(blocks)))
    return found


def _block(text: str, kind: str, start: int, end: int) -> _Block:
    """A block without the empty lines and spaces after it."""
    kinds = {"fence": "code", "code_block": "code"}
    kind = kinds.get(kind, kind.removesuffix("_open"))
    return _Block(kind, start, start + len(text[start:end].rstrip()))


def _same_lines(text: str) -> str:
    """The text with the line ends that the parser knows, line for line; it counts lines and nothing else."""
    return "\n".join(line.replace("\0", " ") for line in text.splitlines())


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")
