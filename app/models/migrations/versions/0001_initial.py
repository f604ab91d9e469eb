"""The first shape of every table.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.types import JSONText, UTCDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "action_definitions",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("spec", JSONText(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("input", sa.Text(), nullable=True),
        sa.Column("tags", JSONText(), nullable=True),
        sa.Column("workbook_name", sa.String(length=255), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_definitions")),
        sa.UniqueConstraint(
            "name",
            "namespace",
            "project_id",
            name=op.f("uq_action_definitions_name_namespace_project_id"),
        ),
    )
    with op.batch_alter_table("action_definitions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_action_definitions_project_id_name"),
            ["project_id", "name"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_action_definitions_scope"), ["scope"], unique=False)

    op.create_table(
        "code_sources",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tags", JSONText(), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code_sources")),
        sa.UniqueConstraint(
            "name",
            "namespace",
            "project_id",
            name=op.f("uq_code_sources_name_namespace_project_id"),
        ),
    )
    op.create_table(
        "environments",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("variables", JSONText(), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sa.UniqueConstraint("name", "project_id", name=op.f("uq_environments_name_project_id")),
    )
    op.create_table(
        "notifications",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=True),
        sa.Column("data", JSONText(), nullable=True),
        sa.Column("publisher", JSONText(), nullable=True),
        sa.Column("publisher_key", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("next_attempt_at", UTCDateTime(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_notifications_state_next_attempt_at"),
            ["state", "next_attempt_at"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_notifications_workflow_execution_id_publisher_key_id"),
            ["workflow_execution_id", "publisher_key", "id"],
            unique=False,
        )

    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("messages", JSONText(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outbox_created_at"), ["created_at"], unique=False)

    op.create_table(
        "resource_members",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("resource_type", sa.String(length=50), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("member_id", sa.String(length=80), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_members")),
        sa.UniqueConstraint(
            "resource_id",
            "resource_type",
            "member_id",
            name=op.f("uq_resource_members_resource_id_resource_type_member_id"),
        ),
    )
    with op.batch_alter_table("resource_members", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_resource_members_member_id"), ["member_id"], unique=False
        )

    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("value", JSONText(), nullable=True),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "workbooks",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("tags", JSONText(), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workbooks")),
        sa.UniqueConstraint(
            "name", "namespace", "project_id", name=op.f("uq_workbooks_name_namespace_project_id")
        ),
    )
    with op.batch_alter_table("workbooks", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_workbooks_project_id_created_at_id"),
            ["project_id", "created_at", "id"],
            unique=False,
        )

    op.create_table(
        "workflow_specs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("data", JSONText(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_specs")),
    )
    op.create_table(
        "dynamic_actions",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("class_name", sa.String(length=255), nullable=False),
        sa.Column("code_source_id", sa.String(length=36), nullable=False),
        sa.Column("code_source_name", sa.String(length=255), nullable=False),
        sa.Column("parameters", JSONText(), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["code_source_id"],
            ["code_sources.id"],
            name=op.f("fk_dynamic_actions_code_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dynamic_actions")),
        sa.UniqueConstraint(
            "name",
            "namespace",
            "project_id",
            name=op.f("uq_dynamic_actions_name_namespace_project_id"),
        ),
    )
    with op.batch_alter_table("dynamic_actions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_dynamic_actions_code_source_id"), ["code_source_id"], unique=False
        )

    op.create_table(
        "workflow_definitions",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("spec_id", sa.String(length=64), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("interface", JSONText(), nullable=True),
        sa.Column("checksum", sa.String(length=32), nullable=True),
        sa.Column("tags", JSONText(), nullable=True),
        sa.Column("workbook_name", sa.String(length=255), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["spec_id"], ["workflow_specs.id"], name=op.f("fk_workflow_definitions_spec_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_definitions")),
        sa.UniqueConstraint(
            "name",
            "namespace",
            "project_id",
            name=op.f("uq_workflow_definitions_name_namespace_project_id"),
        ),
    )
    with op.batch_alter_table("workflow_definitions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_workflow_definitions_project_id_created_at_id"),
            ["project_id", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_workflow_definitions_scope"), ["scope"], unique=False)

    op.create_table(
        "workflow_executions",
        sa.Column("workflow_id", sa.String(length=36), nullable=False),
        sa.Column("workflow_name", sa.String(length=255), nullable=False),
        sa.Column("workflow_namespace", sa.String(length=255), nullable=False),
        sa.Column("workbook_name", sa.String(length=255), nullable=True),
        sa.Column("spec_id", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("tags", JSONText(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_info", sa.Text(), nullable=True),
        sa.Column("input", JSONText(), nullable=True),
        sa.Column("params", JSONText(), nullable=True),
        sa.Column("output", JSONText(), nullable=True),
        sa.Column("task_execution_id", sa.String(length=36), nullable=True),
        sa.Column("parent_execution_id", sa.String(length=36), nullable=True),
        sa.Column("root_execution_id", sa.String(length=36), nullable=True),
        sa.Column("item_index", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("context_id", sa.String(length=36), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("conductor", JSONText(), nullable=True),
        sa.Column("check_at", UTCDateTime(), nullable=True),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["spec_id"], ["workflow_specs.id"], name=op.f("fk_workflow_executions_spec_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_executions")),
    )
    with op.batch_alter_table("workflow_executions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_workflow_executions_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            "ix_workflow_executions_due",
            ["check_at"],
            unique=False,
            postgresql_where=sa.text("check_at IS NOT NULL"),
        )
        batch_op.create_index(
            batch_op.f("ix_workflow_executions_project_id_created_at_id"),
            ["project_id", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_workflow_executions_project_id_state_created_at_id"),
            ["project_id", "state", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_workflow_executions_project_id_workflow_name_created_at_id"),
            ["project_id", "workflow_name", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_workflow_executions_root_execution_id"),
            ["root_execution_id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_workflow_executions_task_execution_id"),
            ["task_execution_id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_workflow_executions_workflow_id"), ["workflow_id"], unique=False
        )

    op.create_table(
        "contexts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("data", JSONText(), nullable=True),
        sa.Column("versions", JSONText(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_contexts_workflow_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contexts")),
    )
    with op.batch_alter_table("contexts", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_contexts_workflow_execution_id"), ["workflow_execution_id"], unique=False
        )

    op.create_table(
        "cron_triggers",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("workflow_id", sa.String(length=36), nullable=False),
        sa.Column("workflow_name", sa.String(length=255), nullable=False),
        sa.Column("workflow_namespace", sa.String(length=255), nullable=False),
        sa.Column("workflow_input", JSONText(), nullable=True),
        sa.Column("workflow_input_hash", sa.String(length=64), nullable=False),
        sa.Column("workflow_params", JSONText(), nullable=True),
        sa.Column("workflow_params_hash", sa.String(length=64), nullable=False),
        sa.Column("pattern", sa.String(length=100), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("first_execution_time", UTCDateTime(), nullable=True),
        sa.Column("next_execution_time", UTCDateTime(), nullable=True),
        sa.Column("remaining_executions", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflow_definitions.id"], name=op.f("fk_cron_triggers_workflow_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cron_triggers")),
        sa.UniqueConstraint("name", "project_id", name=op.f("uq_cron_triggers_name_project_id")),
        sa.UniqueConstraint(
            "workflow_input_hash",
            "workflow_name",
            "pattern",
            "project_id",
            "workflow_params_hash",
            "remaining_executions",
            "first_execution_time",
            name="uq_cron_triggers_same",
        ),
    )
    with op.batch_alter_table("cron_triggers", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_cron_triggers_next_execution_time"),
            ["next_execution_time"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_cron_triggers_workflow_id"), ["workflow_id"], unique=False
        )

    op.create_table(
        "delayed_calls",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=True),
        sa.Column("task_execution_id", sa.String(length=36), nullable=True),
        sa.Column("due_at", UTCDateTime(), nullable=False),
        sa.Column("event", JSONText(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_delayed_calls_workflow_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delayed_calls")),
    )
    with op.batch_alter_table("delayed_calls", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_delayed_calls_due_at_id"), ["due_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_delayed_calls_task_execution_id"), ["task_execution_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_delayed_calls_workflow_execution_id"),
            ["workflow_execution_id"],
            unique=False,
        )

    op.create_table(
        "event_triggers",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("workflow_id", sa.String(length=36), nullable=False),
        sa.Column("workflow_input", JSONText(), nullable=True),
        sa.Column("workflow_params", JSONText(), nullable=True),
        sa.Column("exchange", sa.String(length=80), nullable=False),
        sa.Column("topic", sa.String(length=80), nullable=False),
        sa.Column("event", sa.String(length=80), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflow_definitions.id"], name=op.f("fk_event_triggers_workflow_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_triggers")),
        sa.UniqueConstraint(
            "exchange",
            "topic",
            "event",
            "workflow_id",
            "project_id",
            name=op.f("uq_event_triggers_exchange_topic_event_workflow_id_project_id"),
        ),
    )
    with op.batch_alter_table("event_triggers", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_event_triggers_workflow_id"), ["workflow_id"], unique=False
        )

    op.create_table(
        "events",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("root_execution_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=True),
        sa.Column("data", JSONText(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workflow_execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_events_workflow_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint(
            "workflow_execution_id", "number", name=op.f("uq_events_workflow_execution_id_number")
        ),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_created_at"), ["created_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_events_project_id_id"), ["project_id", "id"], unique=False
        )

    op.create_table(
        "journal",
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("now", UTCDateTime(), nullable=False),
        sa.Column("rounds", JSONText(), nullable=True),
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["workflow_execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_journal_workflow_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workflow_execution_id", "revision", name=op.f("pk_journal")),
    )
    with op.batch_alter_table("journal", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_journal_now"), ["now"], unique=False)

    op.create_table(
        "task_executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=False),
        sa.Column("workflow_id", sa.String(length=36), nullable=False),
        sa.Column("workflow_name", sa.String(length=255), nullable=False),
        sa.Column("workflow_namespace", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=10), nullable=False),
        sa.Column("tags", JSONText(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_info", sa.Text(), nullable=True),
        sa.Column("unique_key", sa.String(length=255), nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("inbound_context_id", sa.String(length=36), nullable=True),
        sa.Column("outbound_context_id", sa.String(length=36), nullable=True),
        sa.Column("published", JSONText(), nullable=True),
        sa.Column("published_global", JSONText(), nullable=True),
        sa.Column("processed", sa.Boolean(), nullable=False),
        sa.Column("has_next_tasks", sa.Boolean(), nullable=False),
        sa.Column("next_tasks", JSONText(), nullable=True),
        sa.Column("error_handled", sa.Boolean(), nullable=False),
        sa.Column("runtime_context", JSONText(), nullable=True),
        sa.Column("conductor", JSONText(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_task_executions_workflow_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_executions")),
        sa.UniqueConstraint(
            "workflow_execution_id",
            "unique_key",
            name=op.f("uq_task_executions_workflow_execution_id_unique_key"),
        ),
    )
    with op.batch_alter_table("task_executions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_task_executions_project_id_created_at_id"),
            ["project_id", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_task_executions_workflow_execution_id_name"),
            ["workflow_execution_id", "name"],
            unique=False,
        )

    op.create_table(
        "action_executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("task_execution_id", sa.String(length=36), nullable=True),
        sa.Column("workflow_execution_id", sa.String(length=36), nullable=True),
        sa.Column("workflow_name", sa.String(length=255), nullable=True),
        sa.Column("workflow_namespace", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_info", sa.Text(), nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("input", JSONText(), nullable=True),
        sa.Column("output", JSONText(), nullable=True),
        sa.Column("item_index", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("is_sync", sa.Boolean(), nullable=False),
        sa.Column("dispatched", sa.Boolean(), nullable=False),
        sa.Column("dispatch", JSONText(), nullable=True),
        sa.Column("last_heartbeat", UTCDateTime(), nullable=True),
        sa.Column("check_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_execution_id"],
            ["task_executions.id"],
            name=op.f("fk_action_executions_task_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_executions")),
    )
    with op.batch_alter_table("action_executions", schema=None) as batch_op:
        batch_op.create_index(
            "ix_action_executions_due",
            ["check_at"],
            unique=False,
            postgresql_where=sa.text("check_at IS NOT NULL"),
        )
        batch_op.create_index(
            batch_op.f("ix_action_executions_project_id_created_at_id"),
            ["project_id", "created_at", "id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_action_executions_task_execution_id"),
            ["task_execution_id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_action_executions_workflow_execution_id"),
            ["workflow_execution_id"],
            unique=False,
        )


def downgrade() -> None:
    raise NotImplementedError("there is nothing before the first shape")
