"""The hosted evaluation protocol, both ends of it."""
