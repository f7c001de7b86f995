"""What an ONNX file says about itself: its licence, and that it is for demonstrations only."""

from __future__ import annotations

import onnx
import pytest

from facegate_convert import Options, build, convert, load_models, save
from facegate_convert.errors import InvalidGraphError
from facegate_edge import open_bundle

from . import tiny_onnx


@pytest.fixture
def model(tmp_path):
    """Writes a small recogniser with metadata; returns its path."""

    def write(**metadata):
        made = onnx.load_from_string(tiny_onnx.vector(64))
        for key, value in metadata.items():
            made.metadata_props.add(key=f"facegate.{key}", value=value)
        path = tmp_path / "recognizer.onnx"
        path.write_bytes(made.SerializeToString())
        return path

    return write


def provenance(path, **options):
    """The provenance of the converted model."""
    return convert(path, Options(measure_latency=False, **options)).info.provenance


@pytest.mark.parametrize(
    ("metadata", "given", "expected"),
    [
        ({}, {}, "unknown"),
        ({"licence": "Apache-2.0"}, {}, "Apache-2.0"),
        ({"licence": "Apache-2.0"}, {"licence": "MIT"}, "MIT"),
        ({"licence": " "}, {}, "unknown"),
    ],
)
def test_the_licence_is_the_callers_or_else_the_files(model, metadata, given, expected):
    """Who converts knows best; a file that states a licence is believed if nobody says anything."""
    assert provenance(model(**metadata), **given).licence == expected


@pytest.mark.parametrize(
    ("metadata", "given", "expected"),
    [
        ({}, {}, False),
        ({"demonstration": "false"}, {}, False),
        ({"demonstration": "true"}, {}, True),
        ({}, {"demonstration": True}, True),
        ({"demonstration": "false"}, {"demonstration": True}, True),
        ({"demonstration": "true"}, {"demonstration": False}, True),
    ],
)
def test_a_demonstration_is_one_if_anybody_says_so(model, metadata, given, expected):
    """No option takes away what the file says."""
    assert provenance(model(**metadata), **given).demonstration is expected


@pytest.mark.parametrize("said", ["", "True", "1", "yes", "true ", "\x00"])
def test_a_mark_that_says_neither_is_refused(model, said):
    """A misspelled mark is not taken for a model without one."""
    with pytest.raises(InvalidGraphError, match="neither true nor false") as caught:
        convert(model(demonstration=said))
    assert caught.value.hint


def test_attack_a_second_mark_that_takes_back_the_first(model):
    """A key that stands twice is refused: the later one does not count, and neither does a reader's choice."""
    path = model(demonstration="true")
    proto = onnx.load_from_string(path.read_bytes())
    proto.metadata_props.add(key="facegate.demonstration", value="false")
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InvalidGraphError, match="twice") as caught:
        convert(path)
    assert caught.value.hint


@pytest.mark.parametrize("said", ["Apache\n2.0", "x" * 201, "\x1b[31m"])
def test_a_licence_that_is_none_is_refused(model, said):
    """Nothing that could steer a terminal or fill a manifest is taken for a licence."""
    with pytest.raises(InvalidGraphError, match="no licence"):
        convert(model(licence=said))


def test_the_mark_goes_from_the_file_through_every_bundle(model, tmp_path):
    """Converted, saved, read, built into another bundle and read again: still for demonstrations only."""
    conversion = convert(model(demonstration="true"), Options(measure_latency=False))
    assert any("demonstrations only" in warning for warning in conversion.report.warnings)
    save(conversion, tmp_path / "one.fgb")
    build(tmp_path / "two.fgb", load_models(tmp_path / "one.fgb"), name="x", version="1.0.0", intended_use="")
    with open_bundle(tmp_path / "two.fgb", development=True) as bundle:
        assert bundle.manifest.demonstration
