"""Who is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facegate.simulation import MONK_TONES, Identity


def test_a_seed_is_a_person() -> None:
    """The same seed draws the same person, another seed another one."""
    assert Identity.draw(7) == Identity.draw(7)
    assert Identity.draw(7) != Identity.draw(8)


def test_all_tones_of_the_monk_scale_are_drawn_alike() -> None:
    """Each of the ten tones is drawn about as often as the others."""
    counts = np.bincount([Identity.draw(seed).monk for seed in range(2000)], minlength=11)
    assert counts[0] == 0
    assert counts[1:].min() > 140
    assert counts[1:].max() < 260


def test_darker_tones_reflect_less() -> None:
    """On average, the skin of each tone of the lower half is darker than the tone before it."""
    means = [
        np.mean([Identity.draw(seed, monk=tone).skin for seed in range(60)]) for tone in range(4, len(MONK_TONES) + 1)
    ]
    assert means == sorted(means, reverse=True)


def test_a_tone_can_be_asked_for_and_nothing_else_of_the_shape_changes() -> None:
    """A person with another tone has the same head."""
    one, other = Identity.draw(11, monk=2), Identity.draw(11, monk=9)
    assert (one.monk, other.monk) == (2, 9)
    shape = ("nose_length", "eye_distance", "jaw_width", "mouth_width", "hair_style", "beard")
    assert [getattr(one, name) for name in shape] == [getattr(other, name) for name in shape]


@pytest.mark.parametrize("monk", [0, 11, -1])
def test_a_tone_outside_the_scale_is_refused(monk: int) -> None:
    """The Monk scale has the tones 1..10."""
    with pytest.raises(ValueError, match=r"1\.\.10"):
        Identity.draw(1, monk=monk)


def test_a_negative_seed_is_refused() -> None:
    """Seeds count from 0."""
    with pytest.raises(ValueError, match="0 or more"):
        Identity.draw(-1)


def test_people_are_values() -> None:
    """An identity cannot be changed after it is drawn."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Identity.draw(1).monk = 3  # type: ignore[misc]
