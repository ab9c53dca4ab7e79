"""Input sets: l_p balls with scalar or per-coordinate eps, boxes, and clipping to a range."""

from jaxcert.regions.types import Box, LpBall, Region

__all__ = ["Box", "LpBall", "Region"]
