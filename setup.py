"""Only what setup.cfg cannot say: the C extension and its stable-ABI wheel tag."""

from setuptools import setup

setup(
    cffi_modules=["edge_runtime/csrc/build_native.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
