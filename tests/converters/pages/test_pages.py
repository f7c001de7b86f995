"""The pages of evaluations and conversions: what they say, and that no result can keep them from being written."""

from __future__ import annotations

import copy
import json
import math
import random

import pytest

from facegate_convert._pages import _svg, conversion_page, evaluation_page

from .examples import conversion, detector, evaluation, gate, liveness, rate
from .reading import pictures, read


@pytest.fixture(scope="module")
def evaluated():
    """The page of an evaluation with every section."""
    return evaluation_page(evaluation())


@pytest.fixture(scope="module")
def converted():
    """The page of a recogniser's conversion."""
    return conversion_page(conversion())


@pytest.fixture
def undrawn(monkeypatch):
    """Plots are not drawn, only described: drawing is what takes the time."""

    def finish(_figure, title, description):
        return _svg.Plot('<svg role="img" aria-labelledby="t d"></svg>', title, description)

    for module in ("_curves", "_distributions", "_groups", "_models"):
        monkeypatch.setattr(f"facegate_convert._pages.{module}.finish", finish)


def words(html):
    """What a page says, with plain spaces."""
    return read(html).text.replace("\u00a0", " ").replace("\u202f", " ").replace("\u2013", "-")


def test_an_evaluation_shows_every_section(evaluated):
    """All of a full result is on its page, each plot with its figures, and nothing is called missing."""
    said = words(evaluated)
    for heading in (
        "Similarities", "Errors and thresholds", "Accuracy over folds", "By group: region", "open set",
        "Presentation attacks", "Failures", "Worst pairs", "About this evaluation",
    ):  # fmt: skip
        assert heading in said
    assert len(pictures(evaluated)) == 10
    assert 'class="missing"' not in evaluated


@pytest.mark.parametrize(
    "text",
    [
        "FNMR at FMR 10⁻³ 1.3 % 4 of 300",  # the figure with its counts
        "below",  # FMR 1e-4: nothing was seen
        "Needs 30,000 comparisons.",
        "consent of all",
        "The requirement is met",
        "fnmr@1e-3<=0.02 is met: measured 1.3 % (0.4-3.0 %)",
        "east against north",
        "3.10 1.40 to 6.00",
        "the best has no error 1.40 to any",
        "2 people have no group",
        "Right person first 98.0 % (147 of 150)",
        "150 (3 without a template)",
        "Accepted of screen (APCER), the worst",
        "12 genuine and 30 impostor comparisons could not be made",
        "a7aa46dd7ef7 b95ebd273225 0.0245",
        "A model says of itself that it is for demonstrations only.",
        "ab" * 32,
        "checked, key 589094978e686ee7",
    ],
)
def test_an_evaluation_says(evaluated, text):
    """What a reader looks for is there in words."""
    assert text in words(evaluated)


def test_points_that_the_data_does_not_carry_are_not_drawn(evaluated):
    """FMR 1e-4 stands in the table, marked, but neither on the histogram nor on the trade-off."""
    assert "10⁻⁴" in words(evaluated)
    for svg in pictures(evaluated)[:2]:
        assert "FMR 10⁻³" in "".join(svg.itertext())
        assert "FMR 10⁻⁴" not in "".join(svg.itertext())


def test_a_group_whose_curve_cannot_be_drawn_is_named():
    """Two curves of three: the caption says whose is missing."""
    given = evaluation()
    flat = given["groups"][0]["groups"][2]["curve"]
    flat["fnmr"] = [0.0] * len(flat["fnmr"])
    assert "Without a curve, for one of the two rates is zero at nearly every threshold: east." in words(
        evaluation_page(given)
    )
    assert "Without a curve" not in words(evaluation_page(evaluation()))


def test_thresholds_on_the_plot_are_those_of_the_table(evaluated):
    """Four decimals: a threshold that is rounded down accepts one more."""
    assert "0.2900" in "".join(pictures(evaluated)[0].itertext())


def test_a_point_of_liveness_says_what_was_asked_for_and_whether_it_shows(evaluated):
    """APCER asked, and the rule of 3 where there are too few attacks."""
    assert "APCER asked" in words(evaluated)
    assert "60 attacks of each show it" in words(evaluated)


def test_an_unmet_requirement_stands_above_everything():
    """The answer "no" is the first thing on the page, with the reason."""
    unmet = {"require": "apcer<=0.05", "measured": None, "met": False, "strict": False, "note": "no liveness data"}
    said = words(evaluation_page({"checks": [*evaluation()["checks"], unmet]}))
    assert "1 of 2 requirements not met" in said
    assert "apcer<=0.05 is not met: not measured; no liveness data" in said
    assert said.index("not met") < said.index("At a glance")


@pytest.mark.parametrize(
    "key",
    ["failures", "scores", "curve", "operating_points", "folds", "open_set", "groups", "liveness", "worst"],
)
@pytest.mark.usefixtures("undrawn")
def test_a_missing_section_of_an_evaluation_is_said(key):
    """Whatever part was not run is named with its reason; one that is not there at all does no harm."""
    said = words(evaluation_page(evaluation() | {key: {"not_run": "the sky was grey"}}))
    assert "The sky was grey." in said
    evaluation_page(evaluation() | {key: None})


def test_an_empty_result_has_a_page():
    """Of nothing, the page says in every section that nothing was measured."""
    page = evaluation_page({})
    assert page.count('class="missing"') >= 8
    assert "not stated" in words(page)  # the lawful basis
    assert conversion_page({}).count('class="missing"') >= 8
    assert "nothing is known about this model's decisions" in words(conversion_page({}))


def test_a_conversion_shows_every_section(converted):
    """All of a full report is on its page, each plot with its figures, and nothing is called missing."""
    said = words(converted)
    for text in (
        "net.onnx as int8", "recogniser, family arcface, for Raspberry Pi 5", "Converted: 1 gate passed, 1 not run",
        "0.50 times float32's 4.60 ms", "embedding drift, median cosine 0.9952", "No emulator is installed here.",
        "Float16 is twice the size.", "130 nodes became 149 operators; XNNPACK takes them in 1 piece.",
        "3f9a1c0b2d4e", "color order RGB (--color)", "144 inputs from 190 photographs (1 unreadable, 3 without a face)",
        "int8 (asked for: auto)", "10⁻² 0.2800 0.3600", "the same person 1 1 0 0", "31.4 s",
    ):  # fmt: skip
        assert text in said
    assert len(pictures(converted)) == 6
    assert 'class="missing"' not in converted


@pytest.mark.parametrize(
    ("gates", "refused", "expected"),
    [
        ([("passed",)], None, "✓ Converted: 1 gate passed"),
        (
            [("passed",), ("allowed",), ("unsure",)],
            None,
            "! Converted, with reservations: 1 gate passed, 1 unsure, 1 allowed",
        ),
        ([("passed",), ("failed",)], None, "✖ Not every gate was passed: 1 gate passed, 1 failed"),
        ([("failed",)], "speed: 2.4x", "✖ Refused: speed: 2.4x"),
        ([("not run",)], None, "- No gate could be run"),
        ([], None, "- No gate was run"),
        ([("exploded",)], None, "- No gate could be run"),
    ],
)  # fmt: skip
def test_the_verdict_of_a_conversion_is_that_of_its_gates(gates, refused, expected):
    """Only gates that ran and passed make a good verdict; what was allowed, unsure or not run is said at the top."""
    given = [gate("g", "the gate", status, "2x", "1x", "why not") for (status,) in gates]
    said = words(conversion_page({"gates": given, "refused": refused})).replace("\u2715", "✖")
    assert expected in said


@pytest.mark.usefixtures("undrawn")
def test_a_detectors_page_is_about_faces_and_a_liveness_models_about_attacks():
    """Each role has the section that its gates are about, and is spared those of others."""
    said = words(conversion_page(detector()))
    assert "Faces missed 1.5 % (1 of 66)" in said.replace("  ", " ")
    assert "0.4840 (ONNX: 0.5000)" in said
    assert "Error trade-off" not in said
    assert "Live faces and attacks" not in said
    said = words(conversion_page(liveness()))
    assert "Attacks accepted (APCER): print (worst)" in said
    assert "Faces found" not in said


@pytest.mark.parametrize("key", ["gates", "recipes", "graph", "layers", "scores", "pairs", "curves", "operating_points",
                                 "operators", "worst", "latency", "parity"])  # fmt: skip
@pytest.mark.usefixtures("undrawn")
def test_a_missing_section_of_a_conversion_is_said(key):
    """A part that was not run is named on the page with its reason."""
    report = conversion() | {key: {"not_run": "the sky was grey"}}
    report |= {"parity_float": {}} if key == "parity" else {}
    said = words(conversion_page(report))
    assert "he sky was grey" in said


@pytest.mark.usefixtures("undrawn")
def test_of_many_outputs_the_float32_model_has_one_row_with_the_worst():
    """A detector's twelve outputs are twelve rows of the converted model; of float32, which is beside it, one."""
    figures = {"cosine_min": 0.9, "cosine_p1": 0.9, "cosine_p50": 0.9, "error_max": 0.3, "error_mean": 0.1}
    exact = {"cosine_min": 1.0, "cosine_p1": 1.0, "cosine_p50": 1.0, "error_max": 1e-6, "error_mean": 1e-7}
    outputs = {f"box_{i}": figures for i in range(12)}
    before = {f"box_{i}": exact | ({"cosine_min": 0.5} if i == 7 else {}) for i in range(12)}
    said = words(conversion_page(detector() | {"parity": outputs, "parity_float": before}))
    assert "worst of 12 outputs float32 0.500000 1.00000" in said
    assert said.count("int8 0.9000 0.9000 0.9000 0.30 0.10") == 12


def test_the_same_result_gives_the_same_page(evaluated):
    """A page can be made again from the result's JSON, byte for byte; nothing of the moment is in it."""
    assert evaluation_page(json.loads(json.dumps(evaluation()))) == evaluated


BAD = [
    None, "", -1, 0, 1e-300, 1e300, 10**400, math.nan, math.inf, -math.inf, True, [], {}, [[]], {"not_run": "why"},
    "<script>alert(1)</script>", "$x_{$", "a\nb", "\x00\ud800\u202e", [None], {"a": [1]}, "1e-3", 1e9, -0.5, 2.5,
]  # fmt: skip


def places(value, path=()):
    """All places in a JSON value."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def damaged(value, chance, times):
    """The value with some of its parts replaced by what does not belong there."""
    spoiled = copy.deepcopy(value)
    everywhere = list(places(value))[1:]
    for _ in range(times):
        at = spoiled
        *way, last = chance.choice(everywhere)
        try:
            for key in way:
                at = at[key]
            at[last] = copy.deepcopy(chance.choice(BAD))
        except (KeyError, IndexError, TypeError):
            continue
    return spoiled


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.usefixtures("undrawn")
def test_no_damaged_result_keeps_a_page_from_being_written(seed):
    """A result that lacks parts, or has something else in their place, has a page without script all the same."""
    chance = random.Random(seed)  # noqa: S311 - damage, no secret
    page, example = chance.choice(
        [(evaluation_page, evaluation)] * 3
        + [(conversion_page, conversion), (conversion_page, detector), (conversion_page, liveness)]
    )
    html = page(damaged(example(), chance, chance.choice((1, 4, 20))))
    assert "script" not in {tag for tag, _ in read(html).tags}
    html.encode()


@pytest.mark.parametrize("seed", range(3))
def test_plots_of_damaged_results_are_well_formed(seed):
    """The same with the plots drawn: each is well-formed XML."""
    chance = random.Random(1000 + seed)  # noqa: S311 - likewise
    pictures(evaluation_page(damaged(evaluation(), chance, 6)))


@pytest.mark.usefixtures("undrawn")
def test_a_rate_without_a_trial_is_a_dash_everywhere():
    """No trial is no rate: neither 0 % nor "below 100 %" is said of it."""
    result = evaluation() | {"failures": {"detect": rate(0, 0), "enroll": rate(0, 0)}}
    said = words(evaluation_page(result))
    assert "To detect: no face was found —" in said
