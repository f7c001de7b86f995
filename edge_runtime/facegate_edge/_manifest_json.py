"""manifest.json: written in one way, read strictly.

The fields are those of the dataclasses in `_manifest`, every one written and every one required (but those marked
`OMITTED`, which are left out where they hold their default): the types there are the whole schema. What types cannot
say (ranges, names, tensors that must exist) is checked by `_manifest_rules`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from typing import Any

from facegate_edge._archive import MAX_MANIFEST
from facegate_edge._json import repeated
from facegate_edge._manifest import FORMAT_VERSION, OMITTED, Manifest
from facegate_edge._manifest_rules import check_manifest, check_prohibited, version_tuple
from facegate_edge._version import VERSION
from facegate_edge.errors import BundleTooLargeError, BundleVersionError, ManifestError

__all__ = ["dump_manifest", "parse_manifest"]

_MAX_ITEMS = 1024  # of any list or mapping: far more than any model needs
_MAX_TEXT = 4096  # characters of any string
_MAX_INTEGER = 1 << 53  # what every JSON reader keeps exactly
_HINT = "build the bundle again with `facegate bundle build`"


def dump_manifest(manifest: Manifest) -> bytes:
    """The manifest as UTF-8 JSON; equal manifests give equal bytes.

    Raises:
        ManifestError: a value of a wrong type, or a number that JSON cannot hold.
    """
    try:
        text = json.dumps(_encode(manifest, Manifest, ""), ensure_ascii=True, allow_nan=False, indent=1)
    except ValueError as error:
        raise ManifestError(f"the manifest cannot be written: {error}") from error
    return text.encode("ascii") + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest and check everything that can be checked without the models.

    Raises:
        ManifestError: naming the field, e.g. "models[0].input.color: ...".
        ProhibitedModelError: a model that infers gender, age, race, emotion or the like.
        BundleVersionError: the bundle needs a newer runtime.
        BundleTooLargeError: more than a manifest's 1 MiB.
    """
    if len(data) > MAX_MANIFEST:
        raise BundleTooLargeError(f"the manifest has {len(data)} bytes, more than the {MAX_MANIFEST} allowed")
    try:
        document = json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ManifestError("the manifest is not JSON", hint=_HINT) from error
    if isinstance(document, dict):
        # Before the fields: a newer format may have others, and the reader should be told to update, not of a field.
        _check_version(document)
        check_prohibited(document)
    manifest: Manifest = _decode(document, Manifest, "")
    check_manifest(manifest)
    return manifest


def _check_version(document: dict[str, Any]) -> None:
    version, runtime = document.get("format"), document.get("minimum_runtime")
    if type(version) is int and version > FORMAT_VERSION:
        raise BundleVersionError(
            f"the bundle has format {version}, this runtime reads {FORMAT_VERSION}",
            hint="update facegate on this device",
        )
    needed = version_tuple(runtime) if isinstance(runtime, str) else None
    if needed is not None and needed > (version_tuple(VERSION) or ()):
        raise BundleVersionError(
            f"the bundle needs facegate {runtime} or later, this is {VERSION}", hint="update facegate on this device"
        )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = repeated(pairs)
    if twice is not None:
        raise ManifestError(f"the manifest has the field {twice[:80]!r} twice", hint=_HINT)
    return dict(pairs)


def _constant(name: str) -> float:
    raise ManifestError(f"the manifest holds {name}, which is no JSON number", hint=_HINT)


def _integer(digits: str) -> int:
    if len(digits) > 17:  # noqa: PLR2004 - longer than any number up to 2^53: not even converted
        raise ManifestError("the manifest holds an absurdly large number", hint=_HINT)
    return int(digits)


@functools.cache
def _omitted(kind: type) -> dict[str, Any]:
    """The fields that are left out where they hold their default, and that default."""
    return {f.name: f.default for f in dataclasses.fields(kind) if OMITTED.items() <= f.metadata.items()}


@functools.cache
def _fields(kind: type) -> dict[str, Any]:
    """A dataclass's fields and their types, in order."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _decode(value: Any, kind: Any, path: str) -> Any:
    """A JSON value as the type that a dataclass field declares. Raises ManifestError."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(value, kind, path)
    if origin is types.UnionType:  # only "X | None" occurs
        inner = next(k for k in typing.get_args(kind) if k is not types.NoneType)
        return None if value is None else _decode(value, inner, path)
    if origin is tuple:
        return _decode_tuple(value, typing.get_args(kind), path)
    if origin is dict:
        _expect(isinstance(value, dict), path, "an object")
        _expect(len(value) <= _MAX_ITEMS, path, f"an object of at most {_MAX_ITEMS} fields")
        inner = typing.get_args(kind)[1]
        return {_decode(k, str, path): _decode(v, inner, f"{path}.{k[:80]}") for k, v in value.items()}
    return _decode_scalar(value, kind, path)


def _decode_dataclass(value: Any, kind: type, path: str) -> Any:
    _expect(isinstance(value, dict), path, "an object")
    fields, omitted = _fields(kind), _omitted(kind)
    unknown = next((name for name in value if name not in fields), None)
    if unknown is not None:
        raise ManifestError(f"{_join(path, unknown[:80])}: a manifest has no such field", hint=_HINT)
    missing = next((name for name in fields if name not in value and name not in omitted), None)
    if missing is not None:
        raise ManifestError(f"{_join(path, missing)}: the field is missing", hint=_HINT)
    found = {n: _decode(value[n], inner, _join(path, n)) for n, inner in fields.items() if n in value}
    idle = next((name for name, default in omitted.items() if name in found and found[name] == default), None)
    if idle is not None:
        raise ManifestError(f"{_join(path, idle)}: this is left out where it says nothing", hint=_HINT)
    return kind(**found)


def _decode_tuple(value: Any, kinds: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    _expect(isinstance(value, list), path, "a list")
    if kinds[-1] is Ellipsis:
        _expect(len(value) <= _MAX_ITEMS, path, f"a list of at most {_MAX_ITEMS} items")
        kinds = kinds[:1] * len(value)
    _expect(len(value) == len(kinds), path, f"a list of {len(kinds)} items")
    return tuple(_decode(v, k, f"{path}[{i}]") for i, (v, k) in enumerate(zip(value, kinds, strict=True)))


def _decode_scalar(value: Any, kind: Any, path: str) -> Any:
    if kind is float:
        _expect(type(value) in (int, float), path, "a number")
        _expect(math.isfinite(value), path, "a finite number")
        return float(value)
    if kind is int:
        _expect(type(value) is int, path, "an integer")
        _expect(abs(value) <= _MAX_INTEGER, path, "an integer of at most 53 bits")
    elif kind is bool:
        _expect(type(value) is bool, path, "true or false")
    else:
        _expect(type(value) is str, path, "a string")
        _expect(len(value) <= _MAX_TEXT, path, f"a string of at most {_MAX_TEXT} characters")
        _expect(value.isprintable(), path, "printable text")  # nothing that could steer a terminal
    return value


def _encode(value: Any, kind: Any, path: str) -> Any:
    """The JSON value of a field: `_decode` read backwards, with the same types."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        _expect(type(value) is kind, path, f"a {kind.__name__}")
        written = {n: _encode(getattr(value, n), inner, _join(path, n)) for n, inner in _fields(kind).items()}
        omitted = _omitted(kind)
        return {n: v for n, v in written.items() if n not in omitted or getattr(value, n) != omitted[n]}
    if origin is types.UnionType:
        inner = next(k for k in typing.get_args(kind) if k is not types.NoneType)
        return None if value is None else _encode(value, inner, path)
    if origin is tuple:
        kinds = typing.get_args(kind)
        _expect(isinstance(value, tuple), path, "a tuple")
        kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        _expect(len(value) == len(kinds), path, f"a tuple of {len(kinds)} items")
        return [_encode(v, k, f"{path}[{i}]") for i, (v, k) in enumerate(zip(value, kinds, strict=True))]
    if origin is dict:
        _expect(isinstance(value, dict), path, "a dict")
        inner = typing.get_args(kind)[1]
        # Sorted: equal dicts may have been filled in different orders.
        return {_decode(k, str, path): _encode(value[k], inner, f"{path}.{k}") for k in sorted(value)}
    return _decode_scalar(value, kind, path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _expect(condition: bool, path: str, what: str) -> None:
    if not condition:
        raise ManifestError(f"{path or 'the manifest'}: this must be {what}", hint=_HINT)
