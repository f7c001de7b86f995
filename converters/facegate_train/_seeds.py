"""Which seeds belong to whom: no identity and no scene of one split ever appears in another."""

from __future__ import annotations

from dataclasses import dataclass

_WIDTH = 1_000_000


@dataclass(frozen=True, slots=True)
class Split:
    """A range of seeds for identities and scenes.

    Attributes:
        name: "train", "validation" or "test".
        first: the lowest seed.
        width: how many seeds there are.
    """

    name: str
    first: int
    width: int = _WIDTH

    def seed(self, index: int) -> int:
        """The seed of the identity or scene number `index`.

        Raises:
            ValueError: it would lie in another split.
        """
        if not 0 <= index < self.width:
            raise ValueError(f"the split {self.name} has no seed number {index}")
        return self.first + index


TRAIN = Split("train", 0)
VALIDATION = Split("validation", 1_000_000)
TEST = Split("test", 2_000_000)
SPLITS = {split.name: split for split in (TRAIN, VALIDATION, TEST)}

# Within a split, scenes with several people take identities from the far end, so that none of the recogniser's is among
# them; each role has a block of its own.
DETECTOR_IDENTITIES = 500_000
LIVENESS_IDENTITIES = 750_000
