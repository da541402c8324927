"""Everything that can go wrong, as the one line a person reads.

::

    WorkbenchError                 1   a check or gate failed
    ├── DefinitionError            2   a YAML document is wrong
    ├── ArgumentError              2   a command or file argument is wrong
    │   └── FilterError            2   a filter that is not one boolean expression over known columns
    ├── SourceError                1   the data itself is not what its Sheet says
    ├── TemplateError              1   a prompt template does not compile or render
    ├── LabelError                 1   a decision that can not be taken
    ├── LakeError                  1   a table that can not be read or written as asked
    ├── ExportError                1   an export that can not be made
    ├── MissingPart                3   a model, key, file or service that is needed and absent
    ├── BudgetSpent                4   stopped before more money is spent
    └── NothingApproved            5   nothing is wrong, people are waited for

The number is the exit code of the command line. A message names the file, item or field, what was found and what to do;
it never holds a secret or a restricted value.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class WorkbenchError(Exception):
    """A failure with a one-line explanation; `exit_code` is what the command line returns."""

    exit_code = 1

    @property
    def line(self) -> str:
        """The message on a single line, as people see it in the terminal and in the Dagster UI."""
        return " ".join(str(self).split())


class DefinitionError(WorkbenchError):
    exit_code = 2


class ArgumentError(WorkbenchError):
    exit_code = 2


class FilterError(ArgumentError):
    pass


class SourceError(WorkbenchError):
    pass


class TemplateError(WorkbenchError):
    pass


class LabelError(WorkbenchError):
    pass


class LakeError(WorkbenchError):
    pass


class ExportError(WorkbenchError):
    pass


class MissingPart(WorkbenchError):
    exit_code = 3


class BudgetSpent(WorkbenchError):
    exit_code = 4


class NothingApproved(WorkbenchError):
    exit_code = 5


# As many as a line holds and a person reads.
_MOST_NAMED = 12


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the closest known word, ``; known: a, b`` where none is close, empty where none is known."""
    names = sorted(known)
    # A word that was cut short or drawn out is nearer than one of the same length with other letters.
    longer = [name for name in names if len(word) > 3 and (name.startswith(word) or word.startswith(name))]
    close = longer[:1] or get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"; known: {', '.join(names[:_MOST_NAMED])}{more}" if names else ""
