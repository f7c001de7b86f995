"""The software bill of materials: valid by the official schema, complete, and true to what is installed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from importlib import metadata

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from facegate._pack import _distributions
from facegate._pack._distributions import Distribution, Library, find_distributions, normalize
from facegate._pack._facts import read_bundle
from facegate._pack._markers import applies, parse_requirement
from facegate._pack._sbom import build_sbom
from facegate_edge._litert_library import find_library

TIME = "2026-03-01T12:00:00Z"


@pytest.fixture(scope="module")
def installed():
    """What is installed here."""
    return find_distributions()


def check(document):
    """Valid by CycloneDX's own schema, formats and licence ids included."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None


def component(document, **wanted):
    """The one component that has these values."""
    (found,) = [c for c in document["components"] if wanted.items() <= c.items()]
    return found


def test_the_check_can_fail():
    """A document that is none is noticed by the validator."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str('{"bomFormat": "CycloneDX"}') is not None


def test_software_and_models_by_the_official_schema(bundle, installed):
    """What facegate needs here, and each model with hash, licence and card."""
    document = build_sbom(read_bundle(bundle), TIME, installed)
    check(document)
    assert document["specVersion"] == "1.6"
    assert document["metadata"]["component"]["name"] == "facegate"
    for model in bundle.manifest.models:
        found = component(document, type="machine-learning-model", hashes=[{"alg": "SHA-256", "content": model.sha256}])
        assert found["pedigree"]["ancestors"][0]["hashes"][0]["content"] == model.provenance.source_sha256
        assert found["modelCard"]["considerations"]["useCases"] == [bundle.manifest.intended_use]
        data = bundle.model_bytes(model.role)
        assert hashlib.sha256(data).hexdigest() == found["hashes"][0]["content"]
    recognizer = next(c for c in document["components"] if c["name"].startswith("recognizer"))
    assert len(recognizer["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]) == 4


def test_every_part_of_the_graph_is_a_component(bundle, installed):
    """References are unique, and the graph names nothing that is not there."""
    document = build_sbom(read_bundle(bundle), TIME, installed)
    references = [document["metadata"]["component"]["bom-ref"]]
    for each in document["components"]:
        references += [each["bom-ref"], *(c["bom-ref"] for c in each.get("components", ()))]
    assert len(set(references)) == len(references)
    named = {entry["ref"] for entry in document["dependencies"]}
    named |= {ref for entry in document["dependencies"] for ref in entry["dependsOn"]}
    assert named <= set(references)


def test_the_engines_library_is_named_with_its_hash(installed):
    """The shared library that runs the models is the one that is loaded."""
    path, version = find_library()
    (engine,) = [found for found in installed if found.name == "ai-edge-litert"]
    assert engine.version == version
    (library,) = [library for library in engine.libraries if library.name == "libLiteRt.so"]
    assert library.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_closure_is_that_of_the_metadata(installed):
    """Every requirement that applies is there, in the version that is installed; tools of a build host are not."""
    names = {found.name for found in installed}
    assert {"facegate", "numpy", "pillow", "cffi", "click", "cryptography", "pycparser"} <= names
    assert not names & {"pytest", "onnx", "jinja2", "matplotlib", "ruff", "starlette"}
    for found in installed:
        assert found.version == metadata.version(found.name)
        assert set(found.needs) <= names
    assert not any(found.missing for found in installed)


def test_what_a_device_may_have_beside_it_is_told(installed):
    """Every extra that is not a build host's: what it brings is optional, and named where it is installed."""
    extras = set(metadata.metadata("facegate").get_all("Provides-Extra"))
    assert set(_distributions.EXTRAS) == extras - {"convert", "dev", "onnx-tf", "serve", "train"}
    scopes = {found.name: found.required for found in installed}
    assert scopes["gpiod"] is False
    assert scopes["videodev2"] is False


def test_equal_contents_give_equal_serial_numbers(bundle, installed):
    """Whenever it is made; another model is another document."""
    facts = read_bundle(bundle)
    first, second = build_sbom(facts, TIME, installed), build_sbom(facts, "2027-03-01T12:00:00Z", installed)
    assert first["serialNumber"] == second["serialNumber"]
    assert first != second
    assert build_sbom(None, TIME, installed)["serialNumber"] != first["serialNumber"]


@pytest.mark.parametrize(
    ("licence", "choice"),
    [
        ("MIT", {"license": {"id": "MIT"}}),
        ("Apache-2.0 OR BSD-3-Clause", {"expression": "Apache-2.0 OR BSD-3-Clause"}),
        ("unknown", {"license": {"name": "unknown"}}),
        ("mine, ask me", {"license": {"name": "mine, ask me"}}),
        ("<script>", {"license": {"name": "<script>"}}),
        ("NOT-AN-SPDX-ID", {"license": {"name": "NOT-AN-SPDX-ID"}}),
    ],
)
def test_licences_are_told_as_they_are_said(bundle, licence, choice):
    """An id only where SPDX has it, else a name: nothing is guessed, and the document stays valid."""
    found = Distribution("facegate", "1", licence, True, (), (), ())
    facts = read_bundle(bundle)
    models = [
        dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, licence=licence))
        for m in facts.manifest.models
    ]
    facts = dataclasses.replace(facts, manifest=dataclasses.replace(facts.manifest, models=tuple(models)))
    document = build_sbom(facts, TIME, [found])
    check(document)
    assert document["metadata"]["component"]["licenses"] == [choice]
    assert document["components"][-1]["licenses"] == [choice]


def test_what_is_missing_and_what_is_carried_is_said():
    """A requirement that is not installed; a library of a third project in a wheel."""
    other = Distribution("b", "2", "MIT", False, (), ("c",), (Library("libx.so.1", 9, "0" * 64),))
    document = build_sbom(None, TIME, [Distribution("facegate", "1", "MIT", True, ("b",), (), ()), other])
    check(document)
    found = component(document, name="b")
    assert found["scope"] == "optional"
    assert {"name": "facegate:missing", "value": "c"} in found["properties"]
    assert found["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]


def test_without_an_installation_it_says_so(monkeypatch):
    """Used from its source, facegate knows nothing of what is installed."""
    monkeypatch.setattr(_distributions, "_find", lambda _: None)
    assert find_distributions() == ()
    document = build_sbom(None, TIME, ())
    check(document)
    assert "from its source" in document["metadata"]["component"]["properties"][0]["value"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("numpy", ("numpy", (), "")),
        ("numpy>=1.26,<2", ("numpy", (), "")),
        ("a.b-c[x, y] >= 1 ; extra == 'z'", ("a.b-c", ("x", "y"), "extra == 'z'")),
        ("pip @ https://example.org/pip.whl ; os_name=='nt'", ("pip", (), "os_name=='nt'")),
    ],
)
def test_requirements_are_read(text, expected):
    """Name, extras and condition."""
    assert parse_requirement(text) == expected


def test_what_is_no_requirement_is_refused():
    """Metadata can hold anything."""
    with pytest.raises(ValueError, match="requirement"):
        parse_requirement(";;;")


ENVIRONMENT = {
    "python_version": "3.11", "python_full_version": "3.11.7", "platform_machine": "x86_64", "sys_platform": "linux",
    "os_name": "posix", "platform_system": "Linux", "implementation_name": "cpython",
}  # fmt: skip


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("", True),
        ("python_version < '3.11'", False),
        ("python_version >= '3.9'", True),
        ("python_version < '3.9' or python_version >= '3.11'", True),
        ('python_full_version <= "3.11.2"', False),
        ("python_version == '3.*'", True),
        ("python_version != '3.11.*'", False),
        ("python_version ~= '3.10'", True),
        ("python_version ~= '3.12'", False),
        ("'linux' in sys_platform", True),
        ("sys_platform not in 'win32 cygwin'", True),
        ("platform_machine == 'armv7l'", False),
        ("(os_name == 'nt' or os_name == 'posix') and extra == 'x'", True),
        ("extra == 'y'", False),
        ("os_name == 'nt' or sys_platform == 'linux' and extra == 'x'", True),
        ("nonsense ===", True),
        ("os_name == 'nt' something", True),
        ("unknown_name == 'nt'", True),
        ("os_name < 'nt'", True),
    ],
)
def test_conditions_are_judged(monkeypatch, marker, expected):
    """As PEP 508 has it; one that cannot be read counts as true: better a package too many is named."""
    monkeypatch.setattr("facegate._pack._markers.environment", lambda: dict(ENVIRONMENT))
    assert applies(marker, "x") is expected


def test_conditions_are_judged_as_packaging_does():
    """Against the library that installers use, on every condition of what is installed here."""
    packaging = pytest.importorskip("packaging.requirements")
    compared = 0
    for distribution in metadata.distributions():
        for text in distribution.requires or ():
            theirs = packaging.Requirement(text)
            name, extras, marker = parse_requirement(text)
            assert (normalize(name), set(extras)) == (normalize(theirs.name), theirs.extras)
            if theirs.marker is not None:
                assert applies(marker, "") == theirs.marker.evaluate({"extra": ""}), text
                compared += 1
    assert compared
