"""Variants: the ways in which a template asks of one item, each with a number that is its own for good.

The number comes from what the variant is, not from where it stands: a value more, another order or another choice leaves
the items `<parent>#<n>` of the other variants, and what people said of them, as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from workbench_pipelines.catalog.document_parts import Scalar
from workbench_pipelines.catalog.variety import VariantsSpec
from workbench_pipelines.identity import canonical_text, digest, unit_interval

# Nine digits: of 1,000 variants two share a number once in 2,000 projects, which `validate` says.
NUMBERS = 10**9
VARIANT = "variant"
"""The variable that holds a variant's name."""


@dataclass(frozen=True)
class Variant:
    """One way to ask: its name, and the variables that a template sees for it."""

    name: str
    parameters: Mapping[str, Scalar]

    @cached_property
    def number(self) -> int:
        """The `n` of the items it makes."""
        return number_of(["variant", self.name, dict(self.parameters)])


def number_of(parts: object) -> int:
    """A number below `NUMBERS` that depends on the parts alone."""
    return int(digest(parts)[:15], 16) % NUMBERS


def parameter_names(spec: VariantsSpec) -> list[str]:
    """The names of all parameters that any variant has."""
    return sorted({*spec.parameters, *(name for one in spec.named for name in one.parameters)})


def variants_of(spec: VariantsSpec) -> tuple[Variant, ...]:
    """Every variant: each combination of the parameters, then the named ones; a parameter that one lacks is null."""
    names = parameter_names(spec)
    absent: dict[str, None] = dict.fromkeys(names)
    combined = [
        Variant(_title(chosen), {**absent, **chosen})  # type: ignore[dict-item]
        for chosen in _combinations(spec.parameters)
    ]
    named = [Variant(one.name, {**absent, **one.parameters}) for one in spec.named]  # type: ignore[dict-item]
    return (*combined, *named)


def chosen_variants(variants: Sequence[Variant], spec: VariantsSpec, item_ref: str) -> list[Variant]:
    """Those an item gets: the lowest hashes of (seed, item_ref, variant), in the order in which they are defined.

    The choice of an item depends on itself alone; a new variant takes the place of at most one other.
    """
    if spec.per_item is None or spec.per_item >= len(variants):
        return list(variants)
    ranked = sorted(variants, key=lambda one: (unit_interval(spec.seed, item_ref, one.number), one.number))
    kept = set(map(id, ranked[: spec.per_item]))
    return [one for one in variants if id(one) in kept]


def shared_numbers(variants: Sequence[Variant]) -> list[tuple[str, str]]:
    """The variants that share a number by accident, two by two."""
    seen: dict[int, str] = {}
    found = []
    for one in variants:
        if one.number in seen:
            found.append((seen[one.number], one.name))
        seen.setdefault(one.number, one.name)
    return found


def _combinations(parameters: Mapping[str, Sequence[Scalar]]) -> Iterator[dict[str, Scalar]]:
    if not parameters:
        return
    names = sorted(parameters)
    for values in itertools.product(*(parameters[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _title(chosen: Mapping[str, Scalar]) -> str:
    return ",".join(
        f"{name}={value if isinstance(value, str) else canonical_text(value)}" for name, value in chosen.items()
    )
