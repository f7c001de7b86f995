"""Figures and foreign text, as a reader gets them."""

from __future__ import annotations

import math

import pytest

from facegate_convert._pages import _text as t


def plain(text):
    """The text with plain spaces and dashes."""
    for fancy, simple in (("\u00a0", " "), ("\u202f", " "), ("\u2013", "-"), ("\u00d7", "x"), ("\u2014", "?")):
        text = text.replace(fancy, simple)
    return text


def found(errors, trials, value, low, high):
    """A measured rate."""
    return {"errors": errors, "trials": trials, "value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (None, None, None, "?"),
        (math.nan, None, None, "?"),
        ("0.1", None, None, "?"),
        (0.0123, 0.0081, 0.0162, "1.23 %"),
        (0.0123, 0.004, 0.03, "1.2 %"),
        (0.5, 0.1, 0.9, "50 %"),
        (0.000478, 0.0, 0.0223, "0.05 %"),  # more than nothing was seen, and the figure says so
        (0.0001, 0.00008, 0.00012, "0.0100 %"),
        (0.0, 0.0, 0.003, "0.00 %"),
        (0.123456, None, None, "12.3 %"),
        (1.0, None, None, "100 %"),
    ],
)
def test_a_rate_has_the_digits_that_its_interval_gives_it(value, low, high, expected):
    """Two digits of half the interval decide; a rate that is not zero is never shown as zero."""
    assert plain(t.percent(value, low, high)) == expected


@pytest.mark.parametrize(
    ("rate", "shown", "interval", "counts"),
    [
        (found(12, 1000, 0.012, 0.0062, 0.0209), "1.20 %", "0.62-2.09 %", "12 of 1,000"),
        (found(0, 300, 0.0, 0.0, 0.0099), "below 0.99 %", "0.00-0.99 %", "0 of 300"),
        (found(0, 0, 0.0, 0.0, 1.0), "?", "0-100 %", "0 of 0"),
        ({"trials": 50, "value": 0.5}, "50.0 %", "?", "of 50"),
        ({"errors": 1, "trials": 2, "value": 7.0, "low": -1, "high": 9}, "?", "?", "1 of 2"),
        ({}, "?", "?", "?"),
        (None, "?", "?", "?"),
        ("0.1", "?", "?", "?"),
    ],
)  # fmt: skip
def test_a_rate_without_an_error_is_what_its_interval_proves(rate, shown, interval, counts):
    """Nothing seen in 300 trials is "below 0.99 %", not 0 %; no trial, or no rate, is a dash."""
    assert (plain(t.rate(rate)), plain(t.interval(rate)), plain(t.errors(rate))) == (shown, interval, counts)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-4, "10⁻⁴"),
        (2.5e-3, "2.5 x 10⁻³"),
        (-1e-6, "-10⁻⁶"),
        (0.25, "0.25"),
        (0, "0"),
        (3e7, "3 x 10⁷"),
        (None, "?"),
        (10**400, "?"),
        (True, "?"),
    ],
)
def test_small_numbers_are_powers_of_ten(value, expected):
    """Numbers that nobody can read as decimals are powers of ten; everyday ones stay."""
    assert plain(t.powers(value)) == expected


def test_rates_that_were_asked_for_are_all_written_alike():
    """A column of targets reads 10^-1, 10^-2, 10^-3, also where the first could be a decimal."""
    assert [t.asked(v) for v in (0.1, 0.01, 1e-3, 1e-6)] == ["10⁻¹", "10⁻²", "10⁻³", "10⁻⁶"]
    assert plain(t.asked(0.03)) == "3 x 10⁻²"
    assert plain(t.asked(0)) == plain(t.asked(None)) == "?"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 bytes"),
        (812, "812 bytes"),
        (812_300, "812 kB"),
        (4_912_000, "4.91 MB"),
        (123_456_789, "123 MB"),
        ("", "?"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(value, expected):
    """Bytes, kB or MB (decimal), whichever needs no more than three digits."""
    assert plain(t.size(value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (0.00123456, "0.00123"), (12.345, "12.3"), (1234.5, "1,230"), (math.inf, "?"), (1e-9, "10⁻⁹")],
)
def test_three_digits_are_enough(value, expected):
    """Three significant digits, with separators; what would need counting of zeros is a power of ten."""
    assert plain(t.significant(value)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Zoë Müller", "Zoë Müller"),
        ("张伟", "张伟"),
        ("two\nlines\tand\ra tab", "two lines and a tab"),
        ("nul\x00 bell\x07", "nul\ufffd bell\ufffd"),
        ("half \ud800 of a character", "half \ufffd of a character"),
        ("right\u202eto left", "right\ufffdto left"),
        ("<b>&amp;", "<b>&amp;"),  # escaping is the page's work
        (None, "None"),
        (17, "17"),
    ],
)
def test_foreign_text_is_one_line_that_hides_nothing(text, expected):
    """Control, direction-changing and broken characters are shown as such; nothing is dropped silently."""
    assert t.clean(text) == expected
    t.clean(text).encode()


def test_long_foreign_text_is_cut_where_it_can_be_seen():
    """A text of a million characters takes a line, and ends with an ellipsis."""
    assert t.clean("x" * 10**6) == "x" * 1999 + "…"
    assert t.clean("abcdef", 4) == "abc…"
    assert t.clean("abcd", 4) == "abcd"
