"""Choosing an engine, and what every engine promises."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from facegate_edge import _engine, _litert, _tflite
from facegate_edge._engine import choose_engine, make_engine
from facegate_edge._manifest import Quantization, TensorInfo
from facegate_edge.errors import EngineError, EngineUnavailableError


@pytest.fixture(autouse=True)
def _fresh_choice(monkeypatch):
    """Every test chooses anew, and the machine's own setting does not matter."""
    monkeypatch.delenv("FACEGATE_ENGINE", raising=False)
    _engine._choose.cache_clear()
    yield
    _engine._choose.cache_clear()


def unavailable(message, hint="do this"):
    """A `load` that refuses."""

    def load():
        raise EngineUnavailableError(message, hint=hint)

    return load


def test_litert_is_chosen_where_it_loads():
    """LiteRT is chosen without being asked for, and the choice says why."""
    choice = choose_engine()
    assert choice.name == "litert"
    assert choice.why


def test_tflite_is_chosen_where_litert_does_not_load(monkeypatch):
    """Without LiteRT the choice falls on tflite-runtime and says what is wrong with LiteRT."""
    monkeypatch.setattr(_litert, "load", unavailable("LiteRT is not installed"))
    monkeypatch.setattr(_tflite, "load", lambda: None)
    choice = choose_engine()
    assert choice.name == "tflite"
    assert "LiteRT is not installed" in choice.why


def test_no_engine_at_all_names_both_reasons(monkeypatch):
    """If nothing loads, the error gives both reasons and both ways out."""
    monkeypatch.setattr(_litert, "load", unavailable("glibc is too old", "upgrade"))
    monkeypatch.setattr(_tflite, "load", unavailable("tflite-runtime is not installed", "install it"))
    with pytest.raises(EngineUnavailableError, match=r"glibc is too old; tflite-runtime is not installed") as caught:
        choose_engine()
    assert "upgrade" in caught.value.hint
    assert "install it" in caught.value.hint
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_forced_engine_is_that_one_or_none(monkeypatch, by):
    """An engine that is asked for is never replaced by the other one."""
    monkeypatch.setattr(_tflite, "load", unavailable("tflite-runtime is not installed"))
    if by == "environment":
        monkeypatch.setenv("FACEGATE_ENGINE", "tflite")
    with pytest.raises(EngineUnavailableError, match=r"^tflite-runtime is not installed$"):
        choose_engine("tflite" if by == "argument" else None)


def test_an_argument_wins_over_the_environment(monkeypatch):
    """The argument is asked first."""
    monkeypatch.setenv("FACEGATE_ENGINE", "tflite")
    assert choose_engine("litert").name == "litert"


def test_an_unknown_engine_is_refused():
    """A name that is no engine is an error that lists the engines."""
    with pytest.raises(EngineUnavailableError, match="onnx") as caught:
        choose_engine("onnx")
    assert "litert and tflite" in caught.value.hint


def test_numpy_2_with_tflite_is_explained(monkeypatch):
    """tflite-runtime breaks with numpy 2 in an obscure way; the error says so beforehand."""
    monkeypatch.setattr(np, "__version__", "2.4.6")
    _tflite.load.cache_clear()
    with pytest.raises(EngineUnavailableError, match=r"numpy 2\.4\.6") as caught:
        _tflite.load()
    assert "numpy<2" in caught.value.hint


def test_a_float_model_computes_what_it_says(tiny):
    """A 1x1 convolution equals the same matrix product in numpy, to 1e-5."""
    rng = np.random.default_rng(0)
    weights, bias = rng.standard_normal((5, 3)), rng.standard_normal(5)
    with make_engine(tiny.conv_model(weights, bias)) as engine:
        assert engine.input_infos == (TensorInfo("image", (1, 4, 6, 3), "float32"),)
        assert engine.output_infos == (TensorInfo("features", (1, 4, 6, 5), "float32"),)
        for _ in range(3):
            image = rng.standard_normal((1, 4, 6, 3)).astype(np.float32)
            engine.inputs["image"][...] = image
            engine.run()
            np.testing.assert_allclose(engine.outputs["features"], image @ weights.T + bias, atol=1e-5)


def test_a_quantized_model_gives_its_quantization(tiny):
    """An int8 model's arrays are int8 and its tensors carry scale and zero point."""
    with make_engine(tiny.sigmoid_model()) as engine:
        (x,), (y,) = engine.input_infos, engine.output_infos
        assert (x.dtype, y.dtype) == ("int8", "int8")
        assert x.quantization == Quantization(float(np.float32(0.05)), 3)
        assert y.quantization == Quantization(1 / 256, -128)
        levels = np.arange(-50, 55, dtype=np.int8).reshape(x.shape)
        engine.inputs["x"][...] = levels
        engine.run()
        expected = 1 / (1 + np.exp(-0.05 * (levels.astype(float) - 3)))
        np.testing.assert_allclose((engine.outputs["y"].astype(float) + 128) / 256, expected, atol=1 / 256)


def test_outputs_go_by_their_signature_names(tiny):
    """Several outputs are told apart by name, not by order."""
    with make_engine(tiny.two_outputs_model()) as engine:
        engine.inputs["x"][...] = [[-1, 0, 1, 2, 3]]
        engine.run()
        assert set(engine.outputs) == {"tanh", "sigmoid"}
        np.testing.assert_allclose(engine.outputs["tanh"], np.tanh([[-1, 0, 1, 2, 3]]), atol=1e-5)
        np.testing.assert_allclose(engine.outputs["sigmoid"], 1 / (1 + np.exp([[1, 0, -1, -2, -3]])), atol=1e-5)


def test_arrays_are_the_engine_s_own_aligned_memory(tiny):
    """Inputs and outputs are the same 64-byte aligned, C-contiguous arrays for the life of the engine."""
    with make_engine(tiny.two_outputs_model()) as engine:
        before = {**engine.inputs, **engine.outputs}
        engine.run()
        for name, array in {**engine.inputs, **engine.outputs}.items():
            assert array is before[name]
            assert array.ctypes.data % 64 == 0
            assert array.flags.c_contiguous


def test_threads_do_not_change_the_result_much(tiny):
    """Two threads give what one gives, to 1e-5."""
    model = tiny.big_conv_model(32, 64)
    image = np.random.default_rng(1).standard_normal((1, 32, 32, 64)).astype(np.float32)
    results = []
    for threads in (1, 2):
        with make_engine(model, threads=threads) as engine:
            engine.inputs["image"][...] = image
            engine.run()
            results.append(engine.outputs["features"].copy())
    np.testing.assert_allclose(*results, atol=1e-5)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(tiny, threads):
    """A model needs at least one thread."""
    with pytest.raises(EngineError, match="threads"):
        make_engine(tiny.two_outputs_model(), threads=threads)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "reading the model failed"),
        (lambda _: b"not a model at all" * 10, "reading the model failed"),
        (lambda m: bytes(len(m)), "reading the model failed"),
        (lambda m: m[: len(m) // 2], "reading the model failed"),
        (lambda _: "model.tflite", "not a str"),
        (lambda _: None, "not a NoneType"),
    ],
    ids=["empty", "garbage", "zeros", "truncated", "a path", "nothing"],
)
def test_what_is_no_model_is_refused(tiny, damage, message):
    """Bytes that are no model, and what is no bytes, give an EngineError with advice."""
    with pytest.raises(EngineError, match=message) as caught:
        make_engine(damage(tiny.two_outputs_model()))
    assert caught.value.hint


def test_an_unknown_operator_is_refused_when_the_engine_is_made(tiny):
    """A model that cannot run is refused at once, not with the first frame."""
    with pytest.raises(EngineError, match="failed") as caught:
        make_engine(tiny.custom_op_model())
    assert "operator" in caught.value.hint


def test_a_closed_engine_runs_no_more(tiny):
    """After close() a run is an EngineError, a second close() nothing, and the arrays stay readable."""
    engine = make_engine(tiny.two_outputs_model())
    array = engine.outputs["tanh"]
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run()
    assert array.shape == (1, 5)


def test_a_model_is_released_on_close(tiny):
    """The model's memory is held while the engine lives and given back by close()."""
    model = bytearray(tiny.two_outputs_model())
    engine = make_engine(model)
    with pytest.raises(BufferError):
        model.append(0)
    engine.close()
    model.append(0)


def test_a_refused_model_is_released_too():
    """A failure on the way keeps no hold of the model's memory."""
    model = bytearray(b"garbage" * 100)
    with pytest.raises(EngineError):
        make_engine(model)
    gc.collect()
    model.append(0)


def test_a_model_on_an_odd_address_runs_all_the_same(tiny):
    """A model that starts off a 16-byte boundary is run from an aligned copy."""
    model = tiny.two_outputs_model()
    memory = bytearray(len(model) + 16)
    start = (-np.frombuffer(memory, np.uint8).ctypes.data + 7) % 16
    memory[start : start + len(model)] = model
    with make_engine(memoryview(memory)[start : start + len(model)]) as engine:
        engine.inputs["x"][...] = 1
        engine.run()
        np.testing.assert_allclose(engine.outputs["tanh"], np.tanh(1), atol=1e-5)
