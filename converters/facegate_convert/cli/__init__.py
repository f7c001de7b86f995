"""The converter's commands, a module for each group of them.

The `facegate` command line finds them through its entry points and gives them an `Output`. What a command needs is
imported when it runs: `--help` must not wait for onnx.
"""
