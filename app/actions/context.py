"""What a running action may know about where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionContext:
    """Where a run of an action belongs; handed to actions that ask for ``context``."""

    workflow_name: str | None = None
    workflow_execution_id: str | None = None
    task_name: str | None = None
    task_execution_id: str | None = None
    #: None when the run is not recorded.
    action_execution_id: str | None = None
    #: Where the result of an asynchronous action is to be sent, relative to the API's address.
    callback_url: str | None = None
    project_id: str | None = None
    #: Place in with-items; None for an ordinary task.
    with_items_index: int | None = None

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> ActionContext:
        """The context that a request to an executor carries."""
        return cls(**{name: data[name] for name in _NAMES if name in data})

    @property
    def execution(self) -> ExecutionContext:
        """The same under the names that actions written for Mistral use."""
        return ExecutionContext(self)

    @property
    def security(self) -> SecurityContext:
        """Whose run it is. Celeriac gives actions no credentials."""
        return SecurityContext(self.project_id)

    # Older actions written for Mistral ask the context itself.

    @property
    def auth_token(self) -> None:
        return None

    @property
    def auth_uri(self) -> None:
        return None

    @property
    def user_name(self) -> None:
        return None


class ExecutionContext:
    """What mistral-lib calls ``context.execution``."""

    task_rerun_no = None
    task_rerun_id = None
    workflow_propagated_headers = None

    def __init__(self, context: ActionContext) -> None:
        self.workflow_name = context.workflow_name
        self.workflow_execution_id = context.workflow_execution_id
        self.task_execution_id = self.task_id = context.task_execution_id
        self.action_execution_id = context.action_execution_id
        self.callback_url = context.callback_url
        self.with_items_index = context.with_items_index


class SecurityContext:
    """What mistral-lib calls ``context.security``, without any credential."""

    auth_uri = None
    auth_token = None
    auth_cacert = None
    insecure = None
    service_catalog = None
    region_name = None
    is_trust_scoped = False
    is_target = False
    trust_id = None
    expires_at = None
    project_name = None
    user_name = None
    redelivered = False

    def __init__(self, project_id: str | None) -> None:
        self.project_id = project_id


_NAMES = tuple(each.name for each in fields(ActionContext))
