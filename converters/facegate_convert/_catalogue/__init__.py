"""Upstream models described by data, and how they are fetched."""
