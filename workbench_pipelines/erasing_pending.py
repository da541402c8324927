"""What an erasure writes down for itself before it takes anything away, so that one which was killed is finished by doing it again.

Without it nobody could say what to look for once the rows are gone. So it holds texts, in a file of this project alone that only
its owner can read, and no longer than they are needed: with the end of the erasure goes every text that was found nowhere, and
the file where none was found.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson

from workbench_pipelines.erasure import Erasing, item_digest
from workbench_pipelines.erasure_texts import NOT_KEPT, NotSearched, SoughtText, counted, numbered
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.workbench import Workbench

_NAMES = tuple(one.name for one in fields(Erasing) if one.name != "texts")


@dataclass(frozen=True)
class Pending:
    """What is erased, as it was when that began.

    Attributes:
        models: name/version of models that learned from it.
        exports: collection and version of the exports that held it, with `superseded_by` once that is known.
        forgotten: number and column of each text that an earlier try found nowhere, by `SoughtText.key`.
        not_searched: values that can not be looked for.
    """

    file: Path
    erasing: Erasing
    models: list[str]
    exports: list[dict[str, Any]]
    forgotten: Mapping[str, tuple[int, str]]
    not_searched: list[NotSearched]

    def joined(
        self,
        erasing: Erasing,
        models: Iterable[str],
        exports: Iterable[Mapping[str, Any]],
        not_searched: Iterable[NotSearched],
    ) -> Pending:
        """With what is known of the item now: names are added, and texts keep the numbers that they had."""
        numbers = {one.key: one.number for one in self.erasing.texts} | {
            key: number for key, (number, _) in self.forgotten.items()
        }
        texts = {one.key: one for one in (*self.erasing.texts, *erasing.texts)}
        names = {name: getattr(self.erasing, name) | getattr(erasing, name) for name in _NAMES}
        held = {(one["collection"], one["version"]): dict(one) for one in (*exports, *self.exports)}
        left = {(one.field, one.reason): one for one in (*not_searched, *self.not_searched)}
        return replace(
            self,
            erasing=Erasing(**names, texts=tuple(numbered(list(texts.values()), numbers))),
            models=sorted({*self.models, *models}),
            exports=[held[name] for name in sorted(held)],
            forgotten={key: said for key, said in self.forgotten.items() if key not in texts},
            not_searched=[left[name] for name in sorted(left)],
        )

    @property
    def left_out(self) -> list[NotSearched]:
        """What is not looked for, and why."""
        forgotten = ((where, NOT_KEPT, number) for number, where in self.forgotten.values())
        return sorted([*self.not_searched, *counted(forgotten)], key=lambda one: (one.field, one.reason))

    def keep(self) -> None:
        """Writes it down, readable for its owner alone."""
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        said = {
            "erasing": {name: sorted(getattr(self.erasing, name)) for name in _NAMES},
            "texts": [
                {"where": one.where, "text": one.text, "pieces": one.pieces, "number": one.number}
                for one in self.erasing.texts
            ],
            "models": self.models,
            "exports": self.exports,
            "forgotten": self.forgotten,
            "not_searched": [[one.field, one.reason, one.values] for one in self.not_searched],
        }
        beside = self.file.with_suffix(".writing")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as written:
            written.write(orjson.dumps(said))
        os.replace(beside, self.file)

    def end(self, found: Collection[int], *, is_done: bool) -> None:
        """Lets go of every text that was found nowhere; of everything where all is done.

        Args:
            found: numbers of the texts that still stand somewhere.
        """
        if is_done:
            self.file.unlink(missing_ok=True)
            return
        gone = {one.key: (one.number, one.where) for one in self.erasing.texts if one.number not in found}
        kept = tuple(one for one in self.erasing.texts if one.number in found)
        replace(self, erasing=replace(self.erasing, texts=kept), forgotten={**self.forgotten, **gone}).keep()


def pending_of(workbench: Workbench, sheet: str, ref: str) -> Pending:
    """What an earlier try wrote down for an item; nothing where there was none.

    Raises:
        ArgumentError: for a file that is no such thing.
    """
    file = pending_folder(workbench) / f"{sheet}-{item_digest(ref)[:16]}.json"
    nothing = Pending(file, Erasing(frozenset(), frozenset()), [], [], {}, [])
    try:
        said = orjson.loads(file.read_bytes())
        texts = tuple(
            SoughtText(one["where"], one["text"], tuple(one["pieces"]), one["number"]) for one in said["texts"]
        )
        return replace(
            nothing,
            erasing=Erasing(**{name: frozenset(said["erasing"][name]) for name in _NAMES}, texts=texts),
            models=said["models"],
            exports=said["exports"],
            forgotten={key: (number, where) for key, (number, where) in said["forgotten"].items()},
            not_searched=[NotSearched(*one) for one in said["not_searched"]],
        )
    except FileNotFoundError:
        return nothing
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ArgumentError(
            f"{file} is not what an erasure wrote down for itself: delete it and erase again; what people wrote of the item may no "
            "longer be known, so look for that yourself"
        ) from None


def pending_folder(workbench: Workbench) -> Path:
    """Where erasures write down what they are at."""
    return workbench.settings.state / "erasing"
