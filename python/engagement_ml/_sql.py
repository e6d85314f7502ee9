"""Parses the SQL of derived features (docs/expressions.md) into a small tree.

Training has checked the text with its own parser already, so this one only has to read what that one lets through, with the same
precedences. What it cannot read is refused, never guessed.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from ._columns import parse_timestamp

PARTS = {
    "YEAR": "year", "QUARTER": "quarter", "MONTH": "month", "WEEK": "week", "WEEK_OF_YEAR": "week", "DAY": "day",
    "DAY_OF_MONTH": "day", "DAY_OF_WEEK": "day_of_week", "DOW": "day_of_week", "DAY_OF_YEAR": "day_of_year", "DOY": "day_of_year",
    "HOUR": "hour", "MINUTE": "minute", "SECOND": "second",
}  # fmt: skip
FUNCTIONS = {
    "COALESCE": "coalesce", "NULLIF": "nullif", "LEAST": "least", "GREATEST": "greatest", "POWER": "power", "POW": "power",
    "ABS": "abs", "LN": "ln", "EXP": "exp", "SQRT": "sqrt", "FLOOR": "floor", "CEIL": "ceil", "CEILING": "ceil", "ROUND": "round",
}  # fmt: skip
COUNTS = {"coalesce": (1, None), "least": (1, None), "greatest": (1, None), "nullif": (2, 2), "power": (2, 2)}
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |'(?P<text>(?:[^']|'')*)'
    |"(?P<quoted>(?:[^"]|"")*)"
    |(?P<word>[^\W\d]\w*)
    |(?P<sign><=|>=|<>|!=|[-+*/=<>(),]))""",
    re.VERBOSE,
)
_OR, _AND, _NOT, _IS, _COMPARE, _ADD, _MULTIPLY = 5, 10, 15, 17, 20, 30, 40
_BINARY = {"+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY, "=": _COMPARE, "<>": _COMPARE, "!=": _COMPARE, "<": _COMPARE,
           "<=": _COMPARE, ">": _COMPARE, ">=": _COMPARE}  # fmt: skip


class SqlError(ValueError):
    """An expression that this parser does not read."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One step of an expression. `form` says what it is: column, number, text, boolean, date, null, negate, not, binary, is_null,
    between, in, case, call, part or date_diff."""

    form: str
    value: Any = None
    operands: tuple["Node | None", ...] = ()


def parse(sql: str) -> Node:
    """The tree of an expression."""
    parser = _Parser(_tokens(sql))
    node = parser.expression(0)
    if parser.peek() is not None:
        raise SqlError(f"{parser.peek()} does not belong after a complete expression")
    return node


def _tokens(sql: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while sql[position:].strip():
        match = _TOKEN.match(sql, position)
        if not match:
            raise SqlError(f"what begins with {sql[position : position + 20]!r} is not known")
        kind = match.lastgroup or ""
        value = match[kind]
        quote = {"text": "'", "quoted": '"'}.get(kind)
        tokens.append((kind, value.replace(quote * 2, quote) if quote else value))
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at = tokens, 0

    def peek(self, ahead: int = 0) -> tuple[str, str] | None:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else None

    def next(self) -> tuple[str, str]:
        token = self.peek()
        if token is None:
            raise SqlError("it ends too early")
        self._at += 1
        return token

    def word(self, ahead: int = 0) -> str:
        token = self.peek(ahead)
        return token[1].upper() if token and token[0] == "word" else ""

    def is_sign(self, sign: str, ahead: int = 0) -> bool:
        return self.peek(ahead) == ("sign", sign)

    def skip_word(self, word: str) -> bool:
        if self.word() != word:
            return False
        self._at += 1
        return True

    def expect(self, *wanted: str) -> None:
        for each in wanted:
            token = self.next()
            if token[1].upper() != each or token[0] not in ("word", "sign"):
                raise SqlError(f"there is {token[1]!r} where {each} should be")

    # An operator binds its operands while what follows binds stronger than `strength`.
    def expression(self, strength: int) -> Node:
        left = self.prefix()
        while True:
            following = self.strength()
            if following <= strength:
                return left
            left = self.infix(left, following)

    def strength(self) -> int:
        token = self.peek()
        if token is None:
            return 0
        if token[0] == "sign":
            return _BINARY.get(token[1], 0)
        word = self.word()
        if word == "NOT":
            return _COMPARE if self.word(1) in ("IN", "BETWEEN") else 0
        return {"OR": _OR, "AND": _AND, "IS": _IS, "BETWEEN": _COMPARE, "IN": _COMPARE}.get(word, 0)

    def infix(self, left: Node, strength: int) -> Node:
        _, sign = self.next()
        if sign in _BINARY:
            return Node("binary", "<>" if sign == "!=" else sign, (left, self.expression(strength)))
        word = sign.upper()
        if word in ("AND", "OR"):
            return Node("binary", word, (left, self.expression(strength)))
        if word == "IS":
            negated = self.skip_word("NOT")
            self.expect("NULL")
            return Node("is_null", negated, (left,))
        negated = word == "NOT"
        word = self.next()[1].upper() if negated else word
        if word == "BETWEEN":
            low = self.expression(_COMPARE)
            self.expect("AND")
            return Node("between", negated, (left, low, self.expression(_COMPARE)))
        self.expect("(")
        return Node("in", negated, (left, *self.arguments()))

    def arguments(self) -> list[Node]:
        """Expressions up to the closing parenthesis."""
        found = [self.expression(0)]
        while self.is_sign(","):
            self.next()
            found.append(self.expression(0))
        self.expect(")")
        return found

    def prefix(self) -> Node:
        kind, value = self.next()
        if kind == "number":
            return Node("number", float(value))
        if kind == "text":
            return Node("text", value)
        if kind == "quoted":
            return Node("column", value)
        if kind == "sign":
            return self.sign(value)
        return self.named(value)

    def sign(self, sign: str) -> Node:
        if sign == "-":
            return Node("negate", None, (self.expression(_MULTIPLY),))
        if sign == "(":
            inner = self.expression(0)
            self.expect(")")
            return inner
        raise SqlError(f"there is {sign} where a value should be")

    def named(self, name: str) -> Node:
        word, following = name.upper(), self.peek()
        if word in ("DATE", "TIMESTAMP") and following and following[0] == "text":
            self.next()
            days = parse_timestamp(following[1])
            if days is None:
                raise SqlError(f"{following[1]!r} is not a date")
            return Node("date", days)
        if self.is_sign("(") and word not in ("NOT", "CASE"):
            self.next()
            return self.function(word)
        if word == "NOT":
            return Node("not", None, (self.expression(_NOT),))
        if word == "CASE":
            return self.case()
        if word in ("TRUE", "FALSE"):
            return Node("boolean", word == "TRUE")
        if word == "NULL":
            return Node("null")
        return Node("column", name)

    def case(self) -> Node:
        operand = None if self.word() == "WHEN" else self.expression(0)
        branches: list[Node] = []
        while self.skip_word("WHEN"):
            branches.append(self.expression(0))
            self.expect("THEN")
            branches.append(self.expression(0))
        otherwise = self.expression(0) if self.skip_word("ELSE") else None
        self.expect("END")
        if not branches:
            raise SqlError("CASE has no WHEN")
        return Node("case", None, (operand, otherwise, *branches))

    def function(self, name: str) -> Node:
        if name == "EXTRACT":
            part = self.next()[1].upper()
            self.expect("FROM")
            date = self.expression(0)
            self.expect(")")
            return self.part(part, [date])
        arguments = self.arguments()
        if name in PARTS:
            return self.part(name, arguments)
        if name == "DATE_DIFF":
            if len(arguments) != 3 or arguments[0].form != "text":
                raise SqlError("DATE_DIFF takes a unit and two dates")
            return Node("date_diff", arguments[0].value.lower(), tuple(arguments[1:]))
        function = FUNCTIONS.get(name)
        if function is None:
            raise SqlError(f"the function {name} is not known")
        least, most = COUNTS.get(function, (1, 1))
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise SqlError(f"{name} has {len(arguments)} arguments")
        return Node("call", function, tuple(arguments))

    def part(self, name: str, arguments: list[Node]) -> Node:
        if name not in PARTS or len(arguments) != 1:
            raise SqlError(f"the part {name} of a date is not known")
        return Node("part", PARTS[name], tuple(arguments))
