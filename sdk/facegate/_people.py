"""Who is enrolled: references, consents, and the rows of the gallery that are theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facegate_edge._gallery import Gallery

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from facegate._consent import Consent
    from facegate_edge._values import Template

__all__ = ["People"]


class People:
    """Templates by person. Not thread safe: the gate's lock guards it.

    Args:
        length: of a template.
        space: id of the template space.
    """

    def __init__(self, length: int, space: str) -> None:
        self._gallery = Gallery(length, space)
        self._owners: list[str] = []  # of the gallery's rows
        self._rows: dict[str, set[int]] = {}  # of each person; the same the other way round
        self._consents: dict[str, Consent] = {}
        self._first_expiry: datetime | None = None  # no consent expires before: usually a sweep has nothing to look at
        self._lapsed: set[str] = set()

    def templates(self, subject: str) -> int:
        """How many templates a person has; 0 if there is no such person."""
        return len(self._rows.get(subject, ()))

    def lapsed(self, subject: str) -> bool:
        """Whether the person was enrolled until their consent expired."""
        return subject in self._lapsed

    def subjects(self) -> tuple[str, ...]:
        """All references, sorted."""
        return tuple(sorted(self._consents))

    def add(self, subject: str, templates: Sequence[Template], consent: Consent) -> None:
        """Add templates to a person, new or known."""
        rows = np.stack([template.data for template in templates])
        try:
            first = self._gallery.extend(rows)
        finally:
            rows.fill(0)  # the gallery has a copy of its own, in memory that is locked and kept out of core dumps
        self._owners += [subject] * len(templates)
        self._rows.setdefault(subject, set()).update(range(first, first + len(templates)))
        self._consents[subject] = consent
        self._note_expiry(consent)
        self._lapsed.discard(subject)

    def remove(self, subject: str) -> bool:
        """Wipe a person; False if there is none."""
        if subject in self._lapsed:
            self._lapsed.discard(subject)
            return True
        if self._consents.pop(subject, None) is None:
            return False
        # From the end, because a removed row is replaced by the last one, which is somebody else's by then.
        for index in sorted(self._rows.pop(subject), reverse=True):
            moved = self._gallery.remove(index)
            last = self._owners.pop()
            if moved is not None:
                self._owners[index] = last
                self._rows[last] ^= {moved, index}
        return True

    def sweep(self, now: datetime) -> None:
        """Wipe whose consent has expired; only that they were enrolled is remembered."""
        if self._first_expiry is None or now < self._first_expiry:
            return
        for subject in [s for s, consent in self._consents.items() if consent.expired_at(now)]:
            self.remove(subject)
            self._lapsed.add(subject)
        self._first_expiry = None
        for consent in self._consents.values():
            self._note_expiry(consent)

    def _note_expiry(self, consent: Consent) -> None:
        expiry = consent.expires_at
        if expiry is not None and (self._first_expiry is None or expiry < self._first_expiry):
            self._first_expiry = expiry

    def best(
        self, template: Template, subject: str | None = None, *, besides: str | None = None
    ) -> tuple[str, float] | None:
        """The most similar person: reference and similarity, the highest of their templates.

        Args:
            template: the probe.
            subject: compare with this person only.
            besides: compare with everybody but this person.

        Returns:
            None if there is nobody to compare with.
        """
        selection = None
        if subject is not None or besides is not None:
            named = subject if subject is not None else besides
            selection = np.full(len(self._owners), subject is None)
            selection[list(self._rows.get(named or "", ()))] = subject is not None
        found = self._gallery.search(template, 1, selection=selection)
        return (self._owners[found[0].index], found[0].similarity) if found else None

    def close(self) -> None:
        """Wipe everything."""
        self._gallery.close()
        self._owners.clear()
        self._rows.clear()
        self._consents.clear()
        self._lapsed.clear()
