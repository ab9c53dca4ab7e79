"""Where programs run: a mesh of devices over which batches are shared out, and processes on several hosts."""

from jaxcert.devices.mesh import ONE_DEVICE, Devices, MeshSpec, open_mesh, parse_mesh
from jaxcert.devices.processes import Processes, is_first, join, on_all, on_first, require_same

__all__ = [
    "ONE_DEVICE",
    "Devices",
    "MeshSpec",
    "Processes",
    "is_first",
    "join",
    "on_all",
    "on_first",
    "open_mesh",
    "parse_mesh",
    "require_same",
]
