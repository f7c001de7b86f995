"""The secret rotation: similarities stay, templates of two gates do not link."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from facegate._store._rotation import Rotation
from facegate.errors import SealError, StoreError, TemplateSpaceError
from facegate_edge._gallery import compare
from facegate_edge._values import Template

LENGTH = 512


@pytest.fixture(scope="module")
def rotation():
    """One gate's rotation."""
    return Rotation.new(LENGTH)


def directions(rng, count, length=LENGTH):
    """Random templates, int8 (count, length)."""
    block = rng.standard_normal((count, length))
    return np.rint(block * (127 / np.abs(block).max(axis=1, keepdims=True))).astype(np.int8)


def cosines(a, b):
    """Of rows."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def pairs(rng, count):
    """Two templates each, of every similarity from that of strangers to that of one picture."""
    a = rng.standard_normal((count, LENGTH))
    b = a + rng.uniform(0.05, 5, (count, 1)) * rng.standard_normal((count, LENGTH))
    return tuple(np.rint(x * (127 / np.abs(x).max(axis=1, keepdims=True))).astype(np.int8) for x in (a, b))


def test_similarities_stay(rotation, rng):
    """To the rounding of int8: no pair of 4000 moves by more than 0.003, and on average by none."""
    a, b = pairs(rng, 4000)
    moved = cosines(rotation.rows(a), rotation.rows(b)) - cosines(a, b)
    assert np.abs(moved).max() < 0.003
    assert abs(moved.mean()) < 0.0001


def test_no_decision_changes_but_within_the_rounding(rotation, rng):
    """At any threshold the same pairs match, but for those that are nearer to it than the rounding."""
    a, b = pairs(rng, 4000)
    before, after = cosines(a, b), cosines(rotation.rows(a), rotation.rows(b))
    for threshold in np.linspace(0.2, 0.95, 16):
        changed = (before >= threshold) != (after >= threshold)
        assert np.abs(before[changed] - threshold).max(initial=0) < 0.003


def test_the_most_similar_stays_the_most_similar(rotation, rng):
    """A search among 2000 strangers and the person finds the person, before and after."""
    people = directions(rng, 2000)
    probe = people[700].astype(np.float64) + 20 * rng.standard_normal(LENGTH)
    probe = np.rint(probe * (127 / np.abs(probe).max())).astype(np.int8)[None]
    assert cosines(people, np.repeat(probe, 2000, 0)).argmax() == 700
    assert cosines(rotation.rows(people), np.repeat(rotation.rows(probe), 2000, 0)).argmax() == 700


def test_a_template_compared_with_itself_stays_one(rotation, rng):
    """The same template is rotated to the same bytes."""
    template = Template(directions(rng, 1)[0], "space")
    assert compare(rotation.apply(template), rotation.apply(template)) == 1.0


def test_templates_of_two_gates_do_not_link(rotation, rng):
    """The same template in two gates is as similar as strangers, and its sorted magnitudes tell nothing either."""
    rows = directions(rng, 400)
    one, other = rotation.rows(rows), Rotation.new(LENGTH).rows(rows)
    strangers = np.roll(other, 1, axis=0)
    # The standard deviation of chance is 1/sqrt(512) = 0.044; that of the mean of 400 is 20 times less.
    assert abs(cosines(one, other).mean()) < 0.015
    assert np.abs(cosines(one, other)).max() < 0.25
    spectra = [np.sort(np.abs(x.astype(int)), axis=1) for x in (one, other, strangers)]
    same, chance = (np.abs(spectra[0] - spectrum).sum(axis=1) for spectrum in spectra[1:])
    # A signed permutation would have 0 here for the same person. Whether one person or two: the distances are alike.
    assert abs(same.mean() - chance.mean()) < 8 * chance.std() / 20
    assert same.min() > 0


def test_what_stays_and_links_is_a_whole_set(rotation, rng):
    """The limit that the documents tell: all templates of before and of after show who is who, by their likeness."""
    rows, order = directions(rng, 100), rng.permutation(100)
    likeness = []
    for turned in (rotation.rows(rows), Rotation.new(LENGTH).rows(rows)[order]):
        unit = turned / np.linalg.norm(turned, axis=1, keepdims=True)
        likeness.append(np.sort(unit @ unit.T, axis=1))
    guess = ((likeness[0][:, None] - likeness[1][None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (order[guess] == np.arange(100)).all()


def test_the_matrix_is_haar_random():
    """No direction is preferred: moments of 4000 small matrices are those of the orthogonal group, with both signs."""
    size = 4
    found = np.stack([Rotation.new(size)._matrix / (1 << 30) for _ in range(4000)])
    trace = np.trace(found, axis1=1, axis2=2)
    # Diaconis and Shahshahani 1994: E tr = 0, E tr^2 = 1, E tr^4 = 3; and E q11^2 q22^2 = (n+1)/((n-1) n (n+2)).
    # Without the signs of R's diagonal, E tr would be far from 0. Bounds: 6 standard errors.
    for values, wanted in (
        (trace, 0.0),
        (trace**2, 1.0),
        (trace**4, 3.0),
        (found[:, 0, 0] ** 2 * found[:, 1, 1] ** 2, (size + 1) / ((size - 1) * size * (size + 2))),
        (np.sign(np.linalg.det(found)), 0.0),
    ):
        assert abs(values.mean() - wanted) < 6 * values.std() / np.sqrt(len(values))


def test_every_machine_makes_the_same_bytes(rotation, rng):
    """The result is that of whole numbers, computed here without any floating point."""
    row = directions(rng, 1)[0]
    matrix = rotation._matrix.astype(np.int64)
    whole = [sum(int(v) * int(m) for v, m in zip(row, column, strict=True)) for column in matrix.T]
    peak = max(map(abs, whole))
    right = [(2 * 127 * abs(v) + peak) // (2 * peak) * (1 if v > 0 else -1) for v in whole]
    assert rotation.rows(row[None])[0].tolist() == right


def test_what_is_rotated_is_a_template(rotation, rng):
    """Its largest magnitude is 127, never -128, also for a template with one value."""
    rows = directions(rng, 100)
    rows[0] = 0
    rows[0, 3] = -1
    turned = rotation.rows(rows).astype(int)
    assert (np.abs(turned).max(axis=1) == 127).all()
    assert turned.min() >= -127


def test_a_rotation_is_a_rotation(rotation):
    """Its matrix is orthogonal, to what its integers can say; no two are alike."""
    matrix = rotation._matrix / (1 << 30)
    assert np.abs(matrix @ matrix.T - np.eye(LENGTH)).max() < 1e-7
    other = Rotation.new(LENGTH)
    assert np.abs(other._matrix - rotation._matrix).max() > 1 << 24
    assert other.id != rotation.id


def test_it_is_kept_as_bytes(rotation, rng):
    """And comes back as the same."""
    again = Rotation.from_bytes(rotation.to_bytes())
    rows = directions(rng, 10)
    assert again.id == rotation.id
    assert (again.rows(rows) == rotation.rows(rows)).all()


@pytest.mark.parametrize("cut", [0, 10, 24, 30, -1])
def test_bytes_that_are_no_rotation_are_refused(rotation, cut):
    """Cut short, or something else."""
    with pytest.raises(SealError):
        Rotation.from_bytes(rotation.to_bytes()[:cut])
    with pytest.raises(SealError):
        Rotation.from_bytes(b"X" + rotation.to_bytes()[1:])


def test_one_rotation_after_another_is_one_rotation(rng):
    """Probes turned by both at once meet templates that were turned by one after the other."""
    first, second = Rotation.new(LENGTH), Rotation.new(LENGTH)
    both = first.then(second)
    rows = directions(rng, 500)
    assert both.id == second.id
    assert cosines(second.rows(first.rows(rows)), both.rows(rows)).min() > 0.999


def test_only_a_template_of_the_recognizer_is_rotated(rotation, rng):
    """Not one that was rotated before, nor one of another length."""
    template = Template(directions(rng, 1)[0], "space")
    turned = rotation.apply(template)
    assert turned.space == f"space#{rotation.id}"
    with pytest.raises(TemplateSpaceError):
        rotation.apply(turned)
    with pytest.raises(TemplateSpaceError):
        rotation.apply(Template(directions(rng, 1, 128)[0], "space"))
    with pytest.raises(TemplateSpaceError):
        compare(template, turned)


@pytest.mark.parametrize("length", [0, 4097])
def test_a_length_that_no_template_has_is_refused(length):
    """1 to 4096."""
    with pytest.raises(StoreError):
        Rotation.new(length)


def test_a_rotation_shows_its_id_only_and_can_be_wiped():
    """The matrix is a secret."""
    rotation = Rotation.new(16)
    assert repr(rotation) == f"Rotation({rotation.id})"
    with pytest.raises(TypeError):
        pickle.dumps(rotation)
    rotation.wipe()
    assert not rotation._matrix.any()
