"""Kept answers: which questions the store answers already, whichever of their models it was and however it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench_pipelines.answers import Read
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.requests import Completion, Outcome, Request, Variants


@dataclass(frozen=True)
class KeptAnswers:
    """The answers of a store as they are read today.

    Attributes:
        read: what an answer says, and whether it can be used.
        follow_up: what an answer that can not be used is asked once more.
    """

    store: RequestStore
    read: Read
    follow_up: Callable[[Request, Completion], Request | None]

    def usable(self, questions: Sequence[Variants]) -> dict[str, Completion]:
        """By the hash of a question: its usable answer, by any of its models, or after one was asked once more."""
        kept = self.store.answers({one.request_hash for variants in questions for one in variants})
        found: dict[str, Completion] = {}
        again: list[tuple[str, Request]] = []
        for variants in questions:
            key = hash_of(variants)
            for one in variants:
                answers = kept.get(one.request_hash, [])
                good = self._first_usable(one, answers)
                if good is not None:
                    found[key] = good
                    break
                follow = self.follow_up(one, answers[-1]) if answers else None
                if follow is not None:
                    again.append((key, follow))
        again = [(key, one) for key, one in again if key not in found]
        kept = self.store.answers({one.request_hash for _, one in again})
        for key, one in again:
            good = self._first_usable(one, kept.get(one.request_hash, []))
            if good is not None:
                found.setdefault(key, good)
        return found

    def tried(self, questions: Sequence[Variants]) -> set[str]:
        """The hashes of the questions that were answered, and by none of their models usably."""
        usable = self.usable(questions)
        kept = self.store.answers({one.request_hash for variants in questions for one in variants})
        return {
            hash_of(variants)
            for variants in questions
            if hash_of(variants) not in usable and any(one.request_hash in kept for one in variants)
        }

    def is_usable(self, request: Request, outcome: Outcome) -> bool:
        return isinstance(outcome, Completion) and self.read(request, outcome).response is not None

    def _first_usable(self, request: Request, answers: Sequence[Completion]) -> Completion | None:
        return next((answer for answer in answers if self.is_usable(request, answer)), None)


def hash_of(variants: Variants) -> str:
    """What a question is known by: its hash for the first of its models."""
    return variants[0].request_hash
