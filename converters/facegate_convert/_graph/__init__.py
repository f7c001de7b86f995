"""ONNX files as canonical graphs: static shapes, constants folded, one form for each operation."""

from facegate_convert._graph._load import load_graph
from facegate_convert._graph._values import Graph, Node, Value

__all__ = ["Graph", "Node", "Value", "load_graph"]
