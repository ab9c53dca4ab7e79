"""Convolutions for bound propagation: three mutually transposed bilinear primitives, lowered per platform."""

from jaxcert.kernels.interface import conv, conv_general_dilated, conv_transpose, conv_weight_grad
from jaxcert.kernels.substitute import with_kernels

__all__ = ["conv", "conv_general_dilated", "conv_transpose", "conv_weight_grad", "with_kernels"]
