"""The workflow language: text in, immutable specs out.

``parse_workflows``, ``parse_actions`` and ``parse_workbook`` read what a user wrote and tell
everything that is wrong with it; ``load_workflow`` and ``load_action`` read what was stored.
"""

from .limits import DEFAULT, Limits
from .loading import load_action, load_workflow
from .parsing import (
    ActionList,
    Workbook,
    WorkflowList,
    check_names,
    lint,
    parse_actions,
    parse_workbook,
    parse_workflows,
)
from .specs import (
    ENGINE_COMMANDS,
    ActionSpec,
    Clause,
    InputParameter,
    Policies,
    Publish,
    Retry,
    TaskSpec,
    Transition,
    WithItem,
    WorkbookSpec,
    WorkflowSpec,
)
from .summaries import interface, summarise_action_input, summarise_input

__all__ = [
    "DEFAULT",
    "ENGINE_COMMANDS",
    "ActionList",
    "ActionSpec",
    "Clause",
    "InputParameter",
    "Limits",
    "Policies",
    "Publish",
    "Retry",
    "TaskSpec",
    "Transition",
    "WithItem",
    "Workbook",
    "WorkbookSpec",
    "WorkflowList",
    "WorkflowSpec",
    "check_names",
    "interface",
    "lint",
    "load_action",
    "load_workflow",
    "parse_actions",
    "parse_workbook",
    "parse_workflows",
    "summarise_action_input",
    "summarise_input",
]
