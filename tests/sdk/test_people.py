"""Who is enrolled, against the plainest model of it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import pytest

from facegate._people import People
from facegate_edge._gallery import compare
from facegate_edge._values import Template

LENGTH, SPACE = 16, "test-space"


def template(rng) -> Template:
    """A random direction."""
    return Template(rng.integers(-127, 128, LENGTH, np.int8), SPACE)


def best(enrolled, probe, subjects):
    """The most similar person, looking at one template after the other."""
    scores = {s: max(compare(probe, t) for t in enrolled[s][0]) for s in subjects}
    return max(scores.items(), key=lambda item: item[1]) if scores else None


@pytest.mark.parametrize("seed", range(5))
def test_people_come_and_go_in_any_order(consent, clock, seed):
    """After every step templates, references and the most similar person are those of a dictionary of lists."""
    rng = np.random.default_rng(seed)
    people, enrolled = People(LENGTH, SPACE), {}
    for _ in range(300):
        subject = f"p{rng.integers(12)}"
        step = rng.integers(6)
        if step == 0:
            known = people.lapsed(subject) or enrolled.pop(subject, None) is not None
            assert people.remove(subject) == known
        elif step == 1:
            clock.wait(float(rng.integers(40)))
            enrolled = {s: e for s, e in enrolled.items() if e[1] is None or e[1] > clock.now()}
        else:
            expires = None if step == 2 else clock.now() + timedelta(seconds=int(rng.integers(1, 300)))
            added = [template(rng) for _ in range(rng.integers(1, 4))]
            people.add(subject, added, dataclasses.replace(consent, expires_at=expires))
            enrolled[subject] = ([*enrolled.get(subject, ([],))[0], *added], expires)
        people.sweep(clock.now())
        assert people.subjects() == tuple(sorted(enrolled))
        probe = template(rng)
        assert people.best(probe) == best(enrolled, probe, enrolled)
        for name in (subject, "p0", "nobody"):
            assert people.templates(name) == len(enrolled.get(name, ([],))[0])
            assert people.best(probe, name) == best(enrolled, probe, [name] if name in enrolled else [])
            assert people.best(probe, besides=name) == best(enrolled, probe, [s for s in enrolled if s != name])
    people.close()
    assert people.subjects() == ()
