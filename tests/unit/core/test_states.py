from pathlib import Path

import pytest

from app.core.errors import InvalidTransition
from app.core.states import (
    ACTION_TRANSITIONS,
    EXECUTION_TRANSITIONS,
    TASK_TRANSITIONS,
    TERMINAL,
    State,
    transition,
)
from tools.state_diagrams import page


def test_every_state_of_a_task_has_a_row():
    assert set(TASK_TRANSITIONS) == set(State)


@pytest.mark.parametrize("table", [EXECUTION_TRANSITIONS, TASK_TRANSITIONS, ACTION_TRANSITIONS])
def test_tables_lead_only_to_states_they_know(table):
    assert {target for targets in table.values() for target in targets} <= set(table)


def test_staying_is_always_allowed():
    assert transition(ACTION_TRANSITIONS, State.SUCCESS, State.SUCCESS) is State.SUCCESS


def test_a_finished_action_stays_finished():
    for state in TERMINAL & set(ACTION_TRANSITIONS):
        with pytest.raises(InvalidTransition, match="Invalid state transition from"):
            transition(ACTION_TRANSITIONS, state, State.RUNNING)


def test_the_documented_diagrams_are_those_of_the_tables():
    assert Path("docs/states.md").read_text() == page()
