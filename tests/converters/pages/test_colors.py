"""The page's colors: to be read on both grounds, and told apart by everybody."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest

from facegate_convert._pages import _svg

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
SIGHT = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
CSS = files("facegate_convert._pages").joinpath("page.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in CSS.split("\n* {")[0].split("@media screen")
)
GROUNDS = pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])


def linear(color):
    """Linear RGB, 0..1, of "#rrggbb"."""
    values = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """WCAG 2.2: 1 to 21."""
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    """CIE L*a*b* of linear RGB, for D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = to_xyz @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@GROUNDS
def test_text_and_lines_stand_out_from_their_ground(colors):
    """WCAG 2.2: text at least 4.5:1, also on the shade of remarks; lines and points of plots at least 3:1."""
    for name in ("ink", "muted", "link", "good", "bad", "warn", "none"):
        assert contrast(colors[name], colors["paper"]) >= 4.5
        assert contrast(colors[name], colors["shade"]) >= 4.5
    for at in range(1, 7):
        assert contrast(colors[f"series-{at}"], colors["paper"]) >= 3


@GROUNDS
@pytest.mark.parametrize("sight", SIGHT)
def test_lines_of_a_plot_are_told_apart_by_everybody(colors, sight):
    """No two of the six colors come closer than 25 in CIE L*a*b*, with full sight and with each color blindness."""
    seen = [lab(np.array(SIGHT[sight]) @ linear(colors[f"series-{at}"])) for at in range(1, 7)]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)) >= 25


def test_a_plot_taken_out_of_its_page_has_the_light_colors():
    """What stands in a plot for want of a style sheet is what the style sheet says."""
    assert {name: light for name, (_, light) in _svg._COLORS.items()} == {n: LIGHT[n] for n in _svg._COLORS}
