"""What is a definition and what is not, line by line as Mistral 23 was seen to decide.

``OK`` means accepted; any other text is how the message begins. The lines where Celeriac decides
otherwise stand in tables of their own.
"""

from __future__ import annotations

import pytest

from app.core.errors import InvalidDefinition
from app.core.language import parse_actions, parse_workbook, parse_workflows

OK = "OK"
VERSION = "version: '2.0'\n"
SCHEMA = "Invalid DSL: "


def verdict(text: str, parse=parse_workflows) -> str:
    try:
        parse(text)
    except InvalidDefinition as err:
        return str(err)
    return OK


def decided(text: str, expected: str, parse=parse_workflows) -> None:
    found = verdict(text, parse)
    if expected == OK:
        assert found == OK
    else:
        assert found.startswith(expected)


def with_workflow(attributes: str) -> str:
    return f"{VERSION}w:\n  {attributes}\n  tasks: {{a: {{action: std.noop}}}}\n"


def with_task(task: str) -> str:
    """A task ``a``, and two more that it may lead to."""
    return (
        f"{VERSION}w:\n  tasks:\n    a: {task}\n"
        "    b: {action: std.noop}\n    c: {action: std.noop}\n"
    )


DOCUMENTS = [
    (VERSION, "At least one item must be in the list ["),
    ("", "Invalid DSL: 'version' is a required property"),
    ("~", "Invalid DSL: 'version' is a required property"),
    ("hello", "Invalid DSL: 'hello' is not of type 'object'"),
    ("[a, b]", "Invalid DSL: ['a', 'b'] is not of type 'object'"),
    ("w: {tasks: {a: {action: std.noop}}}", "Invalid DSL: 'version' is a required property"),
    (VERSION + "w:", "Invalid DSL: None is not of type 'object'"),
    (VERSION + "w: [1]", "Invalid DSL: [1] is not of type 'object'"),
    (VERSION + "w: {}", "Invalid DSL: {} should be non-empty"),
    (VERSION + "description: text", "Invalid DSL: 'text' is not of type 'object'"),
    (VERSION + "w: [unclosed", "Definition could not be parsed: while parsing a flow sequence"),
    (VERSION + "my wf: {tasks: {a: {action: std.noop}}}", OK),
    (VERSION + "'': {tasks: {a: {action: std.noop}}}", OK),
    (
        VERSION + "123e4567-e89b-12d3-a456-426655440000: {tasks: {a: {action: std.noop}}}",
        "Workflow name cannot be in the format of UUID.",
    ),
    (VERSION + "w:\n tasks:\n  a: {action: std.noop}\n  a: {action: std.echo}", OK),
    (VERSION + "w: {type: direct}", "Invalid DSL: 'tasks' is a required property"),
    (VERSION + "w: {tasks: {}}", "Invalid DSL: {} should be non-empty"),
    (VERSION + "w: {tasks: null}", "Invalid DSL: None is not of type 'object'"),
    (VERSION + "w: {tasks: [a]}", "Invalid DSL: ['a'] is not of type 'object'"),
]


@pytest.mark.parametrize("text, expected", DOCUMENTS)
def test_documents(text, expected):
    decided(text, expected)


@pytest.mark.parametrize(
    "version, expected",
    [
        ("2", OK),
        ("2.0", OK),
        ("'1.0'", OK),
        ("'3.0'", OK),
        ("abc", OK),
        ("0", OK),
        ("''", "Invalid DSL: '' should be non-empty"),
        ("null", "Invalid DSL: None is not valid under any of the given schemas"),
        ("true", "Invalid DSL: True is not valid under any of the given schemas"),
        ("-1", "Invalid DSL: -1 is not valid under any of the given schemas"),
        ("[a]", "Invalid DSL: ['a'] is not valid under any of the given schemas"),
    ],
)
def test_versions_of_lists(version, expected):
    decided(f"version: {version}\nw: {{tasks: {{a: {{action: std.noop}}}}}}", expected)


TASKS = [
    ("{}", "Invalid DSL: {} should be non-empty"),
    ("", "Invalid DSL: None is not of type 'object'"),
    ("std.noop", "Invalid DSL: 'std.noop' is not of type 'object'"),
    ("{action: ''}", "Invalid DSL: '' should be non-empty"),
    ("{action: 5}", "Invalid DSL: 5 is not of type 'string'"),
    ("{action: null}", "Invalid DSL: None is not of type 'string'"),
    ("{action: std.noop, workflow: x}", "Invalid DSL: {'action': 'std.noop', 'workflow': 'x'} is"),
    ("{input: [1]}", "Invalid DSL: [1] is not valid under any of the given schemas"),
    ("{input: {}}", "Invalid DSL: {} should be non-empty"),
    ("{input: {a: null}}", OK),
    ("{input: {a-b: 1}}", OK),
    ("{input: {k: {1: 2}}}", OK),
    ("{input: {k: &a b, c: *a, d: @x}}", OK),
    ("{input: {<<: {x: 1}, y: 2}}", OK),
    ("{input: '<% $ %>'}", OK),
    ("{input: text}", OK),
    ("{input: '<% 1 + %>'}", "Parse error: unexpected end of statement"),
    ("{publish: {}}", "Invalid DSL: {} should be non-empty"),
    ("{publish: '<% $ %>'}", "Invalid DSL: '<% $ %>' is not of type 'object'"),
    ("{publish: [x]}", "Invalid DSL: ['x'] is not of type 'object'"),
    ("{publish: {a: '<% wrong( %>'}}", "Parse error: unexpected end of statement"),
    ("{publish: {a: {b: '<% wrong( %>'}}}", OK),
    ("{publish: {a: ['<% wrong( %>']}}", OK),
    (
        "{publish: {a: '<% 1 %> {{ 2 }}'}}",
        "The line already contains an expression of type 'jinja'",
    ),
    ("{publish: {a: '{{ 1 | }}'}}", "Syntax error '"),
    ("{publish-on-skip: {a: '<% 1 + %>'}}", "Parse error"),
    ("{description: ''}", "Invalid DSL: '' should be non-empty"),
    ("{tags: []}", "Invalid DSL: [] should be non-empty"),
    ("{tags: [a, a]}", "Invalid DSL: ['a', 'a'] has non-unique elements"),
    ("{tags: a}", "Invalid DSL: 'a' is not of type 'array'"),
    ("{tags: [1]}", "Invalid DSL: 1 is not of type 'string'"),
    ("{target: '<% $.x %>'}", OK),
    ("{target: '<% 1 + %>'}", OK),
    ("{target: ''}", "Invalid DSL: '' should be non-empty"),
    ("{requires: b}", "Invalid DSL: Additional properties are not allowed ('requires' was"),
    ("{on-finish: b}", "Invalid DSL: Additional properties are not allowed ('on-finish' was"),
    ("{name: 5, version: 3, type: 7}", OK),
    ("{action: 'std.echo output=<% 1 + %>'}", "Parse error"),
    ("{action: 'std.echo output=\"<% 1 + %>\"'}", "Parse error"),
    ("{action: 'std.echo output={{ 1 +}} delay={{ 1 }}'}", "Syntax error '"),
    ("{action: '<% 1 + %>'}", OK),
    ("{action: '<% $.name %>'}", OK),
    ("{action: '=foo x=1'}", "Invalid action/workflow task property: =foo x=1"),
    ("{workflow: 'x a=\"<% 1 + %>\"'}", "Parse error"),
    ("{workflow: '=x a=1'}", "Invalid action/workflow task property: =x a=1"),
    ("{action: 'std.echo output=abc'}", OK),
]


@pytest.mark.parametrize("task, expected", TASKS)
def test_tasks(task, expected):
    decided(with_task(task), expected)


@pytest.mark.parametrize("name", ["keep-result", "safe-rerun", "pause-before", "fail-on"])
@pytest.mark.parametrize(
    "value, expected",
    [
        ("true", OK),
        ("false", OK),
        ("'<% $.x %>'", OK),
        ("'{{ _.x }}'", OK),
        ("'<% $.x %> '", OK),
        ("'true'", SCHEMA + "'true' is not valid under any of the given schemas"),
        ("1", SCHEMA + "1 is not valid under any of the given schemas"),
        ("null", SCHEMA + "None is not valid under any of the given schemas"),
        ("'<% 1 %> x'", SCHEMA + "'<% 1 %> x' is not valid under any of the given schemas"),
        ("'<% 1 + %>'", "Parse error"),
    ],
)
def test_booleans(name, value, expected):
    decided(with_task(f"{{{name}: {value}}}"), expected)


@pytest.mark.parametrize("name", ["wait-before", "wait-after", "timeout", "concurrency"])
@pytest.mark.parametrize(
    "value, expected",
    [
        ("0", OK),
        ("1", OK),
        ("1.0", OK),
        ("'<% $.x %>'", OK),
        ("'{{ _.x }}'", OK),
        ("'<% 1 %>  '", OK),
        ("-1", SCHEMA + "-1 is not valid under any of the given schemas"),
        ("1.5", SCHEMA + "1.5 is not valid under any of the given schemas"),
        ("'5'", SCHEMA + "'5' is not valid under any of the given schemas"),
        ("'<% $.x %> s'", SCHEMA + "'<% $.x %> s' is not valid"),
        ("' <% 1 %>'", SCHEMA + "' <% 1 %>' is not valid"),
        ("true", SCHEMA + "True is not valid under any of the given schemas"),
        ("null", SCHEMA + "None is not valid under any of the given schemas"),
        ("'<% 1 + %>'", "Parse error"),
    ],
)
def test_integers(name, value, expected):
    decided(with_task(f"{{{name}: {value}}}"), expected)


@pytest.mark.parametrize(
    "value, expected",
    [
        ("{count: 3, delay: 1}", OK),
        ("{count: '<% $.x %>', delay: 1}", OK),
        ("{count: 0, delay: 0}", OK),
        ("{count: 1.0, delay: 1}", OK),
        ("count=3 delay=1", OK),
        ("count=3 delay=1 break-on=<% $.x %>", OK),
        ("x count=3 delay=1", OK),
        ("count=<% $.x %> delay=1", OK),
        ("{count: 3}", "Invalid DSL: 'delay' is a required property"),
        ("{delay: 3}", "Invalid DSL: 'count' is a required property"),
        ("{count: -1, delay: 1}", SCHEMA + "-1 is not valid"),
        ("{count: 1.5, delay: 1}", SCHEMA + "1.5 is not valid"),
        ("{count: '3', delay: 1}", SCHEMA + "'3' is not valid"),
        ("{count: 3, delay: 0.5}", SCHEMA + "0.5 is not valid"),
        ("{count: 3, delay: 1, break-on: true}", SCHEMA + "True is not valid"),
        ("{count: 3, delay: 1, break-on: '<% 1 + %>'}", "Parse error"),
        ("{count: 3, delay: 1, until: 3}", SCHEMA + "Additional properties are not allowed"),
        ("{count: 3, delay: 1, name: x}", SCHEMA + "Additional properties are not allowed"),
        ("count=3 delay=1 foo=2", SCHEMA + "Additional properties are not allowed"),
        ("count=3  delay=1 break-on=true", SCHEMA + "True is not valid"),
        ("'count=\"3\" delay=1'", SCHEMA + "'3' is not valid"),
        ("' count=3 delay=1'", "Invalid action/workflow task property:  count=3 delay=1"),
        ("abc", SCHEMA),
        ("5", SCHEMA),
        ("count=3", SCHEMA),
        ("'count=3,delay=1'", SCHEMA),
        ("null", SCHEMA),
    ],
)
def test_retry(value, expected):
    decided(with_task(f"{{retry: {value}}}"), expected)


CLAUSES = [
    ("b", OK),
    ("[b]", OK),
    ("[b, c]", OK),
    ("[{b: '<% true %>'}]", OK),
    ("[{b: '{{ true }}'}]", OK),
    ("[b, {b: '<% true %>'}]", OK),
    ("{next: b}", OK),
    ("{next: [b, c]}", OK),
    ("{next: [{b: '<% false %>'}]}", OK),
    ("{publish: {branch: {x: 1}}}", OK),
    ("{publish: {global: {x: 1}, atomic: {y: 1}}, next: b}", OK),
    ("{publish: {branch: {x: 1}, name: x}}", OK),
    ("{b: '<% true %>'}", OK),
    ("{next: {b: '<% false %>'}}", OK),
    ("{'fail msg=1': '<% 1 %>'}", OK),
    ("[b, b]", SCHEMA + "['b', 'b'] is not valid under any of the given schemas"),
    ("[]", SCHEMA + "[] is not valid under any of the given schemas"),
    ("{}", SCHEMA + "{} is not valid under any of the given schemas"),
    ("null", SCHEMA + "None is not valid under any of the given schemas"),
    ("5", SCHEMA + "5 is not valid under any of the given schemas"),
    ("'b '", SCHEMA + "'b ' is not valid under any of the given schemas"),
    ("[b c]", SCHEMA + "'b c' is not valid under any of the given schemas"),
    ("[{b: '<% 1 %>', c: '<% 1 %>'}]", SCHEMA),
    ("{b: '<% 1 %>', c: '<% 1 %>'}", SCHEMA),
    ("{publish: {}}", "Either 'branch', 'global' or 'atomic' must be specified: "),
    ("{publish: {name: x}}", "Either 'branch', 'global' or 'atomic' must be specified: "),
    ("{publish: {x: 1}}", SCHEMA),
    ("{publish: {planet: {x: 1}}, next: b}", SCHEMA),
    ("{publish: {branch: {}}}", SCHEMA + "{} should be non-empty"),
    ("{publish: '<% 1 %>'}", SCHEMA + "'<% 1 %>' is not of type 'object'"),
    ("{publish: {branch: {x: 1}}, foo: 1}", SCHEMA),
    ("{publish: {branch: {x: '<% 1 + %>'}}}", "Parse error"),
    ("{publish: {global: {x: ['<% 1 + %>']}}}", OK),
    ("{next: null}", SCHEMA),
    ("{next: [b, b]}", SCHEMA),
    ("{next: b, name: x}", SCHEMA),
    ("{next: {b: '<% 1 %>', c: '<% 1 %>'}}", SCHEMA),
    ("{next: {b: x}}", SCHEMA),
    ("[{b: true}]", SCHEMA + "True is not valid"),
    ("[{b: 'yes please'}]", SCHEMA + "'yes please' is not valid"),
    ("[{b: ''}]", SCHEMA + "'' is not valid"),
    ("[{b: null}]", SCHEMA + "None is not valid"),
    ("[{b: '<% true %> and'}]", SCHEMA + "'<% true %> and' is not valid"),
    ("[{b: '<% 1 + %>'}]", "Parse error"),
    ("fail", OK),
    ("[fail]", OK),
    ("['fail msg=1']", OK),
    ("['fail msg=a b']", OK),
    ("['fail msg=<% 1 + %>']", OK),
    ("['fail msg=<% $.x ']", OK),
    ("['succeed foo=1']", OK),
    ("['b x=1']", OK),
    ("['b x=1 y=2']", OK),
    ("['b(x= 1)']", OK),
    ("['fail(msg=\"a b\")']", OK),
    ("[{'fail(msg=<% 1 %>)': '<% true %>'}]", OK),
    ("[{'b x': '<% 1 %>'}]", OK),
    ("['fail()']", "Task 'fail()' not found."),
    ("[{'fail()': '<% 1 %>'}]", "Task 'fail()' not found."),
    ("['x=1']", "Task 'x=1' not found."),
    ("['nope(msg= 1)']", "Task 'nope' not found."),
    ("nosuch", "Task 'nosuch' not found."),
    ("{next: {nosuch: '<% 1 %>'}}", "Task 'nosuch' not found."),
    ('"b\\n"', "Task 'b\n' not found."),
    ("'<% $.x %>'", SCHEMA),
]


@pytest.mark.parametrize("name", ["on-success", "on-error", "on-complete", "on-skip"])
@pytest.mark.parametrize("clause, expected", CLAUSES)
def test_clauses(name, clause, expected):
    decided(with_task(f"{{{name}: {clause}}}"), expected)


NO_START = "Failed to find start tasks in direct workflow. There must be at least one task without"


@pytest.mark.parametrize(
    "tasks, expected",
    [
        ("{a: {on-success: a}}", NO_START + " inbound transition.[workflow_name=w]"),
        ("{a: {on-success: b}, b: {on-success: a}}", NO_START),
        ("{s: {on-success: a}, a: {on-success: b}, b: {on-success: a}}", OK),
    ],
)
def test_starts(tasks, expected):
    decided(f"{VERSION}w:\n  tasks: {tasks}\n", expected)


@pytest.mark.parametrize(
    "join, expected",
    [
        ("all", OK),
        ("one", OK),
        ("0", OK),
        ("1", OK),
        ("2", OK),
        ("1.0", OK),
        ("-1", SCHEMA + "-1 is less than the minimum of 0"),
        ("'2'", SCHEMA + "'2' is not valid under any of the given schemas"),
        ("any", SCHEMA + "'any' is not valid under any of the given schemas"),
        ("true", SCHEMA + "True is not valid under any of the given schemas"),
        ("null", SCHEMA + "None is not valid under any of the given schemas"),
        ("'<% $.x %>'", SCHEMA + "'<% $.x %>' is not valid under any of the given schemas"),
        (
            "3",
            "Not enough inbound tasks for task with 'join' [task_name=j, join=3, inbound_tasks=2]",
        ),
    ],
)
def test_joins_with_two_inbound_tasks(join, expected):
    decided(
        f"{VERSION}w:\n  tasks:\n    a: {{on-success: j, on-complete: [j]}}\n"
        f"    b: {{on-error: j}}\n    j: {{join: {join}, action: std.noop}}\n",
        expected,
    )


def test_a_join_without_inbound_tasks():
    decided(
        VERSION + "w: {tasks: {a: {action: std.noop}, j: {join: all}}}",
        "No inbound tasks for task with 'join: all' [task_name=j]",
    )
    decided(
        VERSION + "w: {tasks: {a: {action: std.noop}, j: {join: one}}}",
        "Not enough inbound tasks for task with 'join' [task_name=j, join=1, inbound_tasks=0]",
    )


@pytest.mark.parametrize(
    "value, expected",
    [
        ("'i in <% $.x %>'", OK),
        ("['i in <% $.x %>', 'j in [1,2]']", OK),
        ("'i in <% range(3) %>'", OK),
        ("'i in <% $.x %> garbage'", OK),
        ("'i in <% 1 %> <% 1 + %>'", OK),
        ("'i in [1] x'", OK),
        ("'i-j in <% 1 %>'", OK),
        ("'i in {{ _.x }}'", OK),
        ("['i in [1]', 'i in [2]']", OK),
        ("'i of <% $.x %>'", "Wrong format of 'with-items' property. Please use format 'var in {["),
        ("'i in $.x'", "Wrong format of 'with-items' property."),
        ("'i in []'", "Wrong format of 'with-items' property."),
        ("'<% $.x %>'", "Wrong format of 'with-items' property."),
        ("'i in {% for %}'", "Wrong format of 'with-items' property."),
        ("\"i in [1,'a']\"", "Invalid array in 'with-items' clause: [1,'a'], error: "),
        ("'i in [<% 1 %>]'", "Invalid array in 'with-items' clause: [<% 1 %>], error: "),
        ("'i in [\"<% 1 + %>\"]'", "Parse error"),
        ("'i in <% 1 + %>'", "Parse error"),
        ("{i: [1]}", SCHEMA),
        ("5", SCHEMA),
        ("[]", SCHEMA + "[] should be non-empty"),
        ("[5]", SCHEMA + "5 is not of type 'string'"),
        ("['i in [1]', 'i in [1]']", SCHEMA + "['i in [1]', 'i in [1]'] has non-unique elements"),
    ],
)
def test_with_items(value, expected):
    decided(with_task(f"{{with-items: {value}}}"), expected)


DEFAULTS = [
    ("{}", SCHEMA + "{} should be non-empty"),
    ("null", SCHEMA + "None is not of type 'object'"),
    ("{foo: 1}", SCHEMA + "Additional properties are not allowed ('foo' was unexpected)"),
    ("{publish: {a: 1}}", SCHEMA + "Additional properties"),
    ("{keep-result: true}", SCHEMA + "Additional properties"),
    ("{target: a}", SCHEMA + "Additional properties"),
    ("{input: {a: 1}}", SCHEMA + "Additional properties"),
    ("{join: all}", SCHEMA + "Additional properties"),
    ("{type: direct}", SCHEMA + "Additional properties"),
    ("{with-items: 'i in [1]'}", SCHEMA + "Additional properties"),
    ("{name: x, description: y, tags: [z], version: 3}", OK),
    ("{on-error: {}}", SCHEMA),
    ("{on-success: nosuch}", "Task 'nosuch' not found."),
    ("{timeout: '<% 1 + %>'}", "Parse error"),
    ("{on-error: [{fail: '<% 1 + %>'}]}", "Parse error"),
    ("{on-success: {publish: {branch: {x: '<% 1 + %>'}}}}", "Parse error"),
    ("{requires: [zz]}", OK),
    ("{safe-rerun: true, on-skip: a, requires: a}", OK),
]


@pytest.mark.parametrize("defaults, expected", DEFAULTS)
def test_task_defaults(defaults, expected):
    decided(with_workflow(f"task-defaults: {defaults}"), expected)


def test_default_transitions_lead_nowhere_from_their_own_target():
    decided(
        f"{VERSION}w:\n  task-defaults: {{on-complete: b}}\n"
        "  tasks: {a: {action: std.noop}, b: {join: all, action: std.noop}}\n",
        OK,
    )


WORKFLOWS = [
    ("input: [a, b]", OK),
    ("input: [{a: 1}]", OK),
    ("input: [{a: null}]", OK),
    ("input: ['a-b']", OK),
    ("input: [a, {a: 1}]", OK),
    ("input: [{a: '<% $.b %>'}]", OK),
    ("input: []", SCHEMA + "[] should be non-empty"),
    ("input: [a, a]", SCHEMA + "['a', 'a'] has non-unique elements"),
    ("input: [{a: 1}, {a: 1}]", SCHEMA + "[{'a': 1}, {'a': 1}] has non-unique elements"),
    ("input: [{a: 1, b: 2}]", SCHEMA + "{'a': 1, 'b': 2} has too many properties"),
    ("input: [1]", SCHEMA + "1 is not valid under any of the given schemas"),
    ("input: ['']", SCHEMA + "''"),
    ("input: a", SCHEMA + "'a' is not of type 'array'"),
    ("input: {a: 1}", SCHEMA + "{'a': 1} is not of type 'array'"),
    *(
        (f"{name}: {value}", SCHEMA)
        for name in ("output", "vars", "output-on-error")
        for value in ("{}", "text", "'<% $ %>'", "[x]", "null")
    ),
    ("output: {a: '<% 1 + %>'}", "Parse error"),
    ("vars: {a: '<% 1 %> {{ 2 }}'}", "The line already contains an expression of type 'jinja'."),
    ("output: {a: {b: '<% 1 + %>'}}", OK),
    ("output: {a: ['<% 1 + %>']}", OK),
    ("vars: {a: {b: '<% 1 + %>'}}", OK),
    ("output-on-error: {a: '<% 1 + %>'}", OK),
    ("foo: 1", OK),
    ("outptu: 1", OK),
    ("name: 5", OK),
    ("version: [1]", OK),
    ("description: ''", OK),
    ("description: [a]", OK),
    ("tags: one", SCHEMA + "'one' is not of type 'array'"),
    ("type: sideways", "Failed to find a specification class to instantiate ["),
    ("type: null", "Failed to find a specification class to instantiate ["),
    ("type: 5", "Failed to find a specification class to instantiate ["),
    ("type: reverse", OK),
    ("type: direct", OK),
]


@pytest.mark.parametrize("attributes, expected", WORKFLOWS)
def test_workflows(attributes, expected):
    decided(with_workflow(attributes), expected)


@pytest.mark.parametrize(
    "task, expected",
    [
        ("{requires: [b]}", OK),
        ("{requires: b}", OK),
        ("{requires: a}", OK),
        ("{requires: []}", SCHEMA + "[] should be non-empty"),
        ("{requires: [b, b]}", SCHEMA + "['b', 'b'] has non-unique elements"),
        ("{requires: 5}", SCHEMA),
        ("{requires: nosuch}", "Task 'nosuch' not found."),
        ("{requires: noop}", "Task 'noop' not found."),
        ("{on-success: b}", SCHEMA + "Additional properties are not allowed ('on-success' was"),
        ("{join: all}", SCHEMA + "Additional properties are not allowed ('join' was unexpected)"),
    ],
)
def test_tasks_of_reverse_workflows(task, expected):
    decided(
        f"{VERSION}w:\n  type: reverse\n  tasks:\n    a: {task}\n    b: {{requires: a}}\n",
        expected,
    )


@pytest.mark.parametrize(
    "defaults, expected",
    [
        ("{requires: [zz]}", "Task 'zz' not found."),
        ("{requires: a}", OK),
        ("{on-success: zz}", OK),
    ],
)
def test_defaults_of_reverse_workflows(defaults, expected):
    decided(with_workflow(f"type: reverse\n  task-defaults: {defaults}"), expected)


NAME = "name: b\n"
WORKFLOW = "{tasks: {a: {action: std.noop}}}"


@pytest.mark.parametrize(
    "text, expected",
    [
        (VERSION + NAME, OK),
        (VERSION, "Invalid DSL: 'name' is a required property"),
        (NAME, "Invalid DSL: 'version' is a required property"),
        (VERSION + "name: ''", SCHEMA + "'' should be non-empty"),
        (VERSION + "name: 5", SCHEMA + "5 is not of type 'string'"),
        (VERSION + NAME + "triggers: {a: 1}", SCHEMA + "Additional properties are not allowed"),
        (VERSION + NAME + "description: ''", SCHEMA + "'' should be non-empty"),
        (VERSION + NAME + "workflows: {}", SCHEMA + "{} should be non-empty"),
        (VERSION + NAME + "workflows:", SCHEMA + "None is not of type 'object'"),
        (VERSION + NAME + "actions: []", SCHEMA + "[] is not of type 'object'"),
        (VERSION + NAME + f"workflows: {{a.b: {WORKFLOW}}}", SCHEMA + "'a.b' does not match any"),
        (VERSION + NAME + f"workflows: {{a b: {WORKFLOW}}}", SCHEMA + "'a b' does not match any"),
        (VERSION + NAME + f"workflows: {{a-b: {WORKFLOW}}}", OK),
        (VERSION + NAME + f"workflows: {{version: '2.0', w: {WORKFLOW}}}", OK),
        (VERSION + NAME + f"workflows: {{version: 2.0, w: {WORKFLOW}}}", OK),
        (VERSION + NAME + "workflows: {version: '2.0'}", OK),
        (
            VERSION + NAME + f"workflows: {{version: 3, w: {WORKFLOW}}}",
            SCHEMA + "3 is not one of ['2.0', 2.0]",
        ),
        (
            VERSION + NAME + "workflows: {w: []}",
            "A specification with polymorphic key must be backed by a dictionary [",
        ),
        (VERSION + NAME + "actions: {w: 5}", SCHEMA + "5 is not of type 'object'"),
        (VERSION + NAME + "actions: {x: {base: std.noop, version: 5, name: 7}}", OK),
        (VERSION + NAME + "workflows: {w: {tasks: {a: {zip: 1}}}}", SCHEMA + "Additional"),
        ("version: '3.0'\n" + NAME, "Unsupported DSL version: 3.0"),
        ("version: abc\n" + NAME, "Unsupported DSL version: abc"),
        ("version: [2]\n" + NAME, "Unsupported DSL version: [2]"),
        ("version: true\n" + NAME, "Unsupported DSL version: True"),
        ("version: ''\n" + NAME, "Unsupported DSL version: "),
        ("version: '2'\n" + NAME, OK),
    ],
)
def test_workbooks(text, expected):
    decided(text, expected, parse_workbook)


@pytest.mark.parametrize(
    "action, expected",
    [
        ("{base: std.echo output=1, tags: [a], description: d}", OK),
        ("{base: '<% 1 + %>'}", OK),
        ("{base: std.echo, output: null}", OK),
        ("{base: std.echo, input: [a, {a: 1}]}", OK),
        ("{base: std.echo, output: {a: '<% 1 + %>'}}", OK),
        ("{base: std.echo, output: ['<% 1 + %>']}", OK),
        ("{base: std.echo, output: '<% 1 + %>'}", "Parse error"),
        ("{base: std.echo, base-input: {a: '<% 1 + %>'}}", "Parse error"),
        ("{base: std.echo, base-input: {a: ['<% 1 + %>']}}", OK),
        ("{base: std.echo, base-input: {a: {b: '<% 1 + %>'}}}", OK),
        ("{base: 'std.echo output=<% 1 + %>'}", "Parse error"),
        ("{base: ''}", SCHEMA + "'' should be non-empty"),
        ("{base: '=x a=1'}", "Invalid action/workflow task property: =x a=1"),
        ("{base: std.echo, base-input: [a]}", SCHEMA + "['a'] is not of type 'object'"),
        ("{base: std.echo, type: 5}", SCHEMA + "Additional properties"),
        ("{base: std.noop, speed: 3}", SCHEMA + "Additional properties"),
        ("{input: [x]}", "Invalid DSL: 'base' is a required property"),
        ("{}", SCHEMA + "{} should be non-empty"),
        ("", SCHEMA + "None is not of type 'object'"),
    ],
)
def test_actions(action, expected):
    decided(f"{VERSION}x: {action}\n", expected, parse_actions)


@pytest.mark.parametrize(
    "name, join, expected",
    [
        ("a-b", "", OK),
        ("a.b", "", OK),
        ("a b", "", OK),
        ("задача", "", OK),
        ("", "", SCHEMA + "'' should be non-empty"),
        ("fail", "", OK),
        ("x" * 255, "", OK),
        ("x" * 256, "", f"The length of a '{'x' * 256}' task name must not exceed 255 symbols"),
        ("x" * 208, "join: 1, ", OK),
        (
            "x" * 209,
            "join: 1, ",
            f"The length of a '{'x' * 209}' join task name must not exceed 208 symbols",
        ),
    ],
)
def test_names_of_tasks(name, join, expected):
    start = f"s: {{on-success: '{name}'}}" if join else "s: {action: std.noop}"
    decided(f"{VERSION}w: {{tasks: {{'{name}': {{{join}action: std.noop}}, {start}}}}}", expected)


# --- where Celeriac decides otherwise --------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        with_task("{on-success: [fail(msg='x'), succeed, pause, noop]}"),
        with_task("{on-success: \"fail(msg='x')\"}"),
        with_task("{on-success: [{\"fail(msg='a')\": '<% 1 %>'}]}"),
        with_task("{on-success: ['b(x=1)']}"),
        with_task("{input: {a: 2020-01-02}}"),
    ],
)
def test_accepted_although_mistral_rejects(text):
    assert verdict(text) == OK


@pytest.mark.parametrize("version", ["2", "2.0", "'2'"])
def test_a_workbook_may_have_its_version_as_a_number(version):
    assert verdict(f"version: {version}\nname: b\n", parse_workbook) == OK


@pytest.mark.parametrize(
    "text, expected",
    [
        # A server error in Mistral.
        (VERSION + f"123: {WORKFLOW}", SCHEMA + "the key 123 is not of type 'string'"),
        (VERSION + "w: {tasks: {12: {action: std.noop}}}", SCHEMA + "the key 12 is not of"),
        (with_task("{input: {1: 2}}"), SCHEMA + "the key 1 is not of type 'string'"),
        (with_task("{publish: {yes: 2}}"), SCHEMA + "the key true is not of type 'string'"),
        (
            with_task("{input: text, action: std.echo output=1}"),
            SCHEMA + "'text' is not of type 'object'",
        ),
        # Ignored by Mistral.
        (with_task("{on-success: {nosuch: '<% 1 %>'}}"), "Task 'nosuch' not found."),
        (
            VERSION + "w: {tasks: {version: {action: std.noop}, a: {action: std.noop}}}",
            SCHEMA + "'version' cannot be the name of a task",
        ),
        # Accepted by Mistral, and not storable as JSON.
        (with_task("{input: {k: .nan}}"), "Definition could not be parsed: '.nan' cannot be"),
    ],
)
def test_rejected_although_mistral_fails_or_accepts(text, expected):
    assert verdict(text).startswith(expected)
