"""UUIDv7: the RFC's vector, and an order that holds."""

from __future__ import annotations

import pytest

from facegate._uuid7 import Uuid7Source, build_uuid7


def test_the_vector_of_rfc_9562():
    """RFC 9562, appendix A.6, bit for bit."""
    made = build_uuid7(0x017F22E279B0, 0xCC3, 0x18C4DC0C0C07398F)
    assert str(made) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    assert made.variant == "specified in RFC 4122"
    assert made.version == 7


@pytest.mark.parametrize("times", [[5] * 1000, [5, 6, 7, 8], [9, 3, 9, 2, 10, 1], [-9, -3, 0, 1]])
def test_ids_increase_whatever_the_clock_does(times):
    """Within a millisecond, over time, and when the clock steps back."""
    source = Uuid7Source()
    made = [source.new(ms) for ms in times]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(m.version == 7 and m.variant == "specified in RFC 4122" for m in made)


def test_a_full_counter_borrows_the_next_millisecond():
    """Even the last of 2^42 ids in a millisecond is followed by a larger one."""
    source = Uuid7Source()
    source.new(5)
    source._counter = (1 << 42) - 2
    made = [source.new(5) for _ in range(3)]
    assert made == sorted(made)
    assert [m.int >> 80 for m in made] == [5, 6, 6]


def test_ids_of_two_devices_differ():
    """Two sources at the same moment give different ids."""
    assert Uuid7Source().new(5) != Uuid7Source().new(5)


@pytest.mark.parametrize("earlier", [0, 5])
def test_a_source_goes_on_after_another_one(earlier):
    """Ids of a second source sort after the last one of the first, in the same millisecond and after a step back."""
    for _ in range(50):
        first = Uuid7Source()
        last = [first.new(1_772_366_400_123) for _ in range(3)][-1]
        second = Uuid7Source(last)
        ids = [last, *(second.new(1_772_366_400_123 - earlier) for _ in range(3)), second.new(1_772_366_400_124)]
        assert ids == sorted(set(ids))
