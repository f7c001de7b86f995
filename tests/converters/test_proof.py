"""A model that ends the process is met by another process first."""

from __future__ import annotations

import numpy as np
import pytest

from facegate_convert import _proof, load_graph, lower
from facegate_convert._quantize import Recipe, _quantizer, measure_ranges, quantize, quantize_static, search
from facegate_convert._quantize._flat import open_model, operations
from facegate_convert.errors import UnrunnableModelError

from .generality import graphs
from .quantize_nets import RANGE, images, loaded, residual


@pytest.fixture(scope="module")
def network():
    """(graph, names, float32 model) with a residual sum."""
    return loaded(residual(), "embedding")


@pytest.fixture(scope="module")
def sound(network):
    """Its int8 model."""
    _, _, lowered = network
    return quantize_static(lowered, measure_ranges(lowered, images(2), RANGE))


def deadly(model):
    """The model with a sum whose scale has LiteRT's own addition abort."""
    data = bytearray(model)
    graph = open_model(data).Subgraphs(0)
    (addition,) = [o for o in operations(model) if o.code == "ADD"]
    graph.Tensors(addition.outputs[0]).Quantization().ScaleAsNumpy()[...] = 1e-12
    return bytes(data)


def test_a_sound_model_comes_back_as_it_was(sound):
    """Nothing is changed by the trial."""
    assert _proof.prove(sound) is sound


def test_a_model_that_aborts_is_an_error_with_a_hint_and_the_next_one_is_tried(sound, network):
    """The process that died is followed by another."""
    for number in range(2):
        with pytest.raises(UnrunnableModelError, match="SIGABRT") as caught:
            _proof.prove(deadly(sound) + bytes(number))
        assert caught.value.exit_code == 3
        assert "--precision" in caught.value.hint
    assert _proof.prove(network[2]) is network[2]


@pytest.mark.parametrize("data", [b"", b"no model at all", b"\x1c\x00\x00\x00TFL3" + bytes(64)])
def test_what_is_no_model_is_refused_in_a_line(data):
    """Also bytes that nobody should load here."""
    with pytest.raises(UnrunnableModelError) as caught:
        _proof.prove(data)
    assert "\n" not in str(caught.value)


def test_a_model_is_tried_once(sound, monkeypatch):
    """The search asks for the same bytes many times."""
    _proof.prove(sound)
    monkeypatch.setattr(_proof, "_running", lambda: pytest.fail("tried again"))
    assert _proof.prove(sound) is sound


@pytest.mark.parametrize("name", ["ghostnet.dynamo-19", "edgenext.dynamo-18"])
def test_an_architecture_that_could_not_be_quantised_is(name):
    """One aborted on a dead squeeze; the other has int8 divisions, which fail on a 0 and stay float in the end."""
    graph = load_graph(graphs.load(name))
    lowered = lower(graph)
    names = {value.name: output.name for value, output in zip(graph.outputs, lowered.outputs, strict=True)}
    random = np.random.default_rng(0)
    inputs = [random.uniform(-1, 1, lowered.inputs[0].shape).astype(np.float32) for _ in range(4)]
    found = quantize(graph, names, lowered.model, inputs, Recipe("int8"), input_range=RANGE)
    assert found.partitions == 1
    assert found.error < 0.1


def test_where_no_process_can_be_started_models_are_not_tried(sound, monkeypatch):
    """A sandbox without processes still converts."""
    monkeypatch.setattr(_proof, "_current", [])

    def refuse(*_, **__):
        raise OSError("no process for you")

    monkeypatch.setattr(_proof.subprocess, "Popen", refuse)
    other = sound + bytes(9)
    assert _proof.prove(other) is other


def test_a_model_that_never_ends_is_given_up(sound, monkeypatch):
    """The time is bounded, and the process that hangs is ended."""
    monkeypatch.setattr(_proof, "SECONDS", 0.0)
    with pytest.raises(UnrunnableModelError, match="not through"):
        _proof.prove(sound + bytes(10))
    assert not _proof._current[-1].alive


@pytest.mark.parametrize("precision", ["int8", "mixed"])
def test_a_search_goes_on_without_what_cannot_be_run(network, monkeypatch, precision):
    """One recipe's model aborts: the others are compared, and the choice says so."""
    make = _quantizer.quantize_static

    def made(model, ranges, how="mean", **options):
        found = make(model, ranges, how, **options)
        return deadly(found) if how == "mean" else found

    monkeypatch.setattr(_quantizer, "quantize_static", made)
    found = search(*network, images(6), precision=precision, input_range=RANGE)
    assert np.isfinite(found.chosen.error)
    assert "does not run" in found.why
    assert found.chosen.recipe.calibration != "mean"


def test_a_search_in_which_nothing_can_be_run_ends_in_the_error(network, sound, monkeypatch):
    """With "auto" the next precision is tried; alone, int8 is refused."""
    make = _quantizer.quantize_static
    monkeypatch.setattr(_quantizer, "quantize_static", lambda *a, **k: deadly(make(*a, **k)))
    with pytest.raises(UnrunnableModelError, match="SIGABRT"):
        search(*network, images(4), precision="int8", input_range=RANGE)
    monkeypatch.setattr(_quantizer, "quantize_float16", lambda _: deadly(sound))
    found = search(*network, images(4), precision="auto", input_range=RANGE)
    assert found.chosen.recipe.precision == "float32"
    assert "cannot be run" in found.why
