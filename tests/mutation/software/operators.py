"""Mutants of a Python module, made from its syntax tree.

Each operator changes one place: a comparison, an arithmetic operator, an integer, `and` for `or`, min for max, a
condition negated, a statement left out. Texts of errors, annotations and docstrings are left alone: they are no
behaviour that a golden model could get wrong.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "random_mutants", "seeded_mutant"]

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}
_BEHAVIOUR_FREE = (ast.Raise, ast.JoinedStr, ast.Assert, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes
    ----------
    line, column : int
        Of the original; columns count from where its text begins.
    text : str
        The original line, without its indentation.
    change : str
        ``old -> new``, as Python text; of a seeded fault its meaning.
    source : str
        The whole mutated module.
    """

    module: str
    line: int
    column: int
    text: str
    change: str
    source: str
    seeded: bool = False

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Names the mutant for as long as its line stays what it is."""
        return self.module, self.text, self.column, self.change


def random_mutants(module: str, source: str, count: int, seed: int) -> list[Mutant]:
    """Up to `count` mutants, no two of the same change at one place; the same for the same seed and source."""
    tree = ast.parse(source)
    places = list(_places(tree))
    random.Random(f"{module} {seed}").shuffle(places)
    lines = source.splitlines()
    found: dict[tuple[str, str, int, str], Mutant] = {}
    for node, change in places:
        if len(found) == count:
            break
        mutated = copy.deepcopy(tree)
        twin = next(other for other in ast.walk(mutated) if _place(other) == _place(node))
        before = _show(twin)
        change(twin)
        line = lines[node.lineno - 1]
        text, column = line.strip(), node.col_offset - (len(line) - len(line.lstrip()))
        mutant = Mutant(module, node.lineno, column, text, f"{before} -> {_show(twin)}", ast.unparse(mutated))
        found.setdefault(mutant.key, mutant)
    return list(found.values())


def seeded_mutant(module: str, source: str, old: str, new: str, what: str) -> Mutant:
    """The module with `old`, which stands in it once, replaced by `new`: a fault of a known meaning, `what`.

    Raises
    ------
    ValueError
        If `old` is not there exactly once; the list of seeded faults must follow the source.
    """
    if source.count(old) != 1:
        raise ValueError(f"{module}: {old!r} stands there {source.count(old)} times: a seeded fault needs it once")
    line = source[: source.index(old)].count("\n") + 1
    text = source.splitlines()[line - 1].strip()
    return Mutant(module, line, 0, text, what, source.replace(old, new), seeded=True)


Change = Callable[[ast.AST], None]


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, Change]]:
    for node in _behaviour(tree):
        yield from ((node, change) for change in _changes(node))


def _behaviour(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that are neither annotations, docstrings nor texts of errors."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, _BEHAVIOUR_FREE):
                yield child
                yield from _behaviour(child)


def _changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARISONS:
            yield _compare
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _ARITHMETIC:
            yield _operate
        case ast.BoolOp():
            yield _join
        case ast.Constant(value=bool()):
            yield _invert
        case ast.Constant(value=int()):
            yield _increase
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _NAMES:
            yield _rename
        case ast.If() | ast.While() | ast.IfExp():
            yield _negate
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield _leave_out


def _compare(node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    node.ops = [_COMPARISONS[type(node.ops[0])]()]


def _operate(node: ast.AST) -> None:
    assert isinstance(node, ast.BinOp | ast.AugAssign)
    node.op = _ARITHMETIC[type(node.op)]()


def _join(node: ast.AST) -> None:
    assert isinstance(node, ast.BoolOp)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _invert(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant)
    node.value = not node.value


def _increase(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int)
    node.value += 1


def _rename(node: ast.AST) -> None:
    if isinstance(node, ast.Name):
        node.id = _NAMES[node.id]
    else:
        assert isinstance(node, ast.Attribute)
        node.attr = _NAMES[node.attr]


def _negate(node: ast.AST) -> None:
    assert isinstance(node, ast.If | ast.While | ast.IfExp)
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _leave_out(node: ast.AST) -> None:
    node.__class__ = ast.Pass  # in place, so that no parent need be known


def _place(node: ast.AST) -> tuple[str, int, int, int, int]:
    names = ("lineno", "col_offset", "end_lineno", "end_col_offset")
    return (type(node).__name__, *(getattr(node, name, 0) for name in names))  # type: ignore[return-value]


def _show(node: ast.AST) -> str:
    """The node in a line; of a statement with a body the condition alone."""
    if isinstance(node, ast.If | ast.While):
        return f"if {ast.unparse(node.test)}"
    return ast.unparse(node)
