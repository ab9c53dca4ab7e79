"""Options that say on which devices a command runs, and with which other processes."""

from dataclasses import dataclass

from jaxcert.devices import Devices, Processes, join, open_mesh, parse_mesh


@dataclass(frozen=True)
class Machines:
    """Devices and processes; they change how fast results come, not the results."""

    mesh: str | None = None
    """Share every batch out among devices, such as data=8; None: one device, or all of several processes."""
    distributed: bool = False
    """One of several processes with the same command; TPU pods, SLURM, Open MPI tell them of each other."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where the cluster does not tell; with --processes and --process-id."""
    processes: int | None = None
    """Number of processes."""
    process_id: int | None = None
    """Number of this process, from 0; process 0 writes all files."""


def assembled(machines: Machines) -> Devices:
    """The devices that the options ask for, after this process has joined the others.

    Raises:
      ConfigError: the options contradict each other, or ask for what there is not.
    """
    spec = None if machines.mesh is None else parse_mesh(machines.mesh)
    processes = Processes(machines.coordinator, machines.processes, machines.process_id)
    if machines.distributed or machines.coordinator is not None:
        join(processes)
    return open_mesh(spec)
