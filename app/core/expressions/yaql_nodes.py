"""Parsed YAQL, made quicker.

YAQL evaluates everything by calling functions, ``$.x`` and ``1 + 1`` too. The nodes here do
the plain cases themselves, where the types of the operands leave no doubt which function it
would be, and call the function in all other cases.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from yaql.language import expressions, utils

from .view import FrozenList, FrozenMap, frozen
from .yaql_calls import NO_VALUE, Scope, call

Constant = expressions.Constant
KeywordConstant = expressions.KeywordConstant
MappingRuleExpression = expressions.MappingRuleExpression

_NUMBERS = frozenset({int, float})
_MAPPINGS = frozenset({dict, utils.FrozenDict})


class Node(expressions.Expression):
    """A part of an expression."""

    uses_receiver = False

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        raise NotImplementedError


class Variable(Node):
    """``$`` or ``$name``."""

    def __init__(self, name: str) -> None:
        self.name = "$1" if name == "$" else name

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        return context.get_data(self.name)


class Property(Node):
    """``left.name``."""

    def __init__(self, left: Any, keyword: Any, *, optional: bool) -> None:
        self.left = left
        self.keyword = keyword
        self.key = keyword.value
        self.optional = optional

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        left = self.left(NO_VALUE, context, engine)
        kind = type(left)
        if kind is FrozenMap:
            return frozen(left.raw[self.key])
        if kind in _MAPPINGS:
            return left[self.key]
        if left is None and self.optional:
            return None
        return call("#operator_.", context, (left, self.keyword), NO_VALUE)


class Method(Node):
    """``left.name(...)``."""

    def __init__(self, left: Any, name: str, args: tuple[Any, ...], *, optional: bool) -> None:
        self.left = left
        self.name = name
        self.args = args
        self.optional = optional

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        left = self.left(NO_VALUE, context, engine)
        if left is None and self.optional:
            return None
        return call(self.name, context, self.args, left)


class Function(expressions.Function):
    """``name(...)``, or a method where a receiver is given."""

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        return call(self.name, context, self.args, receiver)


class Index(Node):
    """``left[index]``."""

    def __init__(self, left: Any, index: Any) -> None:
        self.left = left
        self.index = index

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        left = self.left(NO_VALUE, context, engine)
        index = self.index(NO_VALUE, context, engine)
        kind = type(left)
        if kind is FrozenMap:
            return frozen(left.raw[index])
        if kind in _MAPPINGS:
            return left[index]
        if type(index) is int and (kind is FrozenList or kind is tuple):
            return left[index]
        return call("#indexer", context, (left, index), NO_VALUE)


class List(Node):
    """``[a, b]``."""

    def __init__(self, items: tuple[Any, ...]) -> None:
        self.items = items

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        made = tuple([item(NO_VALUE, context, engine) for item in self.items])
        return context.run.budget.made(made)


class Map(Node):
    """``{a => b}``."""

    def __init__(self, items: tuple[tuple[Any, Any], ...]) -> None:
        self.items = items

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        made = utils.FrozenDict(
            [
                (key(NO_VALUE, context, engine), value(NO_VALUE, context, engine))
                for key, value in self.items
            ]
        )
        return context.run.budget.made(made)


class And(Node):
    """``left and right``."""

    def __init__(self, left: Any, right: Any) -> None:
        self.left = left
        self.right = right

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        left = self.left(NO_VALUE, context, engine)
        return left and self.right(NO_VALUE, context, engine)


class Or(And):
    """``left or right``."""

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        left = self.left(NO_VALUE, context, engine)
        return left or self.right(NO_VALUE, context, engine)


class Not(Node):
    """``not value``."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        return not self.value(NO_VALUE, context, engine)


class Equal(Node):
    """``left = right`` and ``left != right``."""

    def __init__(self, left: Any, right: Any, compare: Callable[[Any, Any], Any]) -> None:
        self.left = left
        self.right = right
        self.compare = compare

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        left = self.left(NO_VALUE, context, engine)
        return self.compare(left, self.right(NO_VALUE, context, engine))


class Binary(Node):
    """An operator that numbers have, and texts perhaps."""

    def __init__(
        self, name: str, left: Any, right: Any, compute: Callable[[Any, Any], Any], *, texts: bool
    ) -> None:
        self.name = name
        self.left = left
        self.right = right
        self.compute = compute
        self.texts = texts

    def __call__(self, receiver: Any, context: Scope, engine: Any) -> Any:
        left = self.left(NO_VALUE, context, engine)
        right = self.right(NO_VALUE, context, engine)
        kind = type(left)
        other = type(right)
        if kind in _NUMBERS:
            if other in _NUMBERS:
                return context.run.budget.made(self.compute(left, right))
        elif kind is str and other is str and self.texts:
            budget = context.run.budget
            budget.room(len(left) + len(right))
            return budget.made(self.compute(left, right))
        return call(self.name, context, (left, right), NO_VALUE)


def _divide(left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int:
        return left // right
    return left / right


#: Operators: what they compute, and whether they do so with texts.
_BINARY: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "#operator_+": (operator.add, True),
    "#operator_-": (operator.sub, False),
    "#operator_*": (operator.mul, False),
    "#operator_/": (_divide, False),
    "#operator_mod": (operator.mod, False),
    "#operator_<": (operator.lt, True),
    "#operator_<=": (operator.le, True),
    "#operator_>": (operator.gt, True),
    "#operator_>=": (operator.ge, True),
}


def quickened(node: Any) -> Any:
    """Return the parsed *node* made of the nodes of this module where there is one for it."""
    kind = type(node)
    if kind is expressions.GetContextValue:
        return Variable(node.path.value)
    if kind is expressions.Wrap:
        # The brackets in `a.(b)` keep the right side from being a name or a method.
        return expressions.Wrap(quickened(node.expr))
    if kind is MappingRuleExpression:
        return MappingRuleExpression(quickened(node.source), quickened(node.destination))
    if not isinstance(node, expressions.Function):
        return node  # a constant
    args = tuple(arg if arg is NO_VALUE else quickened(arg) for arg in node.args)
    simple = not any(arg is NO_VALUE or type(arg) is MappingRuleExpression for arg in args)
    if kind is expressions.BinaryOperator:
        return _binary(node, *args, simple=simple)
    if kind is expressions.UnaryOperator:
        if node.name == "#unary_operator_not" and simple:
            return Not(args[0])
    elif kind is expressions.IndexExpression:
        if simple and len(args) == 2 and not isinstance(args[0], Constant):
            return Index(*args)
    elif kind is expressions.ListExpression:
        if simple:
            return List(args)
    elif kind is expressions.MapExpression:
        if all(type(arg) is MappingRuleExpression for arg in args):
            return Map(tuple((arg.source, arg.destination) for arg in args))
    made = Function(node.name, *args)
    made.uses_receiver = node.uses_receiver
    return made


def _binary(node: Any, left: Any, right: Any, *, simple: bool) -> Any:
    name = node.name
    if name in ("#operator_.", "#operator_?."):
        optional = name == "#operator_?."
        if type(right) is KeywordConstant:
            return Property(left, right, optional=optional)
        if type(right) is Function and right.uses_receiver:
            return Method(left, right.name, right.args, optional=optional)
    elif simple:
        if name == "#operator_and":
            return And(left, right)
        if name == "#operator_or":
            return Or(left, right)
        if name == "*equal":
            return Equal(left, right, operator.eq)
        if name == "*not_equal":
            return Equal(left, right, operator.ne)
        if name in _BINARY:
            compute, texts = _BINARY[name]
            if _suits(left, texts=texts) and _suits(right, texts=texts):
                return Binary(name, left, right, compute, texts=texts)
    made = Function(name, left, right)
    made.uses_receiver = False
    return made


def _suits(operand: Any, *, texts: bool) -> bool:
    """Tell whether *operand* may be of a type that ``Binary`` knows.

    A constant that is not would be refused before the other operand is evaluated: the
    function sees to that.
    """
    if not isinstance(operand, Constant):
        return True
    kind = type(operand.value)
    return kind in _NUMBERS or (texts and kind is str)
