"""Input sets: l_p balls with scalar or per-coordinate eps, boxes, clipping to a range, products."""

from jaxcert.regions.construct import box, l1_ball, l2_ball, linf_ball, lp_ball
from jaxcert.regions.contain import contains
from jaxcert.regions.interval import interval
from jaxcert.regions.is_box import is_box
from jaxcert.regions.linear import linear_range, minimize_linear
from jaxcert.regions.minimizer import linear_minimizer
from jaxcert.regions.nearest import nearest_in_halfspace, nearest_on_hyperplane
from jaxcert.regions.product import flattened, pack, product, unpack
from jaxcert.regions.project import project
from jaxcert.regions.sample import corner, sample
from jaxcert.regions.scale import scaled
from jaxcert.regions.types import Box, LpBall, Product, Region

__all__ = [
    "Box",
    "LpBall",
    "Product",
    "Region",
    "box",
    "contains",
    "corner",
    "flattened",
    "interval",
    "is_box",
    "l1_ball",
    "l2_ball",
    "linear_minimizer",
    "linear_range",
    "linf_ball",
    "lp_ball",
    "minimize_linear",
    "nearest_in_halfspace",
    "nearest_on_hyperplane",
    "pack",
    "product",
    "project",
    "sample",
    "scaled",
    "unpack",
]
