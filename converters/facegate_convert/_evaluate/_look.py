"""A photograph's look in 256 bits: near-identical pictures differ in few; no picture comes back from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from facegate_edge._values import Frame

_SIDE = 16
_ENOUGH = 256  # pixels of the shorter side that are looked at


def look(frame: Frame) -> npt.NDArray[np.uint8]:
    """The difference hash of a frame: is each of 16x16 areas of its luma darker than the one to its right?

    Args:
        frame: RGB or GRAY, as `load_image` gives it.

    Returns:
        uint8 (32,), the 256 bits by rows.
    """
    import numpy as np  # noqa: PLC0415 - not for the command line's help
    from PIL import Image  # noqa: PLC0415

    data = frame.data
    step = max(1, min(data.shape[:2]) // _ENOUGH)
    image = Image.fromarray(np.ascontiguousarray(data[::step, ::step])).convert("L")
    turned = image.rotate(-frame.rotation, expand=True) if frame.rotation else image
    small = np.asarray(turned.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1])
