"""Making the one file that installs everything on a device, without a network there.

docs/package.md describes the file, docs/adr/0034 why it is as it is. Import this inside functions, as all of the room.
"""

from __future__ import annotations

from facegate_convert._package._build import Package, Settings, plan, write_package
from facegate_convert._package._contents import Part
from facegate_convert._package._pins import load_pins
from facegate_convert._package._systems import packageable

__all__ = ["Package", "Part", "Settings", "load_pins", "packageable", "plan", "write_package"]
