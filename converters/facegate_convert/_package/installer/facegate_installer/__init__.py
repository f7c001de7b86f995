"""Installs a device package: verifies, unpacks, switches, rolls back. Standard library only, nothing of facegate.

It runs from the package's zip archive as well as installed, as `/opt/facegate/current/bin/facegate-package`.
"""
