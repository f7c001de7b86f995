"""A wheel's bytes as a function of its contents: one order, one date, one mode, one way to pack."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import time
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SHARED_OBJECT = 0o100755
FILE = 0o100644


def record_hash(content: bytes) -> str:
    """As RECORD writes it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


def record(members: dict[str, bytes], name: str) -> bytes:
    """RECORD of `members`, itself at the end and without a hash."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for member, content in members.items():
        writer.writerow((member, record_hash(content), len(content)))
    writer.writerow((name, "", ""))
    return text.getvalue().encode()


def repack(wheel: Path, to: Path, epoch: int) -> None:
    """Write the contents of `wheel` to `to`.

    Members are in the order of their names, metadata last as the wheel format recommends, RECORD the very last.
    """
    with zipfile.ZipFile(wheel) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    name = next(member for member in members if member.endswith(".dist-info/RECORD"))
    del members[name]
    metadata = name.removesuffix("RECORD")
    members = dict(sorted(members.items(), key=lambda item: (item[0].startswith(metadata), item[0])))
    members[name] = record(members, name)
    date = time.gmtime(epoch)[:6]
    with zipfile.ZipFile(to, "w") as archive:
        for member, content in members.items():
            info = zipfile.ZipInfo(member, date)
            info.create_system = 3  # Unix: the modes mean something
            info.external_attr = (SHARED_OBJECT if member.endswith(".so") else FILE) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=9)
