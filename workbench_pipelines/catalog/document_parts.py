"""What the documents of every kind are made of: names, strictness, and what a source states of its uses."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
)  # fmt: skip

NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]*$"


def partition_name(name: str) -> str:
    # Names become partition keys and folder names: `|` and `,` break Dagster's keys, `..` would leave the lake.
    if not re.fullmatch(NAME_PATTERN, name) or ".." in name:
        raise ValueError(
            f"'{name}' is no usable name: lower-case letters, digits, '_', '.' and '-', starting with a letter or digit"
        )
    return name


Name = Annotated[str, AfterValidator(partition_name)]
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class RowRule(Strict):
    """Rows for which `when` holds carry the tags."""

    when: str
    tags: tuple[str, ...] = Field(min_length=1)


class UsageSpec(Strict):
    """What a source states of its uses; nothing stated allows nothing."""

    allowed_uses: tuple[str, ...] | None = None
    prohibited_uses: tuple[str, ...] = ()
    data_classification: str | None = None
    reason: str | None = None
    rows: tuple[RowRule, ...] = ()
