"""Every table.

Ids are UUID texts. JSON columns hold plain data. Which rows belong together is told by foreign
keys; deleting an execution takes its tasks, actions, contexts, timers and events with it.

Hot rows stay narrow: what never changes and may be large (parsed definitions, contexts) lives in
rows of its own that are written once and shared.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .types import JSONText, UTCDateTime

ID = String(36)
NAME = String(255)
PROJECT = String(80)
#: Auto-incremented 64-bit keys; SQLite counts only its INTEGER keys.
SERIAL = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """The base of all rows."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class _Owned:
    """Columns of what a project owns and may show to others."""

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    project_id: Mapped[str] = mapped_column(PROJECT, default="<default-project>")
    #: ``private`` or ``public``.
    scope: Mapped[str] = mapped_column(String(80), default="private")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: Null until the first update.
    updated_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


# --- definitions -----------------------------------------------------------------------------


class WorkflowSpecRow(Base):
    """A workflow, parsed. Written once; executions and definitions point to it."""

    __tablename__ = "workflow_specs"

    #: SHA-256 of the data.
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: ``WorkflowSpec.raw``.
    data: Mapped[Any] = mapped_column(JSONText, nullable=True)


class WorkflowDefinition(_Owned, Base):
    """The text of a workflow."""

    __tablename__ = "workflow_definitions"
    __table_args__ = (
        UniqueConstraint("name", "namespace", "project_id"),
        Index(None, "project_id", "created_at", "id"),
        Index(None, "scope"),
    )

    name: Mapped[str] = mapped_column(NAME)
    namespace: Mapped[str] = mapped_column(NAME, default="")
    definition: Mapped[str] = mapped_column(Text)
    spec_id: Mapped[str] = mapped_column(ForeignKey("workflow_specs.id"))
    #: Names and defaults of the input as the API shows them.
    input: Mapped[str] = mapped_column(Text, default="")
    #: ``{"input": [...], "output": [...]}``.
    interface: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: MD5 of the definition; null for members of workbooks.
    checksum: Mapped[str | None] = mapped_column(String(32))
    tags: Mapped[Any] = mapped_column(JSONText, nullable=True)
    workbook_name: Mapped[str | None] = mapped_column(NAME)


class ActionDefinition(_Owned, Base):
    """The text of an ad-hoc action."""

    __tablename__ = "action_definitions"
    __table_args__ = (
        UniqueConstraint("name", "namespace", "project_id"),
        Index(None, "project_id", "name"),
        Index(None, "scope"),
    )

    name: Mapped[str] = mapped_column(NAME)
    namespace: Mapped[str] = mapped_column(NAME, default="")
    definition: Mapped[str] = mapped_column(Text)
    #: ``ActionSpec.raw``.
    spec: Mapped[Any] = mapped_column(JSONText, nullable=True)
    description: Mapped[str | None] = mapped_column(Text)
    input: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[Any] = mapped_column(JSONText, nullable=True)
    workbook_name: Mapped[str | None] = mapped_column(NAME)


class Workbook(_Owned, Base):
    """The text of a workbook; its members are definitions of their own."""

    __tablename__ = "workbooks"
    __table_args__ = (
        UniqueConstraint("name", "namespace", "project_id"),
        Index(None, "project_id", "created_at", "id"),
    )

    name: Mapped[str] = mapped_column(NAME)
    namespace: Mapped[str] = mapped_column(NAME, default="")
    definition: Mapped[str] = mapped_column(Text)
    tags: Mapped[Any] = mapped_column(JSONText, nullable=True)


class CodeSource(_Owned, Base):
    """The text of a Python module with actions in it."""

    __tablename__ = "code_sources"
    __table_args__ = (UniqueConstraint("name", "namespace", "project_id"),)

    name: Mapped[str] = mapped_column(NAME)
    namespace: Mapped[str] = mapped_column(NAME, default="")
    content: Mapped[str] = mapped_column(Text)
    #: From 1, one more at each update.
    version: Mapped[int] = mapped_column(Integer, default=1)
    tags: Mapped[Any] = mapped_column(JSONText, nullable=True)


class DynamicAction(_Owned, Base):
    """An action that is a class in a code source."""

    __tablename__ = "dynamic_actions"
    __table_args__ = (UniqueConstraint("name", "namespace", "project_id"),)

    name: Mapped[str] = mapped_column(NAME)
    namespace: Mapped[str] = mapped_column(NAME, default="")
    class_name: Mapped[str] = mapped_column(NAME)
    code_source_id: Mapped[str] = mapped_column(
        ForeignKey("code_sources.id", ondelete="CASCADE"), index=True
    )
    code_source_name: Mapped[str] = mapped_column(NAME)
    #: The parameters of the class, read from the text: ``[{"name": .., "required": ..}]``.
    parameters: Mapped[Any] = mapped_column(JSONText, nullable=True)


class Environment(_Owned, Base):
    """A stored set of values that executions may use."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("name", "project_id"),)

    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    variables: Mapped[Any] = mapped_column(JSONText, nullable=True)


class ResourceMember(Base):
    """A private workflow shared with another project."""

    __tablename__ = "resource_members"
    __table_args__ = (UniqueConstraint("resource_id", "resource_type", "member_id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    resource_id: Mapped[str] = mapped_column(ID)
    resource_type: Mapped[str] = mapped_column(String(50), default="workflow")
    #: The owner.
    project_id: Mapped[str] = mapped_column(PROJECT)
    #: The project it is shared with.
    member_id: Mapped[str] = mapped_column(PROJECT, index=True)
    #: ``pending``, ``accepted`` or ``rejected``.
    status: Mapped[str] = mapped_column(String(20), default="pending")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


# --- executions ------------------------------------------------------------------------------


class WorkflowExecution(_Owned, Base):
    """One run of a workflow. The row that is locked to decide anything about the run."""

    __tablename__ = "workflow_executions"
    __table_args__ = (
        Index(None, "project_id", "created_at", "id"),
        Index(None, "created_at", "id"),
        Index(None, "project_id", "state", "created_at", "id"),
        Index(None, "project_id", "workflow_name", "created_at", "id"),
        Index(None, "workflow_id"),
        Index(None, "task_execution_id"),
        Index(None, "root_execution_id"),
        Index(
            "ix_workflow_executions_due", "check_at", postgresql_where=text("check_at IS NOT NULL")
        ),
    )

    workflow_id: Mapped[str] = mapped_column(ID)
    workflow_name: Mapped[str] = mapped_column(NAME)
    workflow_namespace: Mapped[str] = mapped_column(NAME, default="")
    #: The workbook the workflow belongs to: short names are looked up in it first.
    workbook_name: Mapped[str | None] = mapped_column(NAME)
    spec_id: Mapped[str] = mapped_column(ForeignKey("workflow_specs.id"))
    description: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[Any] = mapped_column(JSONText, nullable=True)
    state: Mapped[str] = mapped_column(String(20))
    state_info: Mapped[str | None] = mapped_column(Text)
    #: Given input with defaults; never changes.
    input: Mapped[Any] = mapped_column(JSONText, nullable=True)
    params: Mapped[Any] = mapped_column(JSONText, nullable=True)
    output: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: The parent task and execution of a sub-workflow, and its place in with-items.
    task_execution_id: Mapped[str | None] = mapped_column(ID)
    parent_execution_id: Mapped[str | None] = mapped_column(ID)
    root_execution_id: Mapped[str | None] = mapped_column(ID)
    item_index: Mapped[int] = mapped_column(Integer, default=0)
    #: The parent task's attempt this run belongs to.
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    #: How many sub-workflows deep; 0 for a root.
    depth: Mapped[int] = mapped_column(Integer, default=0)
    #: True when the parent takes this one's output as a result.
    accepted: Mapped[bool] = mapped_column(Boolean, default=False)
    #: The workflow-level context: vars and what was published globally.
    context_id: Mapped[str | None] = mapped_column(ID)
    #: Grows by one with each transaction that changes the execution or anything below it.
    revision: Mapped[int] = mapped_column(Integer, default=0)
    #: Counters and small state of the conductor (``Execution.counts`` and friends).
    conductor: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: When the sweeper should look; null when nothing is expected.
    check_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class TaskExecution(Base):
    """One task of an execution: in a loop each turn has a row, a join has one for ever."""

    __tablename__ = "task_executions"
    __table_args__ = (
        # At most one row per join, whoever creates it. Null for ordinary tasks.
        UniqueConstraint("workflow_execution_id", "unique_key"),
        Index(None, "workflow_execution_id", "name"),
        Index(None, "project_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    workflow_execution_id: Mapped[str] = mapped_column(
        ForeignKey("workflow_executions.id", ondelete="CASCADE")
    )
    workflow_id: Mapped[str] = mapped_column(ID)
    workflow_name: Mapped[str] = mapped_column(NAME)
    workflow_namespace: Mapped[str] = mapped_column(NAME, default="")
    project_id: Mapped[str] = mapped_column(PROJECT)
    name: Mapped[str] = mapped_column(NAME)
    #: ``ACTION`` or ``WORKFLOW``.
    type: Mapped[str] = mapped_column(String(10))
    tags: Mapped[Any] = mapped_column(JSONText, nullable=True)
    state: Mapped[str] = mapped_column(String(20))
    state_info: Mapped[str | None] = mapped_column(Text)
    unique_key: Mapped[str | None] = mapped_column(NAME)
    #: Creation order within the execution.
    number: Mapped[int] = mapped_column(Integer)
    #: Grows with each run of the task; timers and results of older runs are recognised by it.
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    inbound_context_id: Mapped[str | None] = mapped_column(ID)
    outbound_context_id: Mapped[str | None] = mapped_column(ID)
    published: Mapped[Any] = mapped_column(JSONText, nullable=True)
    published_global: Mapped[Any] = mapped_column(JSONText, nullable=True)
    processed: Mapped[bool] = mapped_column(Boolean, default=False)
    has_next_tasks: Mapped[bool] = mapped_column(Boolean, default=False)
    #: ``[[name, clause], ...]`` of the tasks that followed; null when force-failed.
    next_tasks: Mapped[Any] = mapped_column(JSONText, nullable=True)
    error_handled: Mapped[bool] = mapped_column(Boolean, default=False)
    #: As the API shows it: triggered_by, with_items, retry_task_policy, ...
    runtime_context: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: Small state of the conductor: counters of items and joins, retries, flags.
    conductor: Mapped[Any] = mapped_column(JSONText, nullable=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class ActionExecution(Base):
    """One run of an action, for a task or alone."""

    __tablename__ = "action_executions"
    __table_args__ = (
        Index(None, "task_execution_id"),
        Index(None, "workflow_execution_id"),
        Index(None, "project_id", "created_at", "id"),
        Index(
            "ix_action_executions_due", "check_at", postgresql_where=text("check_at IS NOT NULL")
        ),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    #: Null when the action was run alone.
    task_execution_id: Mapped[str | None] = mapped_column(
        ForeignKey("task_executions.id", ondelete="CASCADE")
    )
    workflow_execution_id: Mapped[str | None] = mapped_column(ID)
    workflow_name: Mapped[str | None] = mapped_column(NAME)
    workflow_namespace: Mapped[str] = mapped_column(NAME, default="")
    project_id: Mapped[str] = mapped_column(PROJECT)
    #: The name that was found: an ad-hoc action's own, not its base's.
    name: Mapped[str] = mapped_column(NAME)
    description: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(20))
    state_info: Mapped[str | None] = mapped_column(Text)
    accepted: Mapped[bool] = mapped_column(Boolean, default=False)
    input: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: ``{"result": ...}``; null while running.
    output: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: Place in with-items; 0 otherwise.
    item_index: Mapped[int] = mapped_column(Integer, default=0)
    #: The task's attempt this run belongs to.
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    #: Creation order within the execution.
    number: Mapped[int] = mapped_column(Integer, default=0)
    is_sync: Mapped[bool] = mapped_column(Boolean, default=True)
    #: True when it runs in an executor, false when the engine ran it itself.
    dispatched: Mapped[bool] = mapped_column(Boolean, default=True)
    #: What is needed to send it (again): base action and input when they differ, target,
    #: timeout, safe_rerun.
    dispatch: Mapped[Any] = mapped_column(JSONText, nullable=True)
    last_heartbeat: Mapped[datetime | None] = mapped_column(UTCDateTime)
    check_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class Context(Base):
    """Variables, immutable and shared: what one publish added on top of its parent."""

    __tablename__ = "contexts"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    workflow_execution_id: Mapped[str] = mapped_column(
        ForeignKey("workflow_executions.id", ondelete="CASCADE"), index=True
    )
    parent_id: Mapped[str | None] = mapped_column(ID)
    #: Names and values; they replace the parent's of the same name.
    data: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: How often, and when last, each leaf of ``data`` was published along this branch.
    versions: Mapped[Any] = mapped_column(JSONText, nullable=True)


# --- messages, timers, events ----------------------------------------------------------------


class OutboxMessage(Base):
    """Messages of one transaction, kept until the broker has them."""

    __tablename__ = "outbox"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    messages: Mapped[Any] = mapped_column(JSONText, nullable=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)


class DelayedCall(Base):
    """An event to be applied later: the truth behind every timer."""

    __tablename__ = "delayed_calls"
    __table_args__ = (
        Index(None, "due_at", "id"),
        Index(None, "workflow_execution_id"),
        Index(None, "task_execution_id"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    workflow_execution_id: Mapped[str | None] = mapped_column(
        ForeignKey("workflow_executions.id", ondelete="CASCADE")
    )
    task_execution_id: Mapped[str | None] = mapped_column(ID)
    due_at: Mapped[datetime] = mapped_column(UTCDateTime)
    event: Mapped[Any] = mapped_column(JSONText, nullable=True)


class LogEvent(Base):
    """What happened to an execution, in order, for ever (or until retention takes it)."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("workflow_execution_id", "number"),
        Index(None, "created_at"),
        Index(None, "project_id", "id"),
    )

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    workflow_execution_id: Mapped[str] = mapped_column(
        ForeignKey("workflow_executions.id", ondelete="CASCADE")
    )
    root_execution_id: Mapped[str] = mapped_column(ID)
    project_id: Mapped[str] = mapped_column(PROJECT)
    #: From 1 in each execution, without gaps.
    number: Mapped[int] = mapped_column(Integer)
    #: ``WORKFLOW_LAUNCHED``, ``TASK_SUCCEEDED``, ...; null for a change without a name.
    event: Mapped[str | None] = mapped_column(String(40))
    #: The payload that publishers get.
    data: Mapped[Any] = mapped_column(JSONText, nullable=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)


class JournalEntry(Base):
    """The events of one transaction on an execution, for a replay."""

    __tablename__ = "journal"
    __table_args__ = (Index(None, "now"),)

    workflow_execution_id: Mapped[str] = mapped_column(
        ForeignKey("workflow_executions.id", ondelete="CASCADE"), primary_key=True
    )
    #: The execution's revision after the transaction.
    revision: Mapped[int] = mapped_column(Integer, primary_key=True)
    #: The time that the decision was told.
    now: Mapped[datetime] = mapped_column(UTCDateTime)
    #: Batches of events, in the order in which they were applied.
    rounds: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: ``app.core.replay.fingerprint``.
    fingerprint: Mapped[str] = mapped_column(String(16))


class Notification(Base):
    """An event to be delivered to one publisher; deleted once delivered."""

    __tablename__ = "notifications"
    __table_args__ = (
        Index(None, "state", "next_attempt_at"),
        Index(None, "workflow_execution_id", "publisher_key", "id"),
    )

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    workflow_execution_id: Mapped[str] = mapped_column(ID)
    project_id: Mapped[str] = mapped_column(PROJECT)
    #: Number of the event in its execution: deliveries keep this order.
    number: Mapped[int] = mapped_column(Integer)
    event: Mapped[str | None] = mapped_column(String(40))
    data: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: The publisher object: ``{"type": "webhook", "url": ...}``.
    publisher: Mapped[Any] = mapped_column(JSONText, nullable=True)
    #: Hash of the publisher object: one lane of ordered delivery per execution and publisher.
    publisher_key: Mapped[str] = mapped_column(String(64))
    #: ``pending`` or ``dead``.
    state: Mapped[str] = mapped_column(String(10), default="pending")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str | None] = mapped_column(Text)
    next_attempt_at: Mapped[datetime] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)


class CronTrigger(_Owned, Base):
    """Starts a workflow by the clock."""

    __tablename__ = "cron_triggers"
    __table_args__ = (
        UniqueConstraint("name", "project_id"),
        UniqueConstraint(
            "workflow_input_hash",
            "workflow_name",
            "pattern",
            "project_id",
            "workflow_params_hash",
            "remaining_executions",
            "first_execution_time",
            name="uq_cron_triggers_same",
        ),
        Index(None, "next_execution_time"),
    )

    name: Mapped[str] = mapped_column(String(200))
    workflow_id: Mapped[str] = mapped_column(ForeignKey("workflow_definitions.id"), index=True)
    workflow_name: Mapped[str] = mapped_column(NAME)
    workflow_namespace: Mapped[str] = mapped_column(NAME, default="")
    workflow_input: Mapped[Any] = mapped_column(JSONText, nullable=True)
    workflow_input_hash: Mapped[str] = mapped_column(String(64))
    workflow_params: Mapped[Any] = mapped_column(JSONText, nullable=True)
    workflow_params_hash: Mapped[str] = mapped_column(String(64))
    pattern: Mapped[str] = mapped_column(String(100))
    #: IANA name; the pattern is read in this zone.
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC")
    first_execution_time: Mapped[datetime | None] = mapped_column(UTCDateTime)
    next_execution_time: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: Null: no end.
    remaining_executions: Mapped[int | None] = mapped_column(Integer)
    last_error: Mapped[str | None] = mapped_column(Text)


class EventTrigger(_Owned, Base):
    """Starts a workflow when a message arrives on a bus."""

    __tablename__ = "event_triggers"
    __table_args__ = (UniqueConstraint("exchange", "topic", "event", "workflow_id", "project_id"),)

    name: Mapped[str] = mapped_column(String(200), default="")
    workflow_id: Mapped[str] = mapped_column(ForeignKey("workflow_definitions.id"), index=True)
    workflow_input: Mapped[Any] = mapped_column(JSONText, nullable=True)
    workflow_params: Mapped[Any] = mapped_column(JSONText, nullable=True)
    exchange: Mapped[str] = mapped_column(String(80))
    topic: Mapped[str] = mapped_column(String(80))
    event: Mapped[str] = mapped_column(String(80))
    last_error: Mapped[str | None] = mapped_column(Text)


class Setting(Base):
    """A value of the whole installation, e.g. ``maintenance`` or the last tick."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    value: Mapped[Any] = mapped_column(JSONText, nullable=True)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
