"""How the REST API describes what a definition takes and gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .specs import InputParameter, WorkflowSpec


def summarise_input(parameters: Sequence[InputParameter]) -> str:
    """Return a workflow's parameters on one line: ``a, b="5"``."""
    return ", ".join(
        parameter.name if parameter.required else f'{parameter.name}="{parameter.default}"'
        for parameter in parameters
    )


def summarise_action_input(parameters: Sequence[InputParameter]) -> str:
    """Return an ad-hoc action's parameters on one line: ``name, greet="hello", n=null``."""
    return ", ".join(
        parameter.name
        if parameter.required
        else f"{parameter.name}={json.dumps(parameter.default, ensure_ascii=False)}"
        for parameter in parameters
    )


def interface(spec: WorkflowSpec) -> dict[str, list[Any]]:
    """Return the parameters as declared and the names of the outputs."""
    return {"input": list(spec.raw.get("input", ())), "output": list(spec.output or ())}
