"""The reference bundle: models that the project trained on faces it rendered itself, for demonstrations and tests.

They recognise rendered faces and nobody else. The bundle is marked `demonstration`, and so is every decision made with
it. It is made by `make reference` (converters/build_reference.py) and signed with a key that was thrown away.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facegate_edge._bundle import open_bundle
from facegate_edge._keys import TrustStore
from facegate_edge.errors import BundleReadError

if TYPE_CHECKING:
    from facegate._policy import Policy
    from facegate_edge._bundle import Bundle

__all__ = ["BUNDLE", "KEY", "POLICY", "open_reference_bundle", "reference_policy"]

BUNDLE, KEY, POLICY = (Path(__file__).with_name(f"reference.{name}") for name in ("fgb", "pub", "policy.json"))


def open_reference_bundle() -> Bundle:
    """Open the bundle that comes with the package, checked like any other, against the key that comes with it.

    It proves no more than that the two belong together: who can replace the one can replace the other. That is enough
    for what decides about nobody.

    Raises:
        BundleReadError: this installation has none.
        BundleError: one of its subclasses, if the file was changed.
    """
    _check(BUNDLE)
    _check(KEY)
    return open_bundle(BUNDLE, trust=TrustStore.load(KEY))


def reference_policy() -> Policy:
    """The rules that go with the reference bundle: an operating point it has, measured limits of its liveness model.

    Their limit of pitch is wider than a policy's default, because the mean face that pitch is measured against is that
    of real people, and rendered noses are longer.

    Raises:
        BundleReadError: this installation has no reference bundle.
    """
    from facegate._policy_json import load_policy  # noqa: PLC0415 - opening the bundle needs none of it

    _check(POLICY)
    return load_policy(POLICY)


def _check(path: Path) -> None:
    if not path.is_file():
        raise BundleReadError(
            "this installation has no reference bundle", hint="from source, `make reference` builds it; or use your own"
        )
