"""What the OpenAPI document shows as examples: one story, an order that is shipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WORKFLOW = "11d5a1a2-7b0e-4f7e-9d0f-5a1f0c6a1001"
_EXECUTION = "11d5a1a2-7b0e-4f7e-9d0f-5a1f0c6a1002"
_TASK = "11d5a1a2-7b0e-4f7e-9d0f-5a1f0c6a1003"
_RUN = "11d5a1a2-7b0e-4f7e-9d0f-5a1f0c6a1004"
_TRIGGER = "11d5a1a2-7b0e-4f7e-9d0f-5a1f0c6a1005"
_AT = "2026-03-01 08:00:00"
_OWNED = {"project_id": "<default-project>", "scope": "private", "created_at": _AT}

WORKFLOWS = """\
version: '2.0'

ship:
  input: [order]
  tasks:
    pack:
      action: std.echo output=<% $.order %>
      publish: {parcel: <% task().result %>}
      on-success: label
    label:
      action: std.noop
      retry: {count: 3, delay: 5}
"""

#: Path -> the text that its operations take.
TEXTS: Mapping[str, str] = {
    "/v2/workflows": WORKFLOWS,
    "/v2/workbooks": "version: '2.0'\nname: orders\nworkflows:\n"
    "  cancel: {tasks: {note: {action: std.noop}}}\n",
    "/v2/actions": "version: '2.0'\n\ngreet:\n  base: std.echo\n  input: [name]\n"
    "  base-input: {output: 'Hello, <% $.name %>'}\n",
    "/v2/code_sources": "class Greet:\n    def __init__(self, name):\n        self.name = name\n\n"
    "    def run(self, context):\n        return f'Hello, {self.name}'\n",
}

_EXECUTION_SHOWN = {
    "id": _EXECUTION,
    "workflow_id": _WORKFLOW,
    "workflow_name": "ship",
    "workflow_namespace": "",
    "description": "the first order",
    "tags": [],
    "params": '{"namespace": "", "env": {}}',
    "input": '{"order": 17}',
    "output": '{"parcel": 17}',
    "state": "SUCCESS",
    "state_info": None,
    "created_at": _AT,
    "updated_at": "2026-03-01 08:00:01",
    "project_id": "<default-project>",
}
_TASK_SHOWN = {
    "id": _TASK,
    "name": "pack",
    "type": "ACTION",
    "workflow_name": "ship",
    "workflow_namespace": "",
    "workflow_id": _WORKFLOW,
    "workflow_execution_id": _EXECUTION,
    "state": "SUCCESS",
    "state_info": None,
    "runtime_context": "{}",
    "result": "17",
    "published": '{"parcel": 17}',
    "processed": True,
    "created_at": _AT,
    "finished_at": _AT,
}
_RUN_SHOWN = {
    "id": _RUN,
    "name": "std.echo",
    "task_name": "pack",
    "task_execution_id": _TASK,
    "workflow_name": "ship",
    "state": "SUCCESS",
    "accepted": True,
    "input": '{"output": 17}',
    "output": '{"result": 17}',
    "created_at": _AT,
}

#: Name of a schema -> a value of it.
SCHEMAS: Mapping[str, Any] = {
    "Fault": {
        "faultcode": "Client",
        "faultstring": f"WorkflowExecution not found [id={_EXECUTION}]",
        "debuginfo": None,
    },
    "ShortFault": {"faultstring": "Invalid DSL: Task 'labl' not found. (line 9, column 19)"},
    "WrittenWorkflows": {
        "workflows": [{"id": _WORKFLOW, "name": "ship", "namespace": "", "input": "order"}]
    },
    "WorkflowList": {"workflows": [{"id": _WORKFLOW, "name": "ship", "input": "order"} | _OWNED]},
    "Validity": {"valid": True},
    "NewExecution": {
        "workflow_name": "ship",
        "input": {"order": 17},
        "description": "the first order",
    },
    "Execution": _EXECUTION_SHOWN,
    "ExecutionList": {
        "executions": [_EXECUTION_SHOWN],
        "next": "http://127.0.0.1:8989/v2/executions?sort_keys=created_at,id&sort_dirs=asc,asc"
        f"&limit=1&marker={_EXECUTION}",
    },
    "Task": _TASK_SHOWN,
    "TaskUpdate": {"state": "RUNNING", "reset": True},
    "ActionExecution": _RUN_SHOWN,
    "NewRun": {"name": "std.echo", "input": {"output": "hello"}, "params": {"run_sync": True}},
    "RunReport": {"state": "SUCCESS", "output": {"parcel": 17}},
    "WrittenEnvironment": {"name": "testing", "variables": {"carrier": "none"}},
    "Environment": {"name": "testing", "variables": '{"carrier": "none"}'} | _OWNED,
    "NewCronTrigger": {
        "name": "every-morning",
        "workflow_name": "ship",
        "workflow_input": {"order": 17},
        "pattern": "0 8 * * *",
    },
    "CronTrigger": {
        "id": _TRIGGER,
        "name": "every-morning",
        "workflow_name": "ship",
        "workflow_id": _WORKFLOW,
        "workflow_input": '{"order": 17}',
        "pattern": "0 8 * * *",
        "next_execution_time": "2026-03-02 08:00:00",
    }
    | _OWNED,
    "WrittenEventTrigger": {
        "name": "ordered",
        "workflow_id": _WORKFLOW,
        "exchange": "shop",
        "topic": "orders",
        "event": "order.created",
    },
    "WrittenMember": {"member_id": "warehouse"},
    "NewStatus": {"status": "PAUSED"},
}


def show(spec: Any) -> None:
    """Put the examples into *spec*, the document with all resources."""
    for name, example in SCHEMAS.items():
        spec.components.schemas[name]["example"] = example
    for path, text in TEXTS.items():
        for operation in spec._paths[path].values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                content["example"] = text


__all__ = ["SCHEMAS", "TEXTS", "WORKFLOWS", "show"]
