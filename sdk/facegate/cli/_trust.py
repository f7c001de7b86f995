"""The options by which a command says whom it trusts, alike for all that open a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate_edge._bundle import open_bundle
from facegate_edge._keys import TrustStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_edge._bundle import Bundle

__all__ = ["open_trusted", "trust_options"]


def trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--trust` and `--development` to a command, as `trust` and `development`."""
    development = click.option(
        "--development", is_flag=True, help="Open unsigned and unknown bundles; every decision is marked."
    )
    trust = click.option(
        "--trust",
        type=click.Path(path_type=Path),
        envvar="FACEGATE_TRUST",
        help="The signer's public key, or a folder of them (*.pub). Also from FACEGATE_TRUST.",
    )
    return trust(development(command))


def open_trusted(path: Path, trust: Path | None, *, development: bool) -> Bundle:
    """Open a bundle as the options say. Raises click.UsageError if they say nothing."""
    if trust is None and not development:
        raise click.UsageError("say whom to trust with --trust KEY.pub, or use --development")
    store = TrustStore.load(trust) if trust is not None else None
    return open_bundle(path, trust=store, development=development)
