"""What is calibrated on is not what is compared on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facegate_convert._convert import Options, convert

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
