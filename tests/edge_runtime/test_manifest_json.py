"""manifest.json: written in one way, read strictly, every refusal naming its field."""

from __future__ import annotations

import configparser
import copy
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegate_edge._manifest_json import dump_manifest, parse_manifest
from facegate_edge._manifest_rules import prohibited_inference, version_tuple
from facegate_edge._version import VERSION
from facegate_edge.errors import (
    BundleError,
    BundleTooLargeError,
    BundleVersionError,
    ManifestError,
    ProhibitedModelError,
)


@pytest.fixture(scope="module")
def document(make_manifest):
    """A valid manifest of all roles as JSON values."""
    return json.loads(dump_manifest(make_manifest("detector", "recognizer", "liveness")))


def put(document, path: str, value):
    """A copy of the document with the value at a path such as models[0].input.mean[2]; DELETE removes it."""
    changed = copy.deepcopy(document)
    steps = [int(s) if s.isdigit() else s for s in path.replace("[", ".").replace("]", "").split(".")]
    at = changed
    for step in steps[:-1]:
        at = at[step]
    if value is DELETE:
        del at[steps[-1]]
    else:
        at[steps[-1]] = value
    return changed


DELETE = object()


def encode(document) -> bytes:
    """JSON as Python writes it by default, NaN included."""
    return json.dumps(document).encode()


@pytest.mark.parametrize("roles", [("recognizer",), ("detector",), ("detector", "recognizer", "liveness")])
def test_round_trip(make_manifest, roles):
    """What is written is read back equal, and writing it again gives the same bytes."""
    manifest = make_manifest(*roles)
    data = dump_manifest(manifest)
    assert parse_manifest(data) == manifest
    assert dump_manifest(parse_manifest(data)) == data


def test_dictionaries_are_written_sorted(make_manifest):
    """Equal manifests give equal bytes even if a report was filled in another order."""
    manifest = make_manifest("recognizer")

    def parity(report):
        model = manifest.models[0]
        changed = dataclasses.replace(model, provenance=dataclasses.replace(model.provenance, parity=report))
        return dump_manifest(dataclasses.replace(manifest, models=(changed,)))

    assert parity({"a": {"x": 1.0, "y": 2.0}, "b": {}}) == parity({"b": {}, "a": {"y": 2.0, "x": 1.0}})


def test_integers_are_accepted_where_numbers_are_needed(document):
    """JSON has one kind of number: 1 is a valid scale."""
    manifest = parse_manifest(encode(put(document, "models[0].input.scale[0]", 1)))
    assert type(manifest.models[0].input.scale[0]) is float


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 0),
        ("format", "1"),
        ("format", True),
        ("name", ""),
        ("name", "../etc"),
        ("name", "Upper"),
        ("name", "a" * 65),
        ("name", None),
        ("version", "1.2"),
        ("version", "01.2.3"),
        ("version", "1.2.3\n"),
        ("created", "2026-01-02"),
        ("created", "2026-13-02T03:04:05Z"),
        ("created", "2026-01-02T03:04:05+01:00"),
        ("minimum_runtime", "soon"),
        ("target", "no spaces here"),
        ("intended_use", 7),
        ("intended_use", "a\x1b[31mred"),
        ("intended_use", "x" * 5000),
        ("prohibited_uses", "none"),
        ("prohibited_uses[0]", None),
        ("models", []),
        ("models", {}),
        ("models", None),
        ("models[0]", []),
        ("models[0].precision", "int4"),
        ("models[0].arithmetic", "float16"),  # at a model of another precision
        ("models[0].arithmetic", "float32"),  # left out where it says nothing
        ("models[0].arithmetic", "bfloat16"),
        ("models[0].arithmetic", None),
        ("models[0].family", "arcface"),
        ("models[0].family", "mtcnn"),
        ("models[0].role", "tracker"),
        ("models[0].file", "../detector.tflite"),
        ("models[0].file", "manifest.json"),
        ("models[0].file", "models/a/b.tflite"),
        ("models[0].size", 0),
        ("models[0].size", -1),
        ("models[0].size", 1.5),
        ("models[0].size", 2**60),
        ("models[0].size", True),
        ("models[0].sha256", "0" * 63),
        ("models[0].sha256", "A" * 64),
        ("models[0].provenance.source_sha256", ""),
        ("models[0].provenance.calibration", "abc"),
        ("models[0].provenance.licence", ""),
        ("models[0].provenance.commercial_use", "yes"),
        ("models[0].provenance.parity", []),
        ("models[0].provenance.parity.out", 1.0),
        ("models[0].provenance.parity.out.cosine_min", "high"),
        ("models[0].provenance.parity.out.cosine_min", float("nan")),
        ("models[0].input.color", "YUV"),
        ("models[0].input.mean", [1.0, 2.0]),
        ("models[0].input.mean[2]", "1"),
        ("models[0].input.mean[2]", float("inf")),
        ("models[0].input.scale[1]", 0),
        ("models[0].input.scale[1]", -1),
        ("models[0].input.tensor.shape", [1, 32, 32]),
        ("models[0].input.tensor.shape", [2, 32, 32, 3]),
        ("models[0].input.tensor.shape", [1, 3, 32, 32]),
        ("models[0].input.tensor.shape", [1, 99999, 32, 3]),
        ("models[0].input.tensor.shape[1]", 0),
        ("models[0].input.tensor.shape[1]", -32),
        ("models[0].input.tensor.dtype", "float64"),
        ("models[0].input.tensor.dtype", "int8"),
        ("models[0].input.tensor.quantization", {"scale": 1.0, "zero_point": 0}),
        ("models[0].outputs", []),
        ("models[0].outputs[0].name", ""),
        ("models[0].outputs[0].shape", []),
        ("models[0].outputs[0].shape", [1] * 9),
        ("models[0].outputs[0].shape", [2**26, 2]),
        ("models[0].detector", None),
        ("models[0].recognizer", {}),
        ("models[0].detector.heads", []),
        ("models[0].detector.heads[0].score", "nowhere"),
        ("models[0].detector.heads[0].box", "score_8"),
        ("models[0].detector.heads[0].landmarks", "box_8"),
        ("models[0].detector.heads[0].objectness", "score_8"),
        ("models[0].detector.heads[0].stride", 16),
        ("models[0].detector.strides", []),
        ("models[0].detector.strides[0]", 0),
        ("models[0].detector.anchors", 0),
        ("models[0].detector.anchors", 3),
        ("models[0].detector.score_threshold", 1.5),
        ("models[0].detector.nms_iou", 0),
        ("models[1].recognizer.output", "nowhere"),
        ("models[1].recognizer.template_length", 512),
        ("models[1].recognizer.template_length", 0),
        ("models[1].recognizer.template_space", ""),
        ("models[1].recognizer.landmarks", [[1.0, 2.0]]),
        ("models[1].recognizer.landmarks[0]", [500.0, 1.0]),
        ("models[1].recognizer.landmarks[0]", [1.0, 2.0, 3.0]),
        ("models[2].liveness.classes", 2),
        ("models[2].liveness.live_class", 3),
        ("models[2].liveness.crop_scale", 0),
        ("models[2].liveness.square", 1),
        ("models[2].liveness.border", "wrap"),
        ("operating_points[0].fmr", 0),
        ("operating_points[0].fmr", 1),
        ("operating_points[0].threshold", 1.01),
        ("operating_points[0].fnmr", 0.9),
        ("operating_points[0].fmr_upper", -0.1),
        ("operating_points[0].genuine", 0),
        ("operating_points[0].dataset", "lfw"),
        ("operating_points[1].fmr", 1e-3),
    ],
)
def test_impossible_values_are_refused_by_field(document, path, value):
    """A wrong type or an impossible value is refused, and the message names the field or what holds it."""
    with pytest.raises(ManifestError) as caught:
        parse_manifest(encode(put(document, path, value)))
    message = str(caught.value)
    where = message.partition(":")[0]
    # Shapes that contradict each other are told at one of the two; all else at the field or at what holds it.
    related = where.rsplit(".", 1)[0].rsplit("[", 1)[0]
    assert path.startswith(related) or "rows of" in message or message.startswith("the manifest holds")


def fields(value, path=""):
    """The paths of all object fields in a document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            if ".parity" not in path:
                yield here
            yield from fields(inner, here)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from fields(inner, f"{path}[{i}]")


def test_every_field_is_required(document):
    """Whichever field is missing, the manifest is refused and the field named."""
    paths = [p for p in fields(document) if "parity." not in p]
    assert len(paths) > 150
    for path in paths:
        with pytest.raises(ManifestError) as caught:
            parse_manifest(encode(put(document, path, DELETE)))
        assert str(caught.value) == f"{path}: the field is missing"


def test_every_object_is_closed(document):
    """A field that a manifest does not have is refused wherever it stands."""
    owners = {path.rpartition(".")[0] for path in fields(document)}
    for owner in sorted(owners):
        path = f"{owner}.colour" if owner else "colour"
        with pytest.raises(ManifestError, match="no such field") as caught:
            parse_manifest(encode(put(document, path, 1)))
        assert str(caught.value).startswith(path)


def marked(manifest, *roles):
    """The manifest with models of these roles for demonstrations only."""
    models = tuple(
        dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, demonstration=m.role in roles))
        for m in manifest.models
    )
    return dataclasses.replace(manifest, models=models)


@pytest.mark.parametrize("roles", [("detector",), ("recognizer",), ("liveness",), ("detector", "liveness")])
def test_one_demonstration_model_makes_the_bundle_one(make_manifest, roles):
    """Whichever model is for demonstrations only, the bundle is, and it survives being written and read."""
    manifest = marked(make_manifest("detector", "recognizer", "liveness"), *roles)
    assert manifest.demonstration
    data = dump_manifest(manifest)
    assert parse_manifest(data) == manifest
    assert dump_manifest(parse_manifest(data)) == data
    assert data.count(b'"demonstration": true') == len(roles)


def test_float16_arithmetic_survives_being_written_and_read(make_manifest):
    """It stands at its model, and only there; a model without it keeps its bytes."""
    manifest = make_manifest("detector", "recognizer")
    models = (
        manifest.models[0],
        dataclasses.replace(manifest.models[1], precision="float16", arithmetic="float16"),
    )
    data = dump_manifest(dataclasses.replace(manifest, models=models))
    assert data.count(b'"arithmetic": "float16"') == data.count(b"arithmetic") == 1
    assert [m.arithmetic for m in parse_manifest(data).models] == ["float32", "float16"]


def test_a_manifest_without_demonstration_models_keeps_its_bytes(make_manifest):
    """The field is not written where it is false, so bundles from before it exist unchanged, ids and all."""
    manifest = make_manifest("detector", "recognizer", "liveness")
    assert not manifest.demonstration
    assert b"demonstration" not in dump_manifest(manifest)


@pytest.mark.parametrize("value", [False, None, 1, "true", []])
def test_a_demonstration_is_true_or_left_out(document, value):
    """The mark has one spelling: no false, and nothing that a reader might take for either."""
    changed = put(document, "models[0].provenance.demonstration", value)
    with pytest.raises(ManifestError, match=r"^models\[0\]\.provenance\.demonstration: "):
        parse_manifest(encode(changed))


@pytest.mark.parametrize("path", ["demonstration", "models[1].demonstration"])
def test_the_mark_stands_in_one_place_only(document, path):
    """A mark that stands elsewhere, where nobody would look for it, is refused and not passed over."""
    with pytest.raises(ManifestError, match="no such field"):
        parse_manifest(encode(put(document, path, True)))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"[]", "an object"),
        (b"null", "an object"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'\xef\xbb\xbf{"format":1}', "not JSON"),
        (b'{"format":1}{"format":1}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"format":NaN}', "NaN"),
        (b'{"format":-Infinity}', "Infinity"),
        (b'{"format":1,"format":1}', "twice"),
        (b'{"models":[{"role":"a","role":"b"}]}', "twice"),
        (b'{"format":' + b"9" * 5000 + b"}", "absurdly large"),
        (b'{"format":1e999}', "format"),
    ],
)
def test_what_is_no_manifest(data, problem):
    """Bytes that are no JSON object, or use JSON's ambiguities, are refused."""
    with pytest.raises(ManifestError) as caught:
        parse_manifest(data)
    assert problem in str(caught.value) or "missing" in str(caught.value)


@pytest.mark.parametrize("field", ['"name": "test"', '"role": "recognizer"', '"cosine_min": 0.999', '"zero": 1'])
def test_a_field_that_stands_twice(document, field):
    """A duplicate is refused also where both say the same, and before anything else is looked at."""
    text = json.dumps(document)
    twice = (
        text.replace(field, f"{field}, {field}", 1) if field in text else text.replace("{", f"{{{field}, {field}, ", 1)
    )
    with pytest.raises(ManifestError, match="twice"):
        parse_manifest(twice.encode())


def test_a_manifest_of_absurd_size(document):
    """More than 1 MiB is refused before it is parsed."""
    with pytest.raises(BundleTooLargeError):
        parse_manifest(encode(document) + b" " * (1 << 20))


def test_twins_are_refused(document):
    """Two models of one role or file, two outputs of one name: refused."""
    twin = copy.deepcopy(document)
    twin["models"].append(twin["models"][0])
    with pytest.raises(ManifestError, match="two have the same role"):
        parse_manifest(encode(twin))
    with pytest.raises(ManifestError, match="two have the same name"):
        parse_manifest(encode(put(document, "models[0].outputs[1].name", "score_8")))
    with pytest.raises(ManifestError, match="two have the same file"):
        parse_manifest(encode(put(document, "models[1].file", "models/detector.tflite")))


@pytest.mark.parametrize(
    ("path", "value"), [("format", 2), ("minimum_runtime", "99.0.0"), ("minimum_runtime", "0.1.1")]
)
def test_a_bundle_for_a_newer_runtime_says_update(document, path, value):
    """A newer format is not called damaged, even if it has fields that this runtime does not know."""
    with pytest.raises(BundleVersionError) as caught:
        parse_manifest(encode(put(put(document, path, value), "novelty", 1)))
    assert "update" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("models[1].role", "gender", "gender"),
        ("models[1].role", "age", "age"),
        ("models[1].role", "emotion", "emotion"),
        ("models[1].role", "race", "race"),
        ("models[1].family", "genderage", "gender and age"),
        ("models[1].family", "fairface", "race"),
        ("models[1].file", "models/emotion-ferplus.tflite", "emotion"),
        ("models[1].outputs[0].name", "fc_gender", "gender"),
        ("models[1].outputs[0].name", "predictedAge", "age"),
        ("models[1].outputs[0].name", "StatefulPartitionedCall/ethnicity:0", "race"),
    ],
)
def test_models_that_infer_more_than_identity_are_refused_by_name(document, path, value, what):
    """A model that says it infers gender, age, race or emotion is refused for that, not as a formal error."""
    with pytest.raises(ProhibitedModelError, match=f"infers {what}$"):
        parse_manifest(encode(put(document, path, value)))


@pytest.mark.parametrize(
    "name",
    ["image", "average_pool", "stage_1", "trace", "embrace", "sexagesimal", "transfer", "agent", "page", "storage"],
)
def test_innocent_names_are_not_prohibited(name):
    """Only whole words count: "image" holds "age"."""
    assert prohibited_inference([name]) is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=8), st.data())  # fmt: skip
def test_arbitrary_values_anywhere_are_refused_or_valid(make_manifest, value, data):
    """Whatever stands in whatever place, parsing ends in a valid manifest or a BundleError, nothing else."""
    document = json.loads(dump_manifest(make_manifest("detector", "recognizer", "liveness")))
    path = data.draw(st.sampled_from(sorted(fields(document))))
    try:
        manifest = parse_manifest(encode(put(document, path, value)))
    except BundleError:
        return
    assert parse_manifest(dump_manifest(manifest)) == manifest


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data):
    """No bytes make the parser fail in another way."""
    with pytest.raises(BundleError):
        parse_manifest(data)


def test_values_of_wrong_types_are_not_written(make_manifest):
    """The writer checks what it is given: dataclasses do not."""
    for changes in ({"name": 7}, {"models": ["x"]}, {"prohibited_uses": ["a list"]}, {"format": 1.0}):
        with pytest.raises(ManifestError):
            dump_manifest(make_manifest(**changes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.1.0", (0, 1, 0)), ("1.20.3-rc.1", (1, 20, 3)), ("1.2", None), ("1.2.3.4", None), ("", None), ("a.b.c", None)],
)
def test_versions(text, expected):
    """Semantic versions are read as three numbers."""
    assert version_tuple(text) == expected


def test_the_runtimes_version_is_the_distributions(pytestconfig):
    """One version: the runtime's constant and setup.cfg's say the same."""
    setup = configparser.ConfigParser()
    setup.read(pytestconfig.rootpath / "setup.cfg")
    assert setup["metadata"]["version"] == VERSION
