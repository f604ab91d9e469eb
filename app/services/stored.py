"""What is stored about one execution, as far as a decision asks for it.

The conductor's ``Lookup`` on database rows. What never changes (parsed definitions, contexts,
inputs) is kept between transactions, by an id under which nothing else can ever be found; all
else is read in the transaction that holds the execution's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, or_, select
from sqlalchemy.orm import Session

from app.actions import dynamic
from app.actions.registry import Registry
from app.core.data_flow import Context
from app.core.evaluation import collect, text_of_time
from app.core.execution import Action, ActionInfo, Child, Execution, FoundWorkflow, Task
from app.core.language import load_action, load_workflow
from app.core.language.specs import ActionSpec, WorkflowSpec
from app.core.states import TERMINAL, State
from app.models import (
    ActionDefinition,
    DynamicAction,
    WorkflowExecution,
    WorkflowSpecRow,
)
from app.services import definitions, mapping
from app.services.kept import Kept
from app.services.mapping import A, C, E, T

_TERMINAL = [str(state) for state in TERMINAL]


_specs: Kept[str, WorkflowSpec] = Kept(512)
_contexts: Kept[str, Context] = Kept(4096)
_inputs: Kept[str, Mapping[str, Any]] = Kept(2048)

_INPUTS = select(E.id, E.input).where(E.id.in_(bindparam("ids", expanding=True)))


def spec(session: Session, spec_id: str) -> WorkflowSpec:
    """The parsed workflow with this id."""
    found = _specs.get(spec_id)
    if found is None:
        data = session.execute(
            select(WorkflowSpecRow.data).where(WorkflowSpecRow.id == spec_id)
        ).scalar_one()
        found = _specs.put(spec_id, load_workflow(data))
    return found


def contexts(session: Session, ids: Iterable[str]) -> dict[str, Context]:
    """The contexts with these ids; what they stand on is loaded with them."""
    wanted = list(dict.fromkeys(ids))
    found: dict[str, Context] = {}
    missing: list[str] = []
    for context_id in wanted:
        known = _contexts.get(context_id)
        if known is not None:
            found[context_id] = known
        else:
            missing.append(context_id)
    if not missing:
        return found
    rows: dict[str, Any] = {}
    open_ids = missing
    while open_ids:
        loaded = session.execute(
            select(C.id, C.parent_id, C.data, C.versions).where(C.id.in_(open_ids))
        ).all()
        rows.update((row.id, row) for row in loaded)
        open_ids = [
            row.parent_id
            for row in loaded
            if row.parent_id and row.parent_id not in rows and _contexts.get(row.parent_id) is None
        ]
    for context_id in missing:
        found[context_id] = _build(context_id, rows)
    return found


def _build(context_id: str, rows: Mapping[str, Any]) -> Context:
    chain: list[Any] = []
    next_id: str | None = context_id
    parent: Context | None = None
    while next_id is not None:
        parent = _contexts.get(next_id)
        if parent is not None:
            break
        row = rows[next_id]
        chain.append(row)
        next_id = row.parent_id
    for row in reversed(chain):
        parent = _contexts.put(row.id, mapping.context_of(row, parent))
    assert parent is not None
    return parent


def read_inputs(session: Session, execution_ids: Sequence[str]) -> None:
    """Have the inputs of executions ready; they never change."""
    for row in session.connection().execute(_INPUTS, {"ids": execution_ids}):
        _inputs.put(row.id, row.input or {})


def keep_context(context: Context) -> None:
    """Remember a context that has just been stored."""
    _contexts.put(context.id, context)


#: Project, namespace, workbook and name that a definition was looked for by.
Wanted = tuple[str, str, str | None, str]


@dataclass(slots=True)
class Found:
    """Definitions found in one transaction, shared by all executions that it decides on."""

    actions: dict[Wanted, ActionSpec | ActionInfo | None] = field(default_factory=dict)
    workflows: dict[Wanted, FoundWorkflow | None] = field(default_factory=dict)


class Stored:
    """What is stored about one execution."""

    def __init__(
        self,
        session: Session,
        execution: Execution,
        registry: Registry,
        *,
        tasks: dict[str, Task],
        actions: dict[str, Action],
        complete: bool,
        definitions_found: Found,
    ) -> None:
        self.session = session
        self.execution = execution
        self.registry = registry
        self._tasks = tasks
        self._actions = actions
        #: True when the known tasks are all tasks of the execution.
        self.complete = complete
        self._found = definitions_found
        self._joins: dict[str, Task | None] = {}
        self._environment: Mapping[str, Any] | None = None
        self._input: Mapping[str, Any] | None = None

    def know_task(self, task: Task) -> None:
        """Add a task that was read."""
        self._tasks.setdefault(task.id, task)

    def known_tasks(self) -> Iterable[Task]:
        """Tasks that need not be read."""
        return self._tasks.values()

    def know_action(self, action: Action) -> None:
        """Add an action that was read."""
        self._actions[action.id] = action

    def knows_action(self, action_id: str) -> bool:
        """True when the action need not be read."""
        return action_id in self._actions

    def known_actions(self) -> Iterable[Action]:
        """Actions that need not be read."""
        return self._actions.values()

    # --- tasks --------------------------------------------------------------------------

    def _load(self, *conditions: Any) -> list[Task]:
        rows = self.session.execute(
            mapping.TASKS.where(T.workflow_execution_id == self.execution.id, *conditions).order_by(
                T.number
            )
        )
        return [self._tasks.setdefault(row.id, mapping.task_of(row)) for row in rows]

    def task(self, task_id: str) -> Task | None:
        found = self._tasks.get(task_id)
        if found is None and not self.complete:
            self._load(T.id == task_id)
            found = self._tasks.get(task_id)
        return found

    def join(self, name: str) -> Task | None:
        if self.complete:
            return next((t for t in self._tasks.values() if t.unique and t.name == name), None)
        if name not in self._joins:
            found = self._load(T.unique_key == name)
            self._joins[name] = found[0] if found else None
        return self._joins[name]

    def tasks_named(self, names: Iterable[str]) -> list[Task]:
        wanted = list(names)
        if not wanted:
            return []
        if self.complete:
            known = set(wanted)
            return [task for task in self._tasks.values() if task.name in known]
        found: list[Task] = []
        for start in range(0, len(wanted), 500):
            found.extend(self._load(T.name.in_(wanted[start : start + 500])))
        return found

    def all_tasks(self) -> list[Task]:
        if not self.complete:
            self._load()
            self.complete = True
        return list(self._tasks.values())

    def open_tasks(self) -> list[Task]:
        if self.complete:
            return list(self._tasks.values())
        return self._load(or_(T.state.not_in(_TERMINAL), T.processed.is_(False)))

    def leaf_tasks(self) -> list[Task]:
        if self.complete:
            return [t for t in self._tasks.values() if t.state.terminal and not t.has_next_tasks]
        return self._load(T.state.in_(_TERMINAL), T.has_next_tasks.is_(False))

    # --- actions and sub-workflows ------------------------------------------------------

    def action(self, action_id: str) -> Action | None:
        found = self._actions.get(action_id)
        if found is None:
            row = self.session.execute(
                mapping.ACTIONS.where(
                    A.id == action_id, A.workflow_execution_id == self.execution.id
                )
            ).one_or_none()
            if row is not None:
                found = self._actions[action_id] = mapping.action_of(row)
        return found

    def actions(self, task_id: str) -> list[Action]:
        rows = self.session.execute(
            mapping.ACTIONS.where(A.task_execution_id == task_id).order_by(A.number)
        )
        return [mapping.action_of(row) for row in rows]

    def children(self, task_id: str) -> list[Child]:
        rows = self.session.execute(
            mapping.CHILDREN.where(E.task_execution_id == task_id).order_by(
                E.attempt, E.item_index, E.created_at
            )
        )
        return [mapping.child_of(row) for row in rows]

    def child(self, child_id: str) -> Child | None:
        row = self.session.execute(mapping.CHILDREN.where(E.id == child_id)).one_or_none()
        return mapping.child_of(row) if row is not None else None

    # --- data ---------------------------------------------------------------------------

    def context(self, context_id: str) -> Context:
        return contexts(self.session, [context_id])[context_id]

    def environment(self) -> Mapping[str, Any]:
        if self._environment is None:
            root = self.execution.root_id
            params = self.execution.params
            if root is not None:
                params = self.session.execute(select(E.params).where(E.id == root)).scalar() or {}
            env = params.get("env")
            self._environment = env if isinstance(env, Mapping) else {}
        return self._environment

    def input(self) -> Mapping[str, Any]:
        if self._input is None:
            known = _inputs.get(self.execution.id)
            if known is None:
                read_inputs(self.session, [self.execution.id])
                known = _inputs.get(self.execution.id)
            self._input = known or {}
        return self._input

    # --- definitions --------------------------------------------------------------------

    def find_action(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> ActionSpec | ActionInfo | None:
        key = (self.execution.project_id, namespace, workbook, name)
        if key not in self._found.actions:
            self._found.actions[key] = self._find_action(name, namespace, workbook)
        return self._found.actions[key]

    def _find_action(
        self, name: str, namespace: str, workbook: str | None
    ) -> ActionSpec | ActionInfo | None:
        names = [f"{workbook}.{name}", name] if workbook else [name]
        for each in names:
            if each.startswith(definitions.RESERVED):
                continue  # Nobody can have defined it.
            row = definitions.find_action(
                self.session, name=each, namespace=namespace, project_id=self.execution.project_id
            )
            if isinstance(row, ActionDefinition):
                return replace(load_action(row.spec), name=row.name)
            if row is not None:
                return dynamic_info(row)
        return self.registry.find(name)

    def find_workflow(
        self, name: str, *, namespace: str, workbook: str | None
    ) -> FoundWorkflow | None:
        key = (self.execution.project_id, namespace, workbook, name)
        if key not in self._found.workflows:
            self._found.workflows[key] = self._find_workflow(name, namespace, workbook)
        return self._found.workflows[key]

    def _find_workflow(
        self, name: str, namespace: str, workbook: str | None
    ) -> FoundWorkflow | None:
        names = [f"{workbook}.{name}", name] if workbook else [name]
        for each in names:
            row = definitions.find_workflow(
                self.session,
                name=each,
                namespace=namespace,
                project_id=self.execution.project_id,
                fallback=True,
            )
            if row is not None:
                return found_workflow(self.session, row)
        return None

    # --- functions that look at other executions ----------------------------------------

    def executions(
        self,
        id: str | None = None,
        root_execution_id: str | None = None,
        state: str | None = None,
        from_time: Any = None,
        to_time: Any = None,
    ) -> list[Mapping[str, Any]]:
        query = select(WorkflowExecution).where(E.project_id == self.execution.project_id)
        for column, value in (
            (E.id, id),
            (E.root_execution_id, root_execution_id),
            (E.state, state),
        ):
            if value is not None:
                query = query.where(column == value)
        if from_time is not None:
            query = query.where(E.created_at >= _time_of(from_time))
        if to_time is not None:
            query = query.where(E.created_at < _time_of(to_time))
        rows = self.session.scalars(query.order_by(E.created_at, E.id).limit(1000))
        return [
            {
                "id": row.id,
                "name": row.workflow_name,
                "workflow_name": row.workflow_name,
                "state": row.state,
                "state_info": row.state_info,
                "input": row.input,
                "output": row.output,
                "params": row.params,
                "created_at": text_of_time(row.created_at),
                "updated_at": text_of_time(row.updated_at),
                "root_execution_id": row.root_execution_id,
                "task_execution_id": row.task_execution_id,
            }
            for row in rows
        ]

    def task_views(
        self,
        workflow_execution_id: str | None = None,
        recursive: bool = False,
        state: str | None = None,
        flat: bool = False,
    ) -> list[Mapping[str, Any]]:
        if workflow_execution_id is None:
            rows = self.session.execute(
                mapping.TASKS.where(T.project_id == self.execution.project_id)
                .order_by(T.created_at, T.id)
                .limit(1000)
            ).all()
        else:
            rows = self._tasks_below([workflow_execution_id], recursive)
        views = [view for row in rows if (view := self._view(row, state, flat)) is not None]
        return views

    def _tasks_below(self, execution_ids: list[str], recursive: bool) -> list[Any]:
        rows: list[Any] = []
        while execution_ids:
            found = self.session.execute(
                mapping.TASKS.where(T.workflow_execution_id.in_(execution_ids)).order_by(
                    T.created_at, T.number
                )
            ).all()
            rows.extend(found)
            if not recursive:
                break
            execution_ids = list(
                self.session.scalars(select(E.id).where(E.parent_execution_id.in_(execution_ids)))
            )
        return rows

    def _view(self, row: Any, state: str | None, flat: bool) -> Mapping[str, Any] | None:
        if state is not None and row.state != state:
            return None
        children = self.children(row.id) if row.type == "WORKFLOW" else []
        if flat and children and any(child.state == State(row.state) for child in children):
            return None
        found = mapping.task_of(row)
        if children:
            values = [c.output for c in children if c.accepted]
        else:
            values = [
                a.result
                for a in sorted(self.actions(row.id), key=lambda a: a.index)
                if a.accepted and a.state.terminal
            ]
        return {
            "id": found.id,
            "name": found.name,
            "type": found.type,
            "state": str(found.state),
            "state_info": found.state_info,
            "result": collect(values, found.items is not None),
            "published": found.published,
            "workflow_execution_id": row.workflow_execution_id,
            "created_at": text_of_time(found.created_at),
            "updated_at": text_of_time(found.updated_at),
        }


def dynamic_info(row: DynamicAction) -> ActionInfo:
    """What the conductor must know of an action that is a class in a code source."""
    return dynamic.action_type(row.name, row.parameters)


def found_workflow(session: Session, row: Row[Any]) -> FoundWorkflow:
    """The definition of which *row* has what a start needs, as the core wants it."""
    return FoundWorkflow(
        id=row.id,
        name=row.name,
        namespace=row.namespace,
        workbook=row.workbook_name,
        spec=spec(session, row.spec_id),
        spec_id=row.spec_id,
        tags=row.tags or [],
        scope=row.scope,
    )


def _time_of(value: Any) -> datetime:
    """A time that an expression gave, as text or as a time."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
