"""Upstream models described by data, and how they are fetched."""

from facegate_convert._catalogue._entry import Entry, Licence, catalogue, find, identify
from facegate_convert._catalogue._pull import Pulled, pull

__all__ = ["Entry", "Licence", "Pulled", "catalogue", "find", "identify", "pull"]
