"""Plots: where the points are, what is drawn of bad figures, what words say."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from facegate_convert._pages import _curves, _distributions, _groups, _models
from facegate_convert._pages._curves import Line
from facegate_convert._pages._distributions import Series

from .examples import curve, rate
from .reading import paths, pictures, texts

NAN = math.nan


def drawn(plot):
    """The plot as XML."""
    (svg,) = pictures(plot.svg)
    return svg


def test_normal_distributions_are_straight_lines():
    """On axes of normal deviates the trade-off of two normal distributions is a straight line."""
    svg = drawn(_curves.trade_off([Line.of("all", curve() | {"fnmr_low": [], "fnmr_high": []})], title="DET"))
    (line,) = [path for path in paths(svg, "series-1") if len(path) > 9]
    (x0, y0), (x1, y1) = line[0], line[-1]
    assert x0 != x1
    for x, y in line:
        assert y == pytest.approx(y0 + (y1 - y0) * (x - x0) / (x1 - x0), abs=0.05)


def test_ticks_stand_where_their_rates_are():
    """A tick of 1 % and a point of 1 % have the same place, on both axes."""
    line = Line("all", [0.001, 0.01, 0.1], [0.2, 0.05, 0.01])
    svg = drawn(_curves.trade_off([line], title="DET"))
    (path,) = [p for p in paths(svg, "series-1") if len(p) == 3]
    places = {t.text: t.get("transform", "") for t in svg.iter("{http://www.w3.org/2000/svg}text")}
    centers = {
        t.text: (float(t.get("x")), float(t.get("y")))
        for t in svg.iter("{http://www.w3.org/2000/svg}text")
        if t.get("x")
    }
    assert {"1\u00a0%", "5\u00a0%", "20\u00a0%"} <= set(centers), places
    assert centers["20\u00a0%"][1] - centers["5\u00a0%"][1] == pytest.approx(path[0][1] - path[1][1], abs=0.5)


def test_what_the_data_does_not_carry_is_not_drawn():
    """Points at which a rate is zero, one or no number have no place on a trade-off."""
    line = Line("all", [0.0, 1e-12, 0.01, 0.1, 0.2, NAN, 0.9], [0.3, 0.3, 0.2, 0.1, 0.0, 0.1, 0.1])
    kept = _curves._visible(line)
    assert (list(kept.x), list(kept.y)) == ([0.01, 0.1], [0.2, 0.1])
    assert _curves.trade_off([Line("all", [0.0, 0.01], [0.1, 0.0])], title="DET") is None
    assert _curves.roc([Line("all", [0.01], [0.1])], title="ROC") is None
    assert _curves.trade_off([], title="DET") is None


def test_lines_are_told_apart_without_color():
    """Six lines have six dashes and six markers, and what is more than six is left to the caption."""
    lines = [Line.of(f"group {i}", curve(0.6 - 0.02 * i)) for i in range(8)]
    plot = _curves.trade_off(lines, title="DET")
    svg = drawn(plot)
    dashes = set()
    for path in svg.iter("{http://www.w3.org/2000/svg}path"):
        style = path.get("style") or ""
        if "stroke: var(--series-" in style and "fill: none" in style and len(path.get("d") or "") > 200:
            dashes.add((style.partition("stroke-dasharray: ")[2] or "solid").partition(";")[0])
    assert len(dashes) == 6
    shown = texts(svg)
    assert "group 5" in shown
    assert "group 6" not in shown


def test_a_histogram_shows_shares_of_its_own_kind():
    """Ten genuine and a million impostor comparisons are both to be seen: each kind is 100 % of itself."""
    few, many = Series("genuine", [0.0, 1.0, 2.0], [5, 5]), Series("impostor", [0.0, 1.0, 2.0], [1e6, 0])
    svg = drawn(_distributions.histogram([few, many], title="t"))
    heights = [
        min(y for _, y in path) for color in ("series-1", "series-2") for path in paths(svg, color) if len(path) > 4
    ]
    base = max(y for path in paths(svg, "series-1") for _, y in path)
    assert (base - heights[1]) / (base - heights[0]) == pytest.approx(2, abs=0.01)
    assert "genuine (10)" in texts(svg)
    assert "impostor (1,000,000)" in texts(svg)


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ([], []),
        ([0.0, 1.0], [0]),
        ([0.0, 1.0], [1, 2]),
        ([0.0, 1.0], [-1]),
        ([1.0, 0.0], [1]),
        ([0.0, NAN], [1]),
        ([0.0, 1.0], [NAN]),
    ],
)
def test_what_is_no_distribution_is_not_drawn(edges, counts):
    """No counts, counts that do not fit their borders, borders out of order: nothing is drawn of them."""
    assert _distributions.histogram([Series("a", edges, counts)], title="t") is None
    assert (
        _distributions.compared(
            [Series("a", edges, counts)], [Series("b", [0, 1], [1])], ("a", "b"), title="t", axis="x"
        )
        is None
    )


def test_a_group_without_an_error_is_open_and_ends_at_its_bound():
    """No error in 30 trials is not a rate of zero: an open arrow, and a line to what the interval rules out."""
    plot = _groups.rates_by_group(
        [("a", rate(0, 30, 0.0, 0.116)), ("b", rate(6, 30, 0.08, 0.39))], title="t", axis="FNMR"
    )
    assert "a: below\u00a011.6\u00a0%, 0\u00a0of\u00a030" in plot.description
    paper = [
        u for u in drawn(plot).iter("{http://www.w3.org/2000/svg}use") if "fill: var(--paper," in (u.get("style") or "")
    ]
    assert len(paper) == 1


def test_an_interval_that_reaches_to_nothing_does_not_take_the_axis_with_it():
    """A lower end of 1e-21, which says that nothing is known, leaves the points where they can be compared."""
    plot = _groups.rates_by_group(
        [("a", rate(2, 4000, 1e-21, 0.02)), ("b", rate(12, 3400, 3e-4, 0.013))], title="t", axis="FMR"
    )
    assert not [text for text in texts(drawn(plot)) if "10⁻" in text and text.endswith(("⁻⁹", "⁻²¹"))]


@pytest.mark.parametrize(
    "found",
    [{}, {"value": NAN, "trials": 3}, {"value": 2.0, "trials": 3}, {"value": 0.0, "trials": 0}, {"value": None}],
)
def test_a_group_without_a_rate_is_not_drawn(found):
    """A group without comparisons has no point."""
    assert _groups.rates_by_group([("a", found)], title="t", axis="x") is None


def test_a_matrix_writes_its_figures_into_its_cells():
    """The shade is never needed: a cell says its rate, what no error proves, or that nothing was compared."""
    cells = [[rate(3, 1000), rate(0, 100, 0.0, 0.036)], [None, rate(0, 0)]]
    plot = _groups.matrix(["a", "b"], cells, title="FMR", axis="One", other="Other")
    shown = texts(drawn(plot))
    assert {"30", "<360", "-"} <= set(shown)
    assert "Other (figures: per 10,000)" in shown
    assert "Highest: a with a" in plot.description


@pytest.mark.parametrize("cells", [[], [[None, None], [None, None]], [[rate(1, 2)]], "ab", [1, 2]])
def test_a_matrix_of_nothing_is_not_drawn(cells):
    """No rates, or not a row and a column for each name."""
    assert _groups.matrix(["a", "b"], cells, title="FMR", axis="One", other="Other") is None


def test_too_many_groups_are_left_to_the_table():
    """A matrix of seventeen groups would be unreadable."""
    cells = [[rate(1, 100)] * 17 for _ in range(17)]
    assert _groups.matrix([str(i) for i in range(17)], cells, title="FMR", axis="One", other="Other") is None


def test_layers_stand_in_the_models_order_and_the_worst_is_named():
    """The layer with the largest error has its name beside it; layers with a float32 result are open squares."""
    layers = [("first", 0.001, True), ("quiet", 0.0, True), ("loud", 0.3, True), ("kept", 0.01, False)]
    plot = _models.layer_errors(layers, title="t")
    shown = texts(drawn(plot))
    assert "loud: 0.30" in shown
    assert "result in float32" in shown
    assert "Largest: loud: 0.30; kept: 0.010; first" in plot.description
    assert _models.layer_errors([("a", 0.0, True), ("b", NAN, True)], title="t") is None


def test_times_of_one_model_need_no_pairs():
    """Without the other model's times there is one bar an operator and no legend; without any time, no plot."""
    plot = _models.operator_times([("CONV_2D", None, 1.9), ("MUL", None, 0.4)], ("float32", "int8"), title="t")
    assert "float32" not in texts(drawn(plot))
    plot = _models.operator_times([("CONV_2D", 3.1, 1.9)], ("float32", "int8"), title="t")
    assert {"float32", "int8", "3.10\u00a0ms", "1.90\u00a0ms"} <= set(texts(drawn(plot)))
    assert _models.operator_times([("CONV_2D", None, None)], ("a", "b"), title="t") is None


def test_long_models_are_shortened_in_the_middle():
    """Of thirty stages the first and the last are drawn, and what lies between is counted."""
    stages = [(f"{i} x {i}", [("CONV_2D", 2)]) for i in range(1, 31)]
    shown = texts(drawn(_models.stages(stages, stages[:2], ("ONNX", "TFLite"), title="t")))
    assert {"1 x 1", "30 x 30", "18 more stages", "CONV_2D \u00d736"} <= set(shown)
    assert "15 x 15" not in shown
    assert _models.stages([], [], ("a", "b"), title="t") is None


def test_thresholds_of_a_scatter_are_drawn_where_they_are():
    """Pairs that two models decide differently lie in two quadrants; without a pair there is no plot."""
    pairs = [(0.1, 0.1, False), (0.9, 0.9, True), (0.6, 0.4, True)]
    plot = _distributions.scatter(pairs, (0.5, 0.5), title="t", names=("a", "b"))
    assert {"genuine (2)", "impostor (1)"} <= set(texts(drawn(plot)))
    assert "0.20" in plot.description
    assert _distributions.scatter([(NAN, 0.1, True)], None, title="t", names=("a", "b")) is None


def test_the_deviate_is_the_normal_quantile():
    """The place of a rate on an axis is NormalDist's inverse; what is off the axis is drawn at its edge."""
    assert _curves._deviate(0.01, (1e-4, 0.5)) == NormalDist().inv_cdf(0.01)
    assert _curves._deviate(1e-9, (1e-4, 0.5)) == NormalDist().inv_cdf(1e-4)
    assert _curves._deviate(0.99, (1e-4, 0.5)) == 0.0
