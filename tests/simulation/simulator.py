"""Workflows in a world where messages come twice, late, in another order, or not at all.

The conductor is the real one; broker, executors, clock and the database's failures are simulated.
Whatever happens, invariants hold after each step, and everything comes to an end. Where the order
of things must not matter the end is that of a quiet run, in which every message comes once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import yaml

from app.core import commands as c
from app.core import events as e
from app.core import invariants
from app.core.execution import Action, Task
from app.core.states import State
from tests.simulation import workflows
from tests.unit.core.story import Run, World, start

#: Steps after which the world becomes quiet, so that everything can come to an end.
WILD_STEPS = 120
#: Steps after which something must have gone round in circles.
MOST_STEPS = 20_000


class Violation(AssertionError):
    """Something happened that must never happen; the text tells what, after which step."""


@dataclass(eq=False)
class Message:
    """An event on its way to an execution, or (without one) an action to an executor."""

    execution_id: str
    event: e.Event | None = None
    command: c.RunAction | None = None
    #: The timer that the event is from; its row goes when the event has been applied.
    timer: c.SetTimer | None = None


@dataclass
class Simulation(World):
    """One world, with the messages that are on their way in it."""

    chance: random.Random
    #: Messages come twice, late, in another order or not at all.
    wild: bool
    #: Somebody pauses, resumes, cancels, skips and runs again.
    meddling: bool = False
    messages: list[Message] = field(default_factory=list)
    steps: int = 0

    def __init__(
        self, story: workflows.Story, *, seed: int, wild: bool, meddling: bool = False
    ) -> None:
        super().__init__(yaml.safe_dump(story.definitions))
        self.params = story.params
        self.chance = random.Random(seed)
        self.wild = wild
        self.meddling = meddling
        self.messages = []
        self.steps = 0
        self.watchers: dict[str, Watcher] = {}

    # --- what the story's world does at once, this one does some time ------------------------

    def send(self, execution_id: str, event: e.Event) -> None:
        self._publish(Message(execution_id, event=event))

    def dispatch(self, run: Run, command: c.RunAction) -> None:
        self._publish(Message(run.execution.id, command=command))

    def _publish(self, message: Message) -> None:
        if self.wild and self.chance.random() < 0.08:
            return  # Lost; or we died between the commit and the publishing.
        self.messages.append(message)
        if self.wild and self.chance.random() < 0.1:
            self.messages.append(message)

    # --- the schedule -------------------------------------------------------------------------

    def play(self) -> Run:
        """Run the workflow ``w`` to its end; the root."""
        root = start(self, params=self.params)
        self._check()
        while not self._over(root):
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise Violation(f"no end after {MOST_STEPS} steps: {self.picture()}")
            if self.steps > WILD_STEPS:
                self.wild = self.meddling = False
            self._step(root)
            self._check()
        return root

    def _over(self, root: Run) -> bool:
        return root.execution.state.terminal and not self.messages and not self.meddling

    def _step(self, root: Run) -> None:
        if self.meddling:
            if self.chance.random() < 0.1:
                self._meddle()
                return
            if root.execution.state.terminal and not self.messages:
                self.meddling = False
        timers = [(run, timer) for run in self.runs.values() for timer in run.timers]
        if self.messages and (not timers or self.chance.random() < 0.85 or not self.wild):
            self._deliver()
        elif timers:
            self._fire(timers)
        elif not self._resume():
            self._sweep()

    def _deliver(self) -> None:
        place = self.chance.randrange(len(self.messages)) if self.wild else 0
        message = self.messages.pop(place)
        run = self.runs[message.execution_id]
        if message.command is not None:
            self._execute(run, message.command)
            return
        batch = [message]
        if self.chance.random() < 0.5:
            # What waits for the same execution goes along in one transaction.
            batch += [m for m in self.messages if m.event and m.execution_id == run.execution.id]
            self.messages = [m for m in self.messages if m not in batch]
        events = [each.event for each in batch if each.event is not None]
        if self.wild and self.chance.random() < 0.05:
            run.decide(*events)  # The database died before the commit: nothing is left of it.
            self.messages.extend(batch)
            return
        run.apply(*events)
        run.timers = [t for t in run.timers if all(t is not each.timer for each in batch)]
        if self.wild and self.chance.random() < 0.05:
            self.messages.extend(batch)  # We died after the commit, before the acknowledgement.

    def _execute(self, run: Run, command: c.RunAction) -> None:
        """Run an action as an executor does: whoever asks again gets the same result."""
        action = run.all_actions.get(command.action_id)
        if action is None or action.state.terminal:
            return
        self.send(run.execution.id, result_of(run, action))

    def _fire(self, timers: list[tuple[Run, c.SetTimer]]) -> None:
        run, timer = min(timers, key=lambda pair: pair[1].at)
        if self.wild and self.chance.random() < 0.3:
            run, timer = self.chance.choice(timers)
        self.now = max(self.now, timer.at) + timedelta(milliseconds=self.chance.randrange(50))
        self._publish(Message(run.execution.id, event=timer.event, timer=timer))

    def _resume(self) -> bool:
        """Let go on what a task or a command has paused; True if there was anything."""
        for run in self.runs.values():
            parent = run.execution.parent_execution_id
            if run.execution.state is State.PAUSED and (
                parent is None or self.runs[parent].execution.state is not State.PAUSED
            ):
                run.apply(e.ResumeRequested())
                return True
        return False

    def _sweep(self) -> None:
        """Nothing is on its way, yet something is not over: do what the sweeper does."""
        found = False
        for run in list(self.runs.values()):
            execution = run.execution
            if execution.state.terminal:
                continue
            if not execution.launched:
                self.send(execution.id, e.ExecutionStarted())
                found = True
            for action in list(run.all_actions.values()):
                if not action.state.terminal:
                    self.send(execution.id, result_of(run, action))
                    found = True
            for child in self._children(run):
                task = run.tasks[child.execution.parent_task_id or ""]
                if not child.execution.state.terminal or task.state.terminal:
                    continue
                if child.execution.state.terminal and not run.accepted.get(child.execution.id):
                    self.send(execution.id, child_completed(child))
                    found = True
        if not found:
            for run in list(self.runs.values()):
                if not run.execution.state.terminal:
                    run.apply(e.Nudged())
            if not self.messages and not any(run.timers for run in self.runs.values()):
                if self.runs["root"].execution.state.terminal:
                    return
                raise Violation(f"stuck: {self.picture()}")

    def _children(self, run: Run) -> Iterable[Run]:
        mine = run.execution.id
        return [r for r in self.runs.values() if r.execution.parent_execution_id == mine]

    def _meddle(self) -> None:
        run = self.chance.choice(list(self.runs.values()))
        state = run.execution.state
        failed = [t for t in run.tasks.values() if t.state is State.ERROR]
        wish = self.chance.choice(("pause", "resume", "cancel", "rerun", "skip"))
        event: e.Event | None = None
        if wish == "pause" and state is State.RUNNING:
            event = e.PauseRequested()
        elif wish == "resume" and state is State.PAUSED:
            event = e.ResumeRequested()
        elif wish == "cancel" and not state.terminal and self.chance.random() < 0.2:
            event = e.StopRequested(state=State.CANCELLED, message="enough")
        elif wish in ("rerun", "skip") and state is State.ERROR and failed:
            task = self.chance.choice(failed)
            for watcher in self.watchers.values():
                watcher.goes_on()
            if wish == "skip":
                event = e.SkipRequested(task_id=task.id)
            else:
                event = e.RerunRequested(task_id=task.id, reset=self.chance.random() < 0.5)
        if event is not None:
            run.apply(event)

    # --- what must be true --------------------------------------------------------------------

    def _check(self) -> None:
        for run in self.runs.values():
            watcher = self.watchers.setdefault(run.execution.id, Watcher())
            found = [
                *invariants.broken(run.execution, all_tasks=run.tasks.values()),
                *watcher.look(run),
            ]
            if found:
                raise Violation(f"{run.execution.name}, step {self.steps}: {'; '.join(found)}")

    def picture(self) -> str:
        """What is not over, for the message of a violation."""
        lines = []
        for run in self.runs.values():
            if not run.execution.state.terminal:
                tasks = {t.name: str(t.state) for t in run.tasks.values() if not t.state.terminal}
                lines.append(f"{run.execution.name} {run.state} {tasks} {run.execution.counts}")
        return " | ".join(lines)


class Watcher:
    """What was seen of one execution, step by step."""

    def __init__(self) -> None:
        self._ended_actions: dict[str, State] = {}
        self._records = 0
        self._ended_with: int | None = None
        self._ends: Counter[str] = Counter()
        self._again = False

    def goes_on(self) -> None:
        """Somebody has a task run again: it may end once more, and others may follow."""
        self._again = True
        self._ended_with = None

    def look(self, run: Run) -> Iterable[str]:
        """What is not as it must be, compared to what was seen before."""
        yield from self._actions(run)
        yield from self._log(run)
        yield from self._no_more_tasks(run)
        for task in run.tasks.values():
            yield from _running(run, task)
        joins = Counter(task.name for task in run.tasks.values() if task.unique)
        for name, count in joins.items():
            if count > 1:
                yield f"there are {count} tasks of the join {name}"

    def _actions(self, run: Run) -> Iterable[str]:
        for action in run.all_actions.values():
            before = self._ended_actions.get(action.id)
            if before is not None and action.state is not before:
                yield f"an action that was {before} became {action.state}"
            if action.state.terminal:
                self._ended_actions[action.id] = action.state

    def _log(self, run: Run) -> Iterable[str]:
        records = [each for each in run.commands if isinstance(each, c.Record)]
        for number, record in enumerate(records[self._records :], self._records + 1):
            if record.number != number:
                yield f"event {record.number} was recorded in place of {number}"
            if record.task_id and record.event in ("TASK_SUCCEEDED", "TASK_FAILED"):
                task = run.tasks[record.task_id]
                self._ends[record.task_id] += 1
                # Before wait-after and after it, as Mistral tells it.
                times = 2 if run.spec.tasks[task.name].policies.wait_after else 1
                # A join may fail again when a branch runs again.
                unsure = self._again or task.unique
                if self._ends[record.task_id] > times * max(1, task.attempt) and not unsure:
                    yield f"task {task.name} ended more often than it ran: {task.attempt} times"
        self._records = len(records)

    def _no_more_tasks(self, run: Run) -> Iterable[str]:
        if not run.execution.state.terminal:
            self._ended_with = None
        elif self._ended_with is None:
            self._ended_with = len(run.tasks)
        elif len(run.tasks) > self._ended_with and not self._again:
            yield f"it is {run.state} and got another task"


def _running(run: Run, task: Task) -> Iterable[str]:
    items = task.items
    if items is None or task.type != "ACTION" or task.state is not State.RUNNING:
        return
    running = sum(a.attempt == task.attempt and not a.state.terminal for a in run.actions(task.id))
    if running != items.running:
        yield f"task {task.name} has {running} actions under way and counts {items.running}"


def result_of(run: Run, action: Action) -> e.ActionCompleted:
    """How an action ends: always the same, however often it is asked."""
    task = run.tasks[action.task_id]
    fails = action.name == workflows.BREAKS or (
        action.name == workflows.FLAKY and action.attempt <= workflows.FLAKES
    )
    return e.ActionCompleted(
        action_id=action.id,
        state=State.ERROR if fails else State.SUCCESS,
        result=f"{'broken' if fails else 'fine'} {task.name} {action.index}",
    )


def child_completed(child: Run) -> e.ChildCompleted:
    """What a sub-workflow tells its parent at its end."""
    execution = child.execution
    return e.ChildCompleted(
        task_id=execution.parent_task_id or "",
        child_id=execution.id,
        index=execution.index,
        state=execution.state,
        output=execution.output,
    )


# --- one seed ---------------------------------------------------------------------------------


def outcome(root: Run) -> Any:
    """What an execution came to, in which the order of things does not show."""
    tasks = Counter((task.name, str(task.state)) for task in root.tasks.values())
    output = root.output if root.execution.state is State.SUCCESS else None
    return root.state, output, sorted(tasks.items())


def run(seed: int) -> None:
    """One workflow under three schedules; raises Violation."""
    story = workflows.draw(random.Random(seed))
    quiet = Simulation(story, seed=seed, wild=False)
    expected = outcome(quiet.play())
    wild = Simulation(story, seed=seed, wild=True)
    found = outcome(wild.play())
    if story.certain and found != expected:
        raise Violation(f"expected {expected}, got {found}")
    Simulation(story, seed=seed, wild=True, meddling=True).play()


#: Schedules that one call of ``run`` plays.
SCHEDULES = 3
