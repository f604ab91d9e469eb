"""What follows a task: clauses, guards and engine commands; in reverse workflows, dependents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import joins, outcome
from .commands import SendEvent, TellChildren
from .data_flow import merge
from .evaluation import evaluate, functions, outbound_view
from .events import ChildPaused, PauseRequested
from .execution import Task
from .expressions import evaluate as evaluate_text
from .expressions import truthy
from .language.specs import Clause, TaskSpec, Transition
from .states import State
from .working_copy import WorkingCopy


@dataclass(frozen=True, slots=True)
class Step:
    """A transition that fires."""

    target: str
    #: The clause it stands in; None in reverse workflows.
    clause: str | None
    is_command: bool = False
    message: Any = None


def clauses_of(spec: TaskSpec, state: State) -> list[tuple[str, Clause]]:
    """The clauses that apply to *state*, in the order in which they are evaluated."""
    if state is State.SUCCESS:
        return [("on-success", spec.on_success), ("on-complete", spec.on_complete)]
    if state is State.ERROR:
        return [("on-error", spec.on_error), ("on-complete", spec.on_complete)]
    if state is State.SKIPPED:
        return [("on-skip", spec.on_skip)]
    return []


def steps_after(run: WorkingCopy, task: Task) -> list[Step]:
    """Transitions that fire now that *task* is completed; raises ExpressionError."""
    spec = run.task_spec(task)
    steps = _fired(run, task, clauses_of(spec, task.state))
    if not steps and task.state is State.SKIPPED:
        steps = _fired(run, task, [("on-success", spec.on_success)])
    return steps


def _fired(run: WorkingCopy, task: Task, clauses: Iterable[tuple[str, Clause]]) -> list[Step]:
    view = outbound_view(run, task, context_id=task.outbound_id)
    steps: list[Step] = []
    for name, clause in clauses:
        for transition in clause.transitions:
            if transition.guard is not None and not truthy(
                evaluate_text(transition.guard, view, functions(run, task))
            ):
                continue
            steps.append(_step(run, task, name, transition, view))
    return steps


def _step(run: WorkingCopy, task: Task, clause: str, transition: Transition, view: Any) -> Step:
    arguments = evaluate(run, transition.arguments, view, task) if transition.arguments else {}
    return Step(
        target=transition.target,
        clause=clause,
        is_command=transition.is_command,
        message=arguments.get("msg"),
    )


def follow(run: WorkingCopy, task: Task) -> None:
    """Decide what follows the completed *task*, and begin it; raises ExpressionError."""
    if run.spec.reverse:
        _release_dependents(run, task)
        return
    steps = steps_after(run, task)
    task.next_tasks = [[s.target, s.clause] for s in steps if not s.is_command]
    task.has_next_tasks = bool(task.next_tasks)
    task.error_handled = task.state is State.ERROR and any(s.clause == "on-error" for s in steps)
    task.processed = True
    task.held = False
    run.settle_counts()
    dispatch(run, task, steps)
    if run.execution.state is State.RUNNING:
        joins.miss(run, task)


def dispatch(run: WorkingCopy, task: Task | None, steps: list[Step]) -> None:
    """Begin *steps*, up to the first command that ends or pauses the execution."""
    command = next((at for at, step in enumerate(steps) if _stops(step)), len(steps))
    joins_led_to: list[str] = []
    for step in steps[:command]:
        if step.is_command:
            continue
        if joins.is_join(run.spec, step.target):
            joins_led_to.append(step.target)
        else:
            spawn(run, step, task)
    if task is not None:
        # Only now: a join that looks at its other branches must find those that just began.
        joins.arrive_at(run, list(dict.fromkeys(joins_led_to)), task)
    if command < len(steps):
        _obey(run, task, steps[command], steps[command + 1 :])


def _stops(step: Step) -> bool:
    return step.is_command and step.target in ("fail", "succeed", "pause")


def _obey(run: WorkingCopy, task: Task | None, step: Step, later: list[Step]) -> None:
    """Carry out a command; what comes after a pause is kept for the time after it."""
    if step.target == "fail":
        outcome.fail(run, step.message)
    elif step.target == "succeed":
        outcome.succeed(run, step.message)
    else:
        pause_execution(run, outcome.as_info(step.message))
        run.execution.backlog = [
            [each.target, task.id if task else None, each.clause, each.message]
            for each in later
            if each.target != "noop"
        ]


def spawn(run: WorkingCopy, step: Step, source: Task | None) -> None:
    """Create an ordinary task; it starts when all its siblings are created."""
    task = run.add_task(step.target, unique=False)
    if source is not None:
        task.inbound_id = source.outbound_id
        task.triggered_by = [{"task_id": source.id, "event": step.clause}]
    run.to_start.append(task.id)


def resume_backlog(run: WorkingCopy) -> None:
    """Begin what a pause command held back."""
    backlog, run.execution.backlog = run.execution.backlog, []
    for target, task_id, clause, message in backlog:
        source = run.find_task(task_id) if task_id else None
        command = target in ("fail", "succeed", "pause")
        if target == "pause":
            continue  # Whoever resumes wants it to go on.
        dispatch(run, source, [Step(target, clause, command, message)])
        if run.execution.state.terminal:
            return


def pause_execution(run: WorkingCopy, message: str | None, *, by_parent: bool = False) -> None:
    """Let nothing new start; tell whoever must know."""
    execution = run.execution
    run.set_execution_state(State.PAUSED, message)
    run.command(TellChildren(event=PauseRequested(by_parent=True)))
    if execution.parent_execution_id and execution.parent_task_id:
        run.command(
            SendEvent(
                execution_id=execution.parent_execution_id,
                event=ChildPaused(
                    task_id=execution.parent_task_id,
                    child_id=execution.id,
                    by_parent=by_parent,
                ),
            )
        )


def launch(run: WorkingCopy) -> None:
    """Begin the execution: create its first tasks. A second time nothing happens."""
    if run.execution.launched or run.execution.state is not State.RUNNING:
        return
    run.execution.launched = True
    run.record("WORKFLOW_LAUNCHED")
    if not run.spec.reverse:
        for name in run.spec.start_tasks:
            spawn(run, Step(name, None), None)
        return
    target = str(run.execution.params.get("task_name"))
    wanted = run.spec.required_for(target)
    for name in run.spec.tasks:
        if name in wanted and not _requirements(run, name):
            _release(run, name, {})


# --- reverse workflows -----------------------------------------------------------------------


def _requirements(run: WorkingCopy, name: str) -> list[str]:
    return [r for r in run.spec.tasks[name].requires if r != name and r in run.spec.tasks]


def _release_dependents(run: WorkingCopy, task: Task) -> None:
    task.processed = True
    task.held = False
    task.error_handled = False
    released: list[list[str | None]] = []
    if task.state is State.SUCCESS or task.state is State.SKIPPED:
        wanted = run.spec.required_for(str(run.execution.params.get("task_name")))
        for name in run.spec.dependents[task.name]:
            if name not in wanted or run.find_unique(name) is not None:
                continue
            required = _requirements(run, name)
            latest = run.latest(required)
            done = [latest[r] for r in required if r in latest and _passed(latest[r])]
            if len(done) == len(required):
                _release(run, name, {t.id: t for t in done})
                released.append([name, None])
    task.next_tasks = released
    task.has_next_tasks = bool(released)


def _passed(task: Task) -> bool:
    return task.state in (State.SUCCESS, State.SKIPPED) and not task.held


def _release(run: WorkingCopy, name: str, required: dict[str, Task]) -> None:
    task = run.add_task(name, unique=True)
    contexts = [run.context(t.outbound_id) for t in required.values()]
    task.inbound_id = run.add_context(merge(contexts, id=run.context_id()))
    task.triggered_by = [{"task_id": t.id, "event": None} for t in required.values()]
    run.to_start.append(task.id)
