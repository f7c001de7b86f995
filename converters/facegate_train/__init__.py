"""The build host's training of the three reference models, on rendered faces (extra `train`).

    python -m facegate_train all

It renders pictures with `facegate.simulation`, trains a detector, a recogniser and a liveness model on them with torch,
writes each as ONNX, and measures them on identities and scenes that no training saw. Nobody imports this package:
its models travel as files.
"""
