"""The changes that are tried: each is a plausible mistake."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

Path = tuple[tuple[str, int | None], ...]
"""From the module to a node: a field, and the place in it where it is a list."""

_LIST_MAX = 40
"""Elements of one display that are omitted one by one: of a longer one every nth."""

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """``name`` stays while lines move: the function, what stood there, what stands there now.

    ``is_in_function``: only the body of a function is another.
    """

    name: str
    line: int
    is_in_function: bool
    source: str
    path: Path
    other: ast.AST

    @property
    def tree(self) -> ast.Module:
        tree = ast.parse(self.source)
        _put(tree, self.path, ast.copy_location(self.other, _at(tree, self.path)))
        return ast.fix_missing_locations(tree)


def mutants(source: str) -> Iterator[Mutant]:
    tree = ast.parse(source)
    for path, owner, in_function in list(_places(tree, (), "", False)):
        node = _at(tree, path)
        for other in _others(node, _at(tree, path[:-1]) if path else None, path):
            name = f"{owner}: {_text(node)} -> {_text(other)}"
            yield Mutant(name, getattr(node, "lineno", 0), in_function, source, path, other)


def _places(
    node: ast.AST, path: Path, owner: str, inside: bool
) -> Iterator[tuple[Path, str, bool]]:
    if isinstance(node, ast.expr | ast.stmt):
        yield path, owner or "module", inside
    is_function = isinstance(node, ast.FunctionDef)
    for field, value in ast.iter_fields(node):
        if _is_left_out(node, field):
            continue
        below = owner
        within = inside or (is_function and field == "body")
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            below = f"{owner}.{node.name}".lstrip(".")
        elif not inside and isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            below = f"{owner}.{ast.unparse(target)}".lstrip(".")
        children = value if isinstance(value, list) else [value]
        for i, child in enumerate(children):
            if isinstance(child, ast.AST):
                step = (field, i if isinstance(value, list) else None)
                yield from _places(child, (*path, step), below, within)


def _is_left_out(node: ast.AST, field: str) -> bool:
    """Types, decorators, texts for people, and what is only for the type checker."""
    return (
        field in ("annotation", "returns", "decorator_list", "format_spec", "bases")
        or isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr)
        or (isinstance(node, ast.ClassDef) and field == "keywords")
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    )


def _others(node: ast.AST, parent: ast.AST | None, path: Path) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for op in _COMPARED.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [op()], node.comparators)
    elif isinstance(node, ast.Compare):
        for i, old in enumerate(node.ops):
            for op in _COMPARED.get(type(old), ()):
                yield ast.Compare(
                    node.left, [*node.ops[:i], op(), *node.ops[i + 1 :]], node.comparators
                )
    elif isinstance(node, ast.BoolOp):
        for i in range(len(node.values)):
            left = node.values[:i] + node.values[i + 1 :]
            yield left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp) and not (_is_text(node.left) or _is_text(node.right)):
        if type(node.op) in _CALCULATED:
            yield ast.BinOp(node.left, _CALCULATED[type(node.op)](), node.right)
        yield node.left
    elif isinstance(node, ast.Constant):
        yield from map(ast.Constant, _values(node.value))
    elif isinstance(node, ast.If | ast.IfExp):
        for value in (True, False):
            other = copy.copy(node)
            other.test = ast.Constant(value)
            yield other
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in ("max", "min") and len(node.args) > 1:
            yield from node.args
        elif node.func.id in ("sorted", "abs", "round") and len(node.args) == 1:
            yield node.args[0]
    elif isinstance(node, ast.Return) and node.value is not None:
        yield from _returned(node.value)
    elif _is_done_for_its_effect(node):
        yield ast.Pass()
    elif isinstance(node, ast.Set | ast.List | ast.Tuple) and not _is_target(node, parent, path):
        if len(node.elts) > 1:
            for i in range(0, len(node.elts), len(node.elts) // _LIST_MAX + 1):
                fewer = copy.copy(node)
                fewer.elts = node.elts[:i] + node.elts[i + 1 :]
                yield fewer
    elif isinstance(node, ast.Dict) and len(node.keys) > 1:
        for i in range(len(node.keys)):
            keys, values = list(node.keys), list(node.values)
            del keys[i], values[i]
            yield ast.Dict(keys, values)


def _is_done_for_its_effect(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    return isinstance(node, ast.AugAssign | ast.Continue | ast.Break | ast.Delete)


def _values(value: object) -> Iterator[bool | int | float]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        yield value - 1
    elif isinstance(value, float):
        yield value * 1.25 if value else 1.0
        yield value * 0.8 if value else -1.0


def _returned(value: ast.expr) -> Iterator[ast.Return]:
    """Always yes and always no, of what answers a question; nothing, of what may find nothing."""
    if isinstance(value, ast.Compare | ast.BoolOp) or (
        isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
    ):
        yield ast.Return(ast.Constant(True))
        yield ast.Return(ast.Constant(False))
    elif not isinstance(value, ast.Constant):
        yield ast.Return(ast.Constant(None))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _is_target(node: ast.AST, parent: ast.AST | None, path: Path) -> bool:
    """A tuple that is assigned to, or that indexes, is no table."""
    is_loaded = isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
    return not is_loaded or (isinstance(parent, ast.Subscript) and path[-1][0] == "slice")


def _at(tree: ast.AST, path: Path) -> ast.AST:
    node: ast.AST = tree
    for field, i in path:
        value = getattr(node, field)
        node = value if i is None else value[i]
    return node


def _put(tree: ast.AST, path: Path, other: ast.AST) -> None:
    *above, (field, i) = path
    node = _at(tree, tuple(above))
    if i is None:
        setattr(node, field, other)
    else:
        getattr(node, field)[i] = other


def _text(node: ast.AST) -> str:
    """One line; of a statement with a body its head."""
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
    text = text.split("\n", 1)[0] if isinstance(node, ast.stmt) else " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:110]}...{text[-45:]}"
