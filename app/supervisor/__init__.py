"""Everything on one machine: the processes of an installation under one parent.

    supervisor = Supervisor(Options(data=Path(".celeriac")))
    status = supervisor.run(then=lambda addresses: run_an_example(addresses))

It knows the processes as command lines. All Python ones are forked from one parent that has
imported what they need, so that they share its memory.
"""

from __future__ import annotations

from .supervisor import AlreadyRunning, NotStarted, Options, Supervisor

__all__ = ["AlreadyRunning", "NotStarted", "Options", "Supervisor"]
