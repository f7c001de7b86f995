"""An access terminal: a camera, a gate, and a door that opens for a verified match and for nothing else.

`python -m facegate_terminal --config terminal.toml` is the service of a device; `--simulated` shows it anywhere.
"""
