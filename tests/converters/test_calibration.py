"""What is calibrated on is not what is compared on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from facegate_convert._convert import Options, convert
from facegate_convert.errors import SizeError

from . import tiny_onnx


@pytest.fixture
def photographs(tmp_path):
    """Forty crops."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    random = np.random.default_rng(7)
    for number in range(40):
        Image.fromarray(random.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def test_photographs_that_are_there_twice_count_once(tmp_path, photographs):
    """Copies would be calibrated on and held back at once, and the comparison would flatter."""
    source = tmp_path / "model.onnx"
    source.write_bytes(tiny_onnx.vector(64))
    options = Options(precision="int8", calibration=photographs, measure_latency=False, allow_drift=True)
    once = convert(source, options)
    for path in list(photographs.iterdir()):
        (photographs / f"copy-of-{path.name}").write_bytes(path.read_bytes())
    twice = convert(source, options)
    assert once.report.calibration_images == twice.report.calibration_images == 40
    assert (twice.model, twice.info) == (once.model, once.info)


def test_labelled_photographs_that_were_calibrated_on_are_told(tmp_path, photographs):
    """The same folder for both makes gates look better than they are: the report says of how many photographs."""
    source = tmp_path / "model.onnx"
    source.write_bytes(tiny_onnx.vector(64))
    for number, path in enumerate(sorted(photographs.iterdir())):
        folder = tmp_path / "people" / str(number // 20)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    options = Options(
        precision="int8",
        calibration=photographs,
        images=tmp_path / "people",
        measure_latency=False,
        allow_drift=True,
    )
    told = [w for w in convert(source, options).report.warnings if "labelled" in w]
    assert len(told) == 1
    assert told[0].startswith("30 of the 40 labelled photographs were calibrated on, too")  # ten were held back
    apart = Options(images=tmp_path / "people", measure_latency=False)
    assert not any("labelled" in w for w in convert(source, apart).report.warnings)


@pytest.mark.parametrize("precision", ["mixed", "auto"])
def test_a_budget_that_nothing_fits_refuses(tmp_path, photographs, precision):
    """Bytes that a device has no room for are no matter of choosing the best of what there is."""
    source = tmp_path / "model.onnx"
    source.write_bytes(tiny_onnx.vector(64))
    options = Options(precision=precision, calibration=photographs, measure_latency=False, allow_drift=True)
    with pytest.raises(SizeError, match="at most 100") as caught:
        convert(source, dataclasses.replace(options, size_budget=100))
    assert "--allow" not in caught.value.hint
    roomy = convert(source, dataclasses.replace(options, size_budget=10**8))
    assert next(g for g in roomy.report.gates if g["name"] == "size")["status"] == "passed"
