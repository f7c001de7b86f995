"""A person's data to take along: JSON in a ZIP, with its schema and a page that explains it."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from facegate._decision import format_time
from facegate._rights._archive import as_json, build_archive
from facegate._rights._record import person_record

if TYPE_CHECKING:
    from facegate._clock_guard import TrustedTime
    from facegate._core import GateCore

__all__ = ["build_export"]

_README = """\
What this gate holds about {reference}

export.json          the data; every field is explained in export.schema.json (JSON Schema, draft 2020-12)
export.schema.json   that explanation
statement.jws        the device's signature (JSON Web Signature, Ed25519) over the SHA-256 of the other files;
                     its public key is the operator's to give

Device {device}, {time}. Questions: {contact}
{templates}"""
_WITH = """
export.json holds the templates too: biometric data. They were turned by a secret of this gate and are of no use with
another one. Keep this file where you would keep a passport.
"""
_WITHOUT = """
The templates of the face, which are biometric data, are not in it. They can be asked for.
"""


def build_export(gate: GateCore, reference: str, now: TrustedTime, *, templates: bool) -> bytes:
    """The bytes of a person's ZIP.

    Args:
        gate: whose.
        reference: the person's.
        now: the time that counts.
        templates: put the templates in as well, base64 of int8, in the gate's own rotated space.
    """
    document = person_record(gate, reference, now)
    if templates:
        document["templates"] = _templates(gate, reference)
    time = format_time(now.time)
    readme = _README.format(
        reference=reference,
        device=gate.device_id,
        time=time,
        contact=gate.declaration.contact,
        templates=_WITH if templates else _WITHOUT,
    )
    members = {
        "README.txt": readme.encode(),
        "export.json": as_json(document),
        "export.schema.json": (files("facegate") / "export.schema.json").read_bytes(),
    }
    return build_archive(members, key=gate.device, device=gate.device_id, kind="person", time=time)


def _templates(gate: GateCore, reference: str) -> list[dict[str, Any]]:
    person = gate.store.person(reference)
    if person is None or person.lapsed:
        return []
    found = []
    for template in gate.store.templates_of(person.id):
        found.append({"space": template.space, "data": base64.b64encode(template.data.tobytes()).decode("ascii")})
        template.wipe()
    return found
