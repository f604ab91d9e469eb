"""What Alembic runs: the migrations, over the connection that ``app.models.migrate`` gives it."""

from __future__ import annotations

from typing import Any

from alembic import context

from app.models.rows import Base
from app.models.types import JSONText, UTCDateTime


def _render(kind: str, value: Any, autogen_context: Any) -> str | bool:
    """Our column types by their short names; the template imports them."""
    if kind == "type" and isinstance(value, JSONText | UTCDateTime):
        return f"{type(value).__name__}()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=_render,
    compare_type=True,
    # SQLite too: our connections begin real transactions, so a failed step leaves nothing.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
