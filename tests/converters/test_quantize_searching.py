"""The search: what is tried, what is chosen, what is said about it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from facegate_convert._quantize import CHOICES, PRECISIONS, Recipe, Score, quantize, search
from facegate_convert._quantize._candidate import Candidate
from facegate_convert._quantize._drift import drift, scores_of
from facegate_convert._quantize._search import _worth
from facegate_convert.errors import CalibrationError, QuantizationError
from facegate_edge import make_engine, target

from . import quantize_nets as nets
from . import tiny_onnx


@pytest.fixture(scope="module")
def net():
    """A small recogniser with PReLU: (graph, names, float32 model)."""
    return nets.loaded(nets.residual(activation="PRelu"), "embedding")


@pytest.fixture(scope="module")
def found(net):
    """A search for each precision that has nothing special about it."""
    return {precision: find(net, precision) for precision in PRECISIONS}


def find(net, precision, *, inputs=None, **options):
    """A search over 24 images."""
    return search(
        *net, nets.images() if inputs is None else inputs, precision=precision, input_range=nets.RANGE, **options
    )


@pytest.mark.parametrize(
    ("kept", "rewritten", "chosen"),
    [
        ((1, 0.010), (1, 0.020), "keep"),
        ((1, 0.010), (1, 0.009), "keep"),
        ((1, 0.010), (1, 0.008), "rewrite"),
        ((2, 0.010), (1, 0.020), "rewrite"),
        ((1, 0.010), (2, 0.001), "keep"),
    ],
    ids=["farther", "hardly nearer", "nearer", "in one piece", "in two pieces"],
)
def test_a_rewritten_prelu_has_to_be_nearer_by_what_it_costs(kept, rewritten, chosen):
    """It executes up to 1.15 times the instructions of one left float; pieces cost more than either."""
    found = min(
        (
            Candidate(Recipe("int8", prelu=form), b"", pieces, 0, error)
            for form, (pieces, error) in (("keep", kept), ("rewrite", rewritten))
        ),
        key=_worth,
    )
    assert found.recipe.prelu == chosen


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_gives_a_model(found, precision):
    """One that XNNPACK takes in one piece, with a reason in words, and all of it as JSON types."""
    chosen = found[precision].chosen
    assert chosen.recipe.precision == precision
    assert chosen.partitions == 1
    assert chosen in found[precision].tried
    assert precision in found[precision].why or precision == "dynamic"
    assert chosen.accepted
    json.dumps(found[precision].to_dict())


def test_int8_is_nearer_than_the_plain_recipe(net, found):
    """The search does no worse than the ranges of a mean, channels and biases as they are."""
    plain = quantize(
        *net,
        nets.images(),
        Recipe(calibration="mean", equalize=False, bias_correction=False),
        input_range=nets.RANGE,
    )
    assert found["int8"].chosen.error < plain.error / 2
    tried = {(c.recipe.calibration, c.recipe.equalize, c.recipe.prelu) for c in found["int8"].tried}
    assert {how for how, _, _ in tried} == {"mean", "extreme", "percentile", "mse", "entropy"}
    assert {form for _, _, form in tried} == {"keep", "rewrite"}
    assert {equal for _, equal, _ in tried} == {True, False}


def test_a_detector_keeps_its_extremes(net):
    """A face is the exception in a frame: no ranges that clip what is rare."""
    tried = {c.recipe.calibration for c in find(net, "int8", role="detector").tried}
    assert tried == {"extreme", "percentile"}


def test_mixed_is_nearer_than_int8(net, found):
    """Some operators stay float32, which brings it nearer, and the layers say how much each section was worth."""
    mixed = found["mixed"].chosen
    int8 = quantize(
        *net, nets.images(), replace(mixed.recipe, precision="int8", float_layers=()), input_range=nets.RANGE
    )
    assert mixed.error < int8.error
    assert mixed.recipe.float_layers
    kept = set(mixed.recipe.float_layers)
    assert all(layer.float32 for layer in mixed.layers if layer.name in kept)
    assert not all(layer.float32 for layer in mixed.layers)
    assert all(layer.sensitivity is not None for layer in mixed.layers)


@pytest.mark.parametrize("precision", ["int8", "mixed"])
def test_operators_without_an_int8_kernel_stay_float(precision):
    """A ReLU behind a join and a softmax would cut the network in three; float, they leave it in one piece."""
    net = tiny_onnx.Net(nets.SIZE)
    first = net.conv(3, 4)
    net.add("Concat", net.conv(4, 4), first, axis=1)
    net.add("Relu")
    net.conv(8, 4, stride=24)
    net.add("Reshape", net.last, net.constant([1, 4], np.int64))
    net.add("Softmax", output="out", axis=1)
    net.output("out", (1, 4))
    chosen = find(nets.loaded(net.model(), "out"), precision).chosen
    assert chosen.partitions == 1
    assert {layer.operator for layer in chosen.layers if layer.float32} >= {"RELU"}
    if precision == "int8":
        assert {output.dtype for output in outputs_of(chosen.model)} == {"int8"}


def outputs_of(model):
    """The outputs of a model, as the runtime sees them."""
    with make_engine(model) as engine:
        return engine.output_infos


def test_layers_tell_where_the_error_is(found):
    """One entry an operator in execution order, the embedding last, its error that of the whole."""
    chosen = found["int8"].chosen
    names = [layer.name for layer in chosen.layers]
    assert len(names) == len(set(names)) > 8
    assert names[-1] == "embedding"
    assert all(0 <= layer.error < 0.5 for layer in chosen.layers)
    assert any(layer.error > 0 for layer in chosen.layers)


def test_the_same_inputs_give_the_same_bytes(net, found):
    """A search has no clock and no chance in it."""
    assert find(net, "mixed").chosen.model == found["mixed"].chosen.model


@pytest.mark.parametrize("name", ["rpi4", "rpi5", "generic"])
def test_auto_takes_what_pays_on_the_target(net, name):
    """Without objections it is the first precision of the target's profile."""
    profile = target(name)
    found = find(net, "auto", profile=profile, judge=lambda _: Score(0.0, True))
    assert found.chosen.recipe.precision == profile.precisions["recognizer"][0]
    assert name in found.why


def test_auto_goes_on_where_the_judge_refuses(net):
    """Every refusal is in the explanation; float32 is what is left."""
    sizes = []

    def judge(model):
        sizes.append(len(model))
        return Score(1.0, len(model) == len(net[2]), "too many strangers")

    found = find(net, "auto", profile=target("rpi5"), judge=judge)
    assert found.chosen.recipe.precision == "float32"
    assert found.why.count("refused: too many strangers") == 4
    assert len(sizes) <= 7


def test_auto_without_photographs_is_not_int8(net):
    """What needs photographs is not tried, and the explanation says why."""
    found = find(net, "auto", inputs=[], profile=target("rpi5"))
    assert found.chosen.recipe.precision == "dynamic"
    assert "no calibration photographs" in found.why
    assert np.isnan(found.chosen.error)


def test_a_size_budget_is_kept(net, found):
    """A model above it is not accepted, and the next precision is tried."""
    budget = found["int8"].chosen.size
    auto = find(net, "auto", size_budget=budget, judge=lambda _: Score(0.0, True))
    assert auto.chosen.recipe.precision in ("int8", "mixed")
    assert f"more than {budget:,}" in auto.why


def test_the_judge_has_the_last_word(net):
    """A single precision is returned although it was refused: the caller decides what that means."""
    found = find(net, "int8", judge=lambda _: Score(0.2, False, "one in five"))
    assert not found.chosen.accepted
    assert found.chosen.loss == 0.2
    assert found.why.endswith("one in five")


@pytest.mark.parametrize("precision", ["int8", "mixed"])
def test_integers_need_photographs(net, precision):
    """There is no random data to calibrate on."""
    with pytest.raises(CalibrationError) as caught:
        find(net, precision, inputs=[])
    assert "--calibration" in caught.value.hint


@pytest.mark.parametrize("precision", ["int4", "", "INT8"])
def test_unknown_precisions_are_refused(net, precision):
    """The hint lists those that there are."""
    with pytest.raises(QuantizationError) as caught:
        find(net, precision)
    assert all(choice in caught.value.hint for choice in CHOICES)


@pytest.mark.parametrize(
    "wrong",
    [{"precision": "auto"}, {"calibration": "luck"}, {"prelu": "drop"}, {"float_layers": ("a",)}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_recipes_check_themselves(wrong):
    """A field that has none of its values is an error at once."""
    with pytest.raises(QuantizationError):
        Recipe(**wrong)


def test_recipes_describe_themselves():
    """In one line for the report, and as JSON types."""
    recipe = Recipe("mixed", calibration="mse", prelu="rewrite", float_layers=("a", "b"))
    assert recipe.describe() == "mixed, mse ranges, equalised, biases corrected, PReLU rewritten, 2 operators float32"
    assert recipe.to_dict()["float_layers"] == ["a", "b"]
    assert replace(recipe, precision="float16", float_layers=()).to_dict()["calibration"] == ""


def test_drift_looks_at_directions_and_at_faces():
    """An embedding's length is nothing; a detector's cells without a face are nothing."""
    random = np.random.default_rng(1)
    a = random.normal(0, 1, (4, 16)).astype(np.float32)
    assert drift({"embedding": a}, {"embedding": 3 * a}) == pytest.approx(0, abs=1e-7)
    assert drift({"embedding": a}, {"embedding": -a}) == pytest.approx(2)
    scores = np.array([[[0.9], [0.01]]], np.float32)
    boxes = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]], np.float32)
    moved = boxes + np.array([[[0], [100]]], np.float32)
    exact = {"score_8": scores, "box_8": boxes}
    assert drift(exact, {"score_8": scores, "box_8": moved}) == 0
    assert drift(exact, {"score_8": scores, "box_8": boxes + 1}) > 0


@pytest.mark.parametrize("suffix", ["", "_8"])
def test_scores_are_those_of_faces(suffix):
    """Of two probabilities the face's; with objectness, the geometric mean of both; of other models, none."""
    two = {f"score{suffix}": np.array([[[0.9, 0.1], [0.2, 0.8]]], np.float32)}
    np.testing.assert_allclose(scores_of(two, suffix[1:]), [0.1, 0.8])
    pair = {f"score{suffix}": np.full((1, 3, 1), 0.4, np.float32), f"objectness{suffix}": np.full((1, 3, 1), 0.9)}
    np.testing.assert_allclose(scores_of(pair, suffix[1:]), [0.6] * 3, rtol=1e-6)
    assert scores_of({"logits": np.zeros((1, 3), np.float32)}, "") is None
