"""Stores of a test's own, in memory and on disk."""

from __future__ import annotations

import numpy as np
import pytest

from facegate._store._database import Database
from facegate._store._key_providers import FileKey, new_secret
from facegate._store._store import Store
from facegate_edge._values import Template

LENGTH, SPACE = 64, "test-space"


@pytest.fixture
def database():
    """Empty tables in memory."""
    opened = Database.memory()
    yield opened
    opened.close()


@pytest.fixture
def rng():
    """The same random numbers with each run."""
    return np.random.default_rng(20261121)


@pytest.fixture
def template(rng):
    """Makes templates, each a random direction; `near` another one if it is given."""

    def make(near: Template | None = None, noise: float = 0.2, length: int = LENGTH, space: str = SPACE) -> Template:
        vector = rng.standard_normal(length)
        if near is not None:
            vector = near.data / np.linalg.norm(near.data) + noise * vector / np.sqrt(length)
        return Template(np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8), space)

    return make


class Folder:
    """A gate's folder with a store, opened and closed as a test wants."""

    def __init__(self, path, clock) -> None:
        self.path, self.clock = path, clock
        self.key = FileKey(path / "seal.key", name="file:seal.key")
        self.key.save(new_secret())
        self.stores: list[Store] = []

    def create(self, **changes) -> Store:
        """A new store."""
        arguments = {"device": "door-1", "space": SPACE, "length": LENGTH, "key": self.key, "clock": self.clock}
        return self._kept(Store.create(self.path, **(arguments | changes)))

    def open(self, **changes) -> Store:
        """The store that is there."""
        arguments = {"space": SPACE, "length": LENGTH, "key": self.key, "clock": self.clock}
        return self._kept(Store.open(self.path, **(arguments | changes)))

    def reopen(self, **changes) -> Store:
        """Close what is open, and open it again."""
        self.close()
        return self.open(**changes)

    def twice(self, store: Store):
        """A store as it is, and as it is after a restart."""
        yield store
        yield self.reopen()

    def _kept(self, store: Store) -> Store:
        self.stores.append(store)
        return store

    def close(self) -> None:
        """Close what is open."""
        while self.stores:
            self.stores.pop().close()


@pytest.fixture
def folder(tmp_path, clock):
    """A gate's folder with a sealing key and no store yet."""
    made = Folder(tmp_path, clock)
    yield made
    made.close()


@pytest.fixture
def enroll():
    """Enrolls a person with faces; the templates as the recognizer made them. Returns the row id."""

    def add(store: Store, reference: str, *templates: Template, **changes) -> int:
        with store.db.transaction() as tx:
            person = store.add_person(tx, reference, **changes)
            store.add_faces(tx, person, [store.rotation.apply(template) for template in templates])
        return person

    return add


@pytest.fixture
def found():
    """References of the people who resemble a template, most similar first."""

    def search(store: Store, template: Template, **selection) -> list[str]:
        matches = store.index.best(store.rotation.apply(template), **({"k": 5} | selection))
        people = [store.person_by_id(match.owner) for match in matches]
        return [person.reference for person in people if person is not None]

    return search
