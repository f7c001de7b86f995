"""What emulated runs measured, for the end of the test run: one list, however often conftest.py is imported."""

MEASURED: list[str] = []
