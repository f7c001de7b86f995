"""What a package is made of, small: see `wheels`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from facegate._reference import BUNDLE
from facegate.cli import main
from facegate_convert import write_bundle
from facegate_convert._package import Settings, load_pins
from facegate_convert._package import _pins as pins_module
from facegate_edge import open_bundle
from facegate_edge._keys import SigningKey, TrustStore

from .wheels import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No wheelhouse, cache or trust of the user's is taken, and nothing is fetched."""
    monkeypatch.delenv("FACEGATE_WHEELS", raising=False)
    monkeypatch.delenv("FACEGATE_TRUST", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))

    def refuse(command: list[str]) -> None:
        raise AssertionError(f"a test would run {command[0]}")

    monkeypatch.setattr("facegate_convert._package._fetch.run", refuse)
    monkeypatch.setattr("facegate_convert._package._debs.run", refuse)


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Shelf:
    """A wheelhouse, pins, and a cache with everything that they name; the command line uses these pins."""
    made = Shelf(tmp_path / "shelf")
    monkeypatch.setattr(pins_module, "PINS", made.pins)
    return made


@pytest.fixture(scope="session")
def key() -> SigningKey:
    """The maker's key."""
    return SigningKey.from_seed(bytes(range(32)))


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory, key) -> Callable[..., Path]:
    """A function: changes of the manifest -> a bundle's file, signed unless told otherwise."""
    folder = tmp_path_factory.mktemp("bundles")

    def make(*, roles: tuple[str, ...] = ("detector", "recognizer"), signed: bool = True, **changes: Any) -> Path:
        with open_bundle(BUNDLE, development=True) as source:
            models = tuple(model for model in source.manifest.models if model.role in roles)
            manifest = replace(source.manifest, **{"name": "door", "version": "1.2.0", "models": models, **changes})
            data = {model.role: bytes(source.model_bytes(model.role)) for model in models}
        path = folder / f"{len(list(folder.iterdir()))}.fgb"
        write_bundle(path, manifest, data, key if signed else None)
        return path

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle) -> Path:
    """A signed bundle for any machine."""
    return make_bundle()


@pytest.fixture
def settings(shelf, bundle, key) -> Callable[..., Settings]:
    """A function: changes -> what a package is made of."""

    def make(**changes: Any) -> Settings:
        given: dict[str, Any] = {
            "target": "rpi4", "bundle": bundle, "trust": TrustStore([key.verify_key]), "wheels": shelf.wheels,
            "cache": shelf.cache, "pins": load_pins(shelf.pins), "offline": True,
        }  # fmt: skip
        return Settings(**{**given, **changes})

    return make


@pytest.fixture
def command(shelf, bundle, key, tmp_path, capsys) -> Callable[..., tuple[int, dict[str, Any]]]:
    """A function: more arguments -> (exit code, JSON) of `facegate package` for a Raspberry Pi 4."""
    public = tmp_path / "maker.pub"
    key.verify_key.save(public)

    def run(*arguments: object, **instead: object) -> tuple[int, dict[str, Any]]:
        options = {"target": "rpi4", "bundle": bundle, "trust": public, "wheels": shelf.wheels, "cache": shelf.cache}
        given = [f"--{name}={value}" for name, value in {**options, **instead}.items() if value is not None]
        code = main(["package", "--offline", *given, *map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run
