"""All the resources, in the order in which the document shows them."""

from __future__ import annotations

from typing import Any

from . import (
    action_executions,
    actions,
    code_sources,
    cron_triggers,
    environments,
    event_triggers,
    events,
    executions,
    maintenance,
    members,
    notifications,
    root,
    tasks,
    workbooks,
    workflows,
)

BLUEPRINTS = (
    root.blp,
    workflows.blp,
    workbooks.blp,
    actions.blp,
    executions.blp,
    tasks.blp,
    action_executions.blp,
    events.blp,
    environments.blp,
    cron_triggers.blp,
    event_triggers.blp,
    notifications.blp,
    members.blp,
    code_sources.blp,
    maintenance.blp,
)

#: What the OpenAPI document says of the whole.
DOCUMENT: dict[str, Any] = {
    "info": {
        "description": "Workflows in Mistral's language, over Mistral's API.",
        "license": {"name": "Apache-2.0"},
    },
}
