"""Access: who may decide what, and who is shown what is restricted. Whoever is not named may nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workbench_pipelines.catalog import AccessSpec, Catalog
from workbench_pipelines.errors import DefinitionError

TEAM = "team:"
REVIEWER_ACTIONS = frozenset({"label", "edit", "reject", "flag"})
APPROVER_ACTIONS = REVIEWER_ACTIONS | {"approve"}
STEWARD_ACTIONS = APPROVER_ACTIONS | {"restrict", "restore"}


@dataclass(frozen=True)
class Roles:
    """The people of each role; None where no Access document says, and everybody who has a name may approve."""

    reviewers: frozenset[str] | None = None
    approvers: frozenset[str] = frozenset()
    stewards: frozenset[str] = frozenset()
    see_restricted: frozenset[str] = frozenset()
    release: frozenset[str] = frozenset()
    emails: Mapping[str, str] = field(default_factory=dict)
    """The person behind each e-mail, in small letters."""

    def person_of(self, email: str) -> str:
        """Who has this e-mail; whoever is not listed is called by it."""
        return self.emails.get(email.strip().casefold(), email.strip())

    def may(self, person: str, action: str) -> bool:
        """Whether a person may take a decision of this kind; `undo` of an own one is open to every reviewer."""
        return action in self.actions_of(person)

    def actions_of(self, person: str) -> frozenset[str]:
        """The kinds of decisions a person may take."""
        if not person or person.startswith(TEAM):
            return frozenset()
        if self.reviewers is None:
            return APPROVER_ACTIONS | {"undo"}
        if person in self.stewards:
            return STEWARD_ACTIONS | {"undo"}
        if person in self.approvers:
            return APPROVER_ACTIONS | {"undo"}
        return REVIEWER_ACTIONS | {"undo"} if person in self.reviewers else frozenset()

    def releases(self, person: str) -> bool:
        """Whether a person may release versions of Collections, and take them back."""
        return bool(self.actions_of(person)) if self.reviewers is None else person in self.release

    def sees_restricted(self, person: str) -> bool:
        return person in self.see_restricted


def roles_of(catalog: Catalog) -> Roles:
    """The roles that the Access documents give; several documents add up.

    Raises:
        DefinitionError: for a broken Access document: without it everybody would be let in.
    """
    broken = [problem for problem in catalog.problems if problem.kind == "Access"]
    if broken:
        raise DefinitionError(broken[0].line)
    specs = catalog.access()
    if not specs:
        return Roles()
    emails = [(email.strip().casefold(), person) for spec in specs for person, email in spec.emails.items()]
    shared = next((email for email, person in emails if dict(emails)[email] != person), None)
    if shared is not None:
        raise DefinitionError(
            f"Access: emails: {dict(emails)[shared]} has the e-mail of another person; each has their own"
        )
    return Roles(
        reviewers=_people(specs, "reviewers"),
        approvers=_people(specs, "approvers"),
        stewards=_people(specs, "stewards"),
        see_restricted=_people(specs, "see_restricted"),
        release=_people(specs, "release"),
        emails=dict(emails),
    )


def people_of(catalog: Catalog, names: Iterable[str]) -> list[str]:
    """The people behind names, each once; a team that no Access document lists stands for itself."""
    teams = {name: people for spec in catalog.access() for name, people in spec.teams.items()}
    found = [teams.get(name.removeprefix(TEAM), (name,)) if name.startswith(TEAM) else (name,) for name in names]
    return sorted({person for people in found for person in people})


def unknown_teams(spec: AccessSpec) -> list[str]:
    """The teams that hold a role and have no people."""
    named = (*spec.reviewers, *spec.approvers, *spec.stewards, *spec.see_restricted, *spec.release)
    return sorted({name for name in named if name.startswith(TEAM) and name.removeprefix(TEAM) not in spec.teams})


def _people(specs: Iterable[AccessSpec], role: str) -> frozenset[str]:
    return frozenset(person for spec in specs for person in _resolved(getattr(spec, role), spec.teams))


def _resolved(names: Iterable[str], teams: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """The people behind names; a team that is not listed is nobody."""
    for name in names:
        if name.startswith(TEAM):
            yield from teams.get(name.removeprefix(TEAM), ())
        else:
            yield name
