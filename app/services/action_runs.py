"""Actions that were run alone, for no task: their results are recorded here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.core.events import ActionCompleted, load
from app.models import ActionExecution, utcnow
from app.services.mapping import A


def complete(session: Session, data: Mapping[str, Any]) -> None:
    """Record the end of an action that was run alone; a second word of it changes nothing."""
    event = load(data)
    if not isinstance(event, ActionCompleted):
        return
    session.execute(
        update(ActionExecution)
        .where(A.id == event.action_id, A.state.in_(["RUNNING", "PAUSED"]))
        .values(
            state=str(event.state),
            output={"result": event.result},
            accepted=True,
            updated_at=utcnow(),
            check_at=None,
        ),
        execution_options={"synchronize_session": False},
    )
