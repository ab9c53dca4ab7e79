"""Every bounding method that the common tables run."""

import jaxcert as jc

IBP = {"ibp": jc.ibp()}
FORWARD = {"forward": jc.forward()}
BACKWARD = {
    "fast_lin": jc.fast_lin(),
    "crown": jc.crown(),
    "crown_zero": jc.crown(slope=jc.slopes.zero),
    "crown_one": jc.crown(slope=jc.slopes.one),
    "crown_ibp": jc.crown_ibp(),
}
METHODS = {**IBP, **BACKWARD}
# For tables over all architectures: the extreme slopes differ only in the relaxations, tested on their own.
FEWER = FORWARD | {name: METHODS[name] for name in ("ibp", "fast_lin", "crown", "crown_ibp")}
