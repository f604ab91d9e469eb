"""A short run of the simulator on the engine's services, on each kind of database."""

from __future__ import annotations

import os

from app.models import Database
from tests.simulation.service import run

#: Workflows on each database; each is played in a quiet and in a wild installation.
WORKFLOWS = 60
FIRST = int(os.environ.get("SIMULATION_SEED", 0))


def test_services_keep_what_the_conductor_decided(database_url: str) -> None:
    database = Database(database_url)
    try:
        for seed in range(FIRST, FIRST + WORKFLOWS):
            try:
                run(database, seed)
            except Exception as err:
                err.add_note(f"SIMULATION_SEED={seed}")
                raise
    finally:
        database.engine.dispose()
