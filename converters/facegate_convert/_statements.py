"""What an ONNX file says about itself in its `metadata_props`, as far as the converter believes it.

- `facegate.demonstration` = "true": good for demonstrations only. It travels with the model into every bundle; there is
  no option that takes it away.
- `facegate.licence`: SPDX expression of the weights' licence, for a caller who says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert.errors import InvalidGraphError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEMONSTRATION, LICENCE = "facegate.demonstration", "facegate.licence"
UNKNOWN = "unknown"
_BOOLEAN = {"true": True, "false": False}
_MAX_LICENCE = 200


def is_demonstration(metadata: Mapping[str, str]) -> bool:
    """Whether the model says that it is good for demonstrations only.

    Raises:
        InvalidGraphError: it says neither yes nor no. Taking that for either would be a guess.
    """
    said = metadata.get(DEMONSTRATION, "false")
    if said not in _BOOLEAN:
        raise InvalidGraphError(
            f"the model's metadata {DEMONSTRATION} is neither true nor false", hint='write "true" or "false"'
        )
    return _BOOLEAN[said]


def licence_of(metadata: Mapping[str, str]) -> str:
    """The licence that the model states, "unknown" if it states none.

    Raises:
        InvalidGraphError: what it states is no licence's name.
    """
    said = metadata.get(LICENCE, "").strip()
    if len(said) > _MAX_LICENCE or not said.isprintable():
        raise InvalidGraphError(
            f"the model's metadata {LICENCE} is no licence", hint="write an SPDX expression, e.g. Apache-2.0"
        )
    return said or UNKNOWN
