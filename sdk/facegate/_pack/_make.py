"""Making a review pack: of a gate, by its privacy officer; or of a bundle alone."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from facegate._pack._evaluation import load_result
from facegate._pack._facts import Facts, read_bundle, read_gate
from facegate._pack._write import DOCUMENT, build_members, whole_or_no_pack, write_pack
from facegate.errors import PackError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from facegate._core import GateCore
    from facegate._pack._facts import BundleFacts
    from facegate_edge._bundle import Bundle

__all__ = ["pack_bundle", "pack_gate"]

ROLE = "privacy_officer"
_MAX_RECEIVERS, _MAX_RECEIVER = 16, 100
_ADDRESS = re.compile(r"://|^[/~]|[\\@]|fgc_|whsec_", re.IGNORECASE)


def pack_gate(
    gate: GateCore,
    label: str,
    path: str | os.PathLike[str],
    *,
    evaluation: str | os.PathLike[str] | None = None,
    receivers: Sequence[str] = (),
) -> Path:
    """Write a pack about a gate on disk. The entry in the log and the file are there together or neither is.

    Raises:
        PackError: the gate is in memory, the evaluation is damaged or of another bundle, a receiver is no name.
        ExportError: something is at `path`, or it cannot be written; nothing is left behind.
        BundleError: the bundle in the gate's folder is not as it was signed.
    """
    named = _names(receivers)
    with gate.reading(label):  # the gate answers nobody meanwhile: only what must be of one moment
        now = gate.now()
        found = read_gate(gate, now, named)
        bundle = _own_bundle(gate)
    result = load_result(evaluation, bundle) if evaluation is not None else None
    facts = Facts.gather(bundle, found, result, now.time)
    members = build_members(facts)
    with whole_or_no_pack(path), gate.operation(ROLE, label) as work:
        digest = hashlib.sha256(members[DOCUMENT]).hexdigest()
        work.log("review_pack_written", details={"bundle": bundle.id, "policy": gate.policy_id, "pack": digest})
        return write_pack(path, members, key=gate.device, device=gate.device_id, time=facts.time)


def pack_bundle(
    bundle: Bundle, path: str | os.PathLike[str], *, evaluation: str | os.PathLike[str] | None = None
) -> Path:
    """Write a pack about a bundle alone; nobody signs it. Raises PackError, ExportError: see `pack_gate`."""
    found = read_bundle(bundle)
    result = load_result(evaluation, found) if evaluation is not None else None
    facts = Facts.gather(found, None, result)
    return write_pack(path, build_members(facts), key=None, device="", time=facts.time)


def _own_bundle(gate: GateCore) -> BundleFacts:
    """The bundle of the gate's folder, checked once more: the pack tells of the file, not of what was in memory."""
    from facegate._gate_folder import BUNDLE, TRUST  # noqa: PLC0415 - what an open gate has loaded already
    from facegate_edge._bundle import open_bundle  # noqa: PLC0415
    from facegate_edge._keys import TrustStore  # noqa: PLC0415

    assert gate.folder is not None  # noqa: S101 - `read_gate` has refused one in memory
    with open_bundle(gate.folder / BUNDLE, trust=TrustStore.load(gate.folder / TRUST)) as bundle:
        if bundle.id != gate.bundle_id:
            raise PackError(
                "the bundle in the gate's folder is another one than the gate has open", hint="open the gate again"
            )
        return read_bundle(bundle)


def _names(receivers: Sequence[str]) -> tuple[str, ...]:
    """What takes decisions, by name. Raises PackError: an address or a secret, which a pack does not hold."""
    if isinstance(receivers, str) or len(receivers) > _MAX_RECEIVERS:
        raise PackError(f"receivers are given as up to {_MAX_RECEIVERS} names", hint="such as door controller")
    for name in receivers:
        fits = isinstance(name, str) and 0 < len(name) <= _MAX_RECEIVER and name.isprintable() and name == name.strip()
        if not fits or _ADDRESS.search(name):
            raise PackError(
                f"a receiver is named in one line of up to {_MAX_RECEIVER} characters, not by its address",
                hint="such as door controller, JSON lines; addresses and secrets do not go into a pack",
            )
    return tuple(receivers)
