"""The gallery in memory, against the plainest model of it: a list of faces, compared one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from facegate._store._index import Index, Match
from facegate.errors import GalleryError, TemplateSpaceError
from facegate_edge._gallery import compare
from facegate_edge._values import Template

LENGTH, SPACE = 16, "test-space#1"


def template(rng) -> Template:
    """A random direction; few of them, so that some are equally similar."""
    return Template(rng.integers(-2, 3, LENGTH, np.int8) * 60 + np.int8(1), SPACE)


def ranked(faces, probe, k, one_each=True):
    """The most similar owners (or faces) of (owner, face, template), looking at one after the other."""
    scored = sorted((-compare(probe, t), owner, face) for owner, face, t in faces)
    matches = []
    for score, owner, face in scored:
        if not one_each or owner not in {match[0] for match in matches}:
            matches.append((owner, face, -score))
    return matches[:k]


def plain(matches):
    """Matches as tuples."""
    return [(match.owner, match.face, match.similarity) for match in matches]


@pytest.mark.parametrize("seed", range(6))
def test_faces_come_and_go_in_any_order(seed):
    """After every step each way to search finds what looking at one face after the other finds, ties included."""
    rng = np.random.default_rng(seed)
    index, faces, groups = Index(LENGTH, SPACE, capacity=4), [], {1: set(), 2: set(), 3: set()}
    next_face = 1
    for _ in range(250):
        owner = int(rng.integers(1, 9)) * (-1 if rng.random() < 0.2 else 1)
        step = rng.integers(8)
        if step == 0:
            (index.remove_person if owner > 0 else lambda o: index.remove_list(-o))(owner)
            faces = [face for face in faces if face[0] != owner]
            for members in groups.values():
                members.discard(owner)
        elif step == 1 and faces:
            gone = {faces[int(i)][1] for i in rng.integers(len(faces), size=2)}
            index.remove_faces(gone)
            faces = [face for face in faces if face[1] not in gone]
        elif step == 2:
            group = int(rng.integers(1, 4))
            index.join(abs(owner), group)
            groups[group].add(abs(owner))
        elif step == 3:
            group = int(rng.integers(1, 4))
            index.leave(abs(owner), group)
            groups[group].discard(abs(owner))
        else:
            added = [template(rng) for _ in range(rng.integers(1, 4))]
            ids = list(range(next_face, next_face + len(added)))
            next_face += len(added)
            index.add(ids, [owner] * len(added), np.stack([t.data for t in added]))
            faces += [(owner, face, t) for face, t in zip(ids, added, strict=True)]
        probe, k = template(rng), int(rng.integers(1, 6))
        people = [face for face in faces if face[0] > 0]
        assert len(index) == len(faces)
        assert plain(index.best(probe, k=k)) == ranked(people, probe, k)
        one = abs(owner)
        assert plain(index.best(probe, persons=[one], k=k)) == ranked([f for f in people if f[0] == one], probe, k)
        assert plain(index.best(probe, persons=[1, 2, 99], k=k)) == ranked([f for f in people if f[0] < 3], probe, k)
        assert plain(index.best(probe, persons=[], k=k)) == []
        assert plain(index.best(probe, besides=one, k=k)) == ranked([f for f in people if f[0] != one], probe, k)
        for chosen in ([1], [2, 3], [99], []):
            members = set().union(*(groups.get(group, set()) for group in chosen))
            right = ranked([f for f in people if f[0] in members], probe, k)
            assert plain(index.best(probe, groups=chosen, k=k)) == right
        both = [f for f in people if f[0] in groups[1] and f[0] != one]
        assert plain(index.best(probe, groups=[1], besides=one, k=k)) == ranked(both, probe, k)
        listed = [(-f[0], *f[1:]) for f in faces if f[0] == -one]
        assert plain(index.similar(probe, one, k=k)) == ranked(listed, probe, k, one_each=False)
        assert index.faces(one) == tuple(sorted(f[1] for f in people if f[0] == one))
    index.close()


def test_many_faces_of_one_person_do_not_hide_others():
    """The k most similar people come back although the first has more faces than k."""
    index = Index(LENGTH, SPACE)
    near = np.full((40, LENGTH), 100, np.int8)
    near[:, 0] -= np.arange(40, dtype=np.int8)
    far = np.full((3, LENGTH), 100, np.int8)
    far[:, :4] = -100
    index.add(range(1, 41), [1] * 40, near)
    index.add(range(41, 44), [2, 3, 4], far)
    assert [match.owner for match in index.best(Template(near[0], SPACE), k=3)] == [1, 2, 3]


def test_equally_similar_people_come_by_id_whatever_the_order_of_rows():
    """A restart, which puts rows in another order, decides as before."""
    rows = np.full((3, LENGTH), 7, np.int8)
    orders = ([5, 3, 4], [3, 4, 5], [4, 5, 3])
    for order in orders:
        index = Index(LENGTH, SPACE)
        index.add(order, order, rows)
        assert [m.owner for m in index.best(Template(rows[0], SPACE), k=2)] == [3, 4]
        assert [m.owner for m in index.best(Template(rows[0], SPACE), k=1)] == [3]


def test_nobody_is_found_where_nobody_is():
    """An empty index, an unknown person, an unknown group."""
    index = Index(LENGTH, SPACE)
    probe = Template(np.ones(LENGTH, np.int8), SPACE)
    assert index.best(probe) == ()
    assert index.best(probe, persons=[1]) == ()
    assert index.best(probe, groups=[1]) == ()
    assert index.similar(probe, 1) == ()
    assert index.faces(1) == ()
    index.remove_person(1)
    index.remove_faces([1])
    index.leave(1, 1)


def test_a_probe_of_another_space_is_never_compared():
    """Not rotated, or rotated by another gate."""
    index = Index(LENGTH, SPACE)
    index.add([1], [1], np.ones((1, LENGTH), np.int8))
    for space in ("test-space", "test-space#2"):
        with pytest.raises(TemplateSpaceError):
            index.best(Template(np.ones(LENGTH, np.int8), space))


@pytest.mark.parametrize("k", [0, -1, 1025])
def test_a_number_of_people_that_cannot_be_meant_is_refused(k):
    """1 to 1024."""
    index = Index(LENGTH, SPACE)
    index.add([1], [1], np.ones((1, LENGTH), np.int8))
    with pytest.raises(GalleryError):
        index.best(Template(np.ones(LENGTH, np.int8), SPACE), k=k)


def test_what_is_no_template_is_not_added():
    """And nothing else of the same call."""
    index = Index(LENGTH, SPACE)
    rows = np.ones((2, LENGTH), np.int8)
    rows[1] = 0
    with pytest.raises(GalleryError):
        index.add([1, 2], [1, 1], rows)
    assert len(index) == 0
    assert index.faces(1) == ()


def test_closing_wipes():
    """The memory that the templates were in holds zeros."""
    index = Index(LENGTH, SPACE)
    index.add([1], [1], np.full((1, LENGTH), 9, np.int8))
    memory = index._gallery._memory.rows
    assert memory.any()
    index.close()
    assert not memory.any()


def test_nothing_shows_a_similarity():
    """Neither a match's repr nor the index's."""
    assert repr(Match(3, 4, 0.87654)) == "Match(owner=3, face=4)"
    assert repr(Index(LENGTH, SPACE)) == "Index(0 faces)"
