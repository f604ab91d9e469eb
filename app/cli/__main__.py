"""``python -m app.cli`` is ``celeriac``."""

from app.cli import main

main(prog_name="celeriac")
