"""The runtime's version, known without reading package metadata. A test holds it equal to setup.cfg."""

VERSION = "0.1.0"
