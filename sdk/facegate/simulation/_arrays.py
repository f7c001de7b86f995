"""The arrays of this package. numpy's type stubs lose float32 in every operation with a Python number."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[Any]
"""float32, unless said otherwise."""

Ints: TypeAlias = NDArray[np.integer[Any]]
"""Indices."""
