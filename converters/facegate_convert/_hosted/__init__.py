"""The hosted evaluation protocol: face crops in, features out, as a client and as a server of the build host."""
