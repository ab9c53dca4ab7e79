"""A user's function as a graph of about fifteen op kinds."""

from jaxcert.graph.ir import Graph, Node
from jaxcert.graph.jaxpr import trace

__all__ = ["Graph", "Node", "trace"]
