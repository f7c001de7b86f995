"""Writing and signing bundles (`.fgb`); `facegate_edge._bundle` reads them."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from facegate_convert._files import write_file
from facegate_edge import _archive
from facegate_edge._bundle import open_bundle, signature_document
from facegate_edge._manifest_json import dump_manifest, parse_manifest
from facegate_edge.errors import (
    BundleHashError,
    BundleMemberError,
    BundleReadError,
    BundleTooLargeError,
    MissingModelError,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from facegate_edge._keys import SigningKey
    from facegate_edge._manifest import Manifest

__all__ = ["sign_bundle", "write_bundle"]


def write_bundle(
    path: str | os.PathLike[str],
    manifest: Manifest,
    models: Mapping[str, bytes | Path],
    key: SigningKey | None,
) -> str:
    """Write a bundle, all of it or nothing. The same arguments give the same bytes.

    Args:
        path: the `.fgb` file; one that exists is replaced in one step, mode 0644.
        manifest: its models' `size` and `sha256` must be those of `models`.
        models: the TFLite model of each role in the manifest: its bytes, or the file that holds them.
        key: who signs; None leaves the bundle unsigned, which a device opens in development mode only.

    Returns:
        The bundle's id (sha256 of its manifest).

    Raises:
        ManifestError, ProhibitedModelError: the manifest is not valid.
        MissingModelError, BundleMemberError: a role has no model, or a model no role.
        BundleHashError, BundleTooLargeError: a model is not the one of the manifest, or too large for a device.
        BundleReadError: a model's file cannot be read.
        OutputFileError: the bundle cannot be written (no space, no permission).
    """
    document = dump_manifest(manifest)
    parse_manifest(document)  # what a device would refuse is not written
    extra = set(models) - {model.role for model in manifest.models}
    if extra:
        raise BundleMemberError(f"the manifest has no model for {', '.join(sorted(extra))}")
    contents: list[tuple[str, bytes]] = []
    for model in manifest.models:
        if model.role not in models:
            raise MissingModelError(f"no model was given for the role {model.role}")
        data = _read_model(models[model.role])
        if len(data) != model.size or hashlib.sha256(data).hexdigest() != model.sha256:
            raise BundleHashError(
                f"the model given for {model.role} is not the one of the manifest (size or sha256 differs)",
                hint="compute size and sha256 from the very bytes that go into the bundle",
            )
        contents.append((model.file, data))
    _write(Path(path), document, contents, key)
    return hashlib.sha256(document).hexdigest()


def sign_bundle(path: str | os.PathLike[str], key: SigningKey, output: str | os.PathLike[str] | None = None) -> str:
    """Sign a bundle, replacing a signature that it may have; manifest and models stay byte for byte.

    Args:
        path: the bundle. All of it is checked except who signed it before.
        key: who signs.
        output: the file to write; `path` itself is replaced in one step if None.

    Returns:
        The bundle's id, which signing does not change.

    Raises:
        BundleError: one of its subclasses, as `open_bundle` and `write_bundle` raise them.
    """
    with open_bundle(path, development=True) as bundle:
        contents = [(model.file, bytes(bundle.model_bytes(model.role))) for model in bundle.manifest.models]
        _write(Path(path if output is None else output), bundle.manifest_bytes(), contents, key)
        return bundle.id


def _read_model(model: bytes | Path) -> bytes:
    if not isinstance(model, Path):
        data = bytes(model)
    else:
        try:
            with model.open("rb") as file:
                data = file.read(_archive.MAX_MODEL + 1)
        except OSError as error:
            raise BundleReadError(f"the model {model} cannot be read: {error.strerror}") from error
    if len(data) > _archive.MAX_MODEL:
        raise BundleTooLargeError(
            f"a model has more than the {_archive.MAX_MODEL} bytes that a device accepts", hint="quantize it"
        )
    return data


def _write(path: Path, document: bytes, models: list[tuple[str, bytes]], key: SigningKey | None) -> None:
    contents = [(_archive.MANIFEST, document)]
    if key is not None:
        contents.append((_archive.SIGNATURE, signature_document(key.key_id, key.sign(document))))
    contents += models
    placed, tail = _archive.layout([_archive.Member(name, len(data), zlib.crc32(data)) for name, data in contents])
    pieces = [piece for (_, header), (_, data) in zip(placed, contents, strict=True) for piece in (header, data)]
    pieces.append(tail)
    if sum(map(len, pieces)) > _archive.MAX_BUNDLE:
        raise BundleTooLargeError(f"the bundle would exceed the {_archive.MAX_BUNDLE} bytes that a device accepts")
    write_file(path, pieces)
