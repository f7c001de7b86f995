"""The software bill of materials: what is installed, the models of the bundle, and their licences, as CycloneDX 1.6."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import uuid
from typing import TYPE_CHECKING, Any

from facegate._pack._distributions import NAME, find_distributions
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate._pack._distributions import Distribution
    from facegate._pack._facts import BundleFacts
    from facegate_edge._manifest import ModelInfo, OperatingPoint

__all__ = ["build_sbom"]

SPEC = "1.6"
TASKS = {
    "detector": "face detection",
    "recognizer": "face recognition (template extraction)",
    "liveness": "presentation attack detection",
}
# As SPDX spells them: what is not among these is given as a name, because a validator refuses an id that it does not
# know, and guessing one would be a statement about somebody's licence.
_SPDX = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"),
        *("CC-BY-SA-4.0", "CC0-1.0", "GPL-2.0-only", "GPL-3.0-only", "HPND", "ISC", "LGPL-2.1-only", "LGPL-3.0-only"),
        *("MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
    }
)
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)+")
_SPACE = uuid.UUID("6f2d52f5-9f0b-5a43-8c8e-3e1b6f1d6a10")  # of serial numbers: equal contents have equal ones


def build_sbom(
    bundle: BundleFacts | None, time: str, distributions: Sequence[Distribution] | None = None
) -> dict[str, Any]:
    """The document.

    Args:
        bundle: whose models are named; None for the software alone.
        time: RFC 3339, UTC.
        distributions: what is installed; looked up if None.
    """
    software = find_distributions() if distributions is None else tuple(distributions)
    components: list[dict[str, Any]] = [_python()]
    components += [_distribution(found) for found in software if found.name != NAME]
    facegate = next((_distribution(found) for found in software if found.name == NAME), _bare())
    references = {found.name: _reference(found) for found in software}
    dependencies = [
        {"ref": references[found.name], "dependsOn": [references[name] for name in found.needs]} for found in software
    ]
    if not software:
        dependencies.append({"ref": facegate["bom-ref"], "dependsOn": []})
    dependencies[0]["dependsOn"] = sorted([*dependencies[0]["dependsOn"], "python"])
    dependencies.append({"ref": "python", "dependsOn": []})
    if bundle is not None:
        components += _bundle(bundle)
        models = [_model_reference(model) for model in bundle.manifest.models]
        dependencies[0]["dependsOn"] = sorted([*dependencies[0]["dependsOn"], "bundle"])
        dependencies.append({"ref": "bundle", "dependsOn": sorted(models)})
        dependencies += [{"ref": model, "dependsOn": []} for model in models]
    document: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": NAME, "version": VERSION}]},
            "component": facegate,
        },
        "components": components,
        "dependencies": sorted(dependencies, key=lambda entry: str(entry["ref"])),
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_SPACE, digest)}"
    document["metadata"]["timestamp"] = time
    return document


def _reference(found: Distribution) -> str:
    return f"pkg:pypi/{found.name}@{found.version}"


def _distribution(found: Distribution) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "application" if found.name == NAME else "library",
        "bom-ref": _reference(found),
        "name": found.name,
        "version": found.version,
        "scope": "required" if found.required else "optional",
        "licenses": _licences(found.licence),
        "purl": _reference(found),
    }
    if found.name == NAME:
        del component["scope"]  # it is what the document is about
    if found.libraries:
        component["components"] = [
            {
                "type": "library",
                "bom-ref": f"{_reference(found)}#{library.name}",
                "name": library.name,
                "hashes": [{"alg": "SHA-256", "content": library.sha256}],
                "properties": _properties(
                    size=library.size, licence=f"with {found.name}: see the licence files of that distribution"
                ),
            }
            for library in found.libraries
        ]
    if found.missing:
        component["properties"] = _properties(missing=", ".join(found.missing))
    return component


def _bare() -> dict[str, Any]:
    """Facegate where it is used without having been installed."""
    reference = f"pkg:pypi/{NAME}@{VERSION}"
    return {
        "type": "application",
        "bom-ref": reference,
        "name": NAME,
        "version": VERSION,
        "licenses": _licences("Apache-2.0"),
        "purl": reference,
        "properties": _properties(note="used from its source: nothing is known of what is installed"),
    }


def _python() -> dict[str, Any]:
    return {
        "type": "platform",
        "bom-ref": "python",
        "name": platform.python_implementation(),
        "version": platform.python_version(),
        "licenses": _licences("Python-2.0"),
        "properties": _properties(note="of the system; with its standard library and SQLite"),
    }


def _bundle(bundle: BundleFacts) -> list[dict[str, Any]]:
    manifest = bundle.manifest
    file = {
        "type": "file",
        "bom-ref": "bundle",
        "name": f"{manifest.name}.fgb",
        "version": manifest.version,
        "hashes": [{"alg": "SHA-256", "content": bundle.sha256}],
        "properties": _properties(id=bundle.id, signed_by=bundle.key_id or "nobody", target=manifest.target),
    }
    return [file, *(_model(model, bundle) for model in manifest.models)]


def _model_reference(model: ModelInfo) -> str:
    return f"model:{model.role}:{model.sha256[:16]}"


def _model(model: ModelInfo, bundle: BundleFacts) -> dict[str, Any]:
    manifest, provenance = bundle.manifest, model.provenance
    commercial = {True: "yes", False: "no", None: "unknown"}[provenance.commercial_use]
    height, width = model.input.tensor.shape[1:3]
    card: dict[str, Any] = {
        "modelParameters": {
            "task": TASKS[model.role],
            "architectureFamily": model.family,
            "inputs": [{"format": f"image {width}x{height} {model.input.color}, {model.input.tensor.dtype}"}],
            "outputs": [{"format": f"{t.name}: {'x'.join(map(str, t.shape))} {t.dtype}"} for t in model.outputs],
        },
        "considerations": {
            "useCases": [manifest.intended_use],
            "technicalLimitations": ["for demonstrations only: it recognizes rendered faces"]
            if provenance.demonstration
            else [],
            "ethicalConsiderations": [
                {"name": f"prohibited use: {use}", "mitigationStrategy": "refused by the gate's declaration"}
                for use in manifest.prohibited_uses
            ],
        },
    }
    measured = [point for point in manifest.operating_points if point.dataset]
    if model.role == "recognizer" and measured:
        card["quantitativeAnalysis"] = {"performanceMetrics": [m for point in measured for m in _metrics(point)]}
    return {
        "type": "machine-learning-model",
        "bom-ref": _model_reference(model),
        "name": f"{model.role} ({model.family}, {model.precision})",
        "version": manifest.version,
        "hashes": [{"alg": "SHA-256", "content": model.sha256}],
        "licenses": _licences(provenance.licence),
        "pedigree": {
            "ancestors": [
                {
                    "type": "machine-learning-model",
                    "name": "the ONNX model that it was converted from",
                    "hashes": [{"alg": "SHA-256", "content": provenance.source_sha256}],
                }
            ]
        },
        "modelCard": card,
        "properties": _properties(
            allowances=", ".join(provenance.allowances) or "none",
            commercial_use=commercial,
            converter=provenance.converter,
            precision=model.precision,
            size=model.size,
        ),
    }


def _metrics(point: OperatingPoint) -> list[dict[str, Any]]:
    low, high = f"{point.fnmr_low:g}", f"{point.fnmr_high:g}"
    where = f"threshold {point.threshold:.4f}, asked for FMR {point.fmr:g}"
    return [
        {
            "type": "FNMR",
            "value": f"{point.fnmr:g}",
            "slice": where,
            "confidenceInterval": {"lowerBound": low, "upperBound": high},
        },
        {"type": "FMR, upper end of the 95 % interval", "value": f"{point.fmr_upper:g}", "slice": where},
    ]


def _licences(text: str) -> list[dict[str, Any]]:
    """CycloneDX's choice: an SPDX id, an expression of them, or a name."""
    if text in _SPDX:
        return [{"license": {"id": text}}]
    if _EXPRESSION.fullmatch(text):
        return [{"expression": text}]
    return [{"license": {"name": text}}]


def _properties(**values: object) -> list[dict[str, str]]:
    return [{"name": f"facegate:{name}", "value": str(value)} for name, value in sorted(values.items())]
