"""The code of a function as text that is the same in every process and Python version.

The text comes from the syntax tree, so comments, blank lines, docstrings and quotes do not matter,
and it is taken only from source that compiles to the very code that runs: a file that was edited
after it was loaded tells of another function. Where there is no such source, the bytecode stands
in, which differs from version to version of Python.

This module needs the standard library alone.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType

_LEFT_OUT = frozenset({"decorator_list", "type_comment", "type_params", "kind", "ctx", "returns"})
_FUTURE = sum(
    getattr(__import__("__future__"), name).compiler_flag
    for name in __import__("__future__").all_feature_names
)

_TEXTS: dict[CodeType, str] = {}
"""The text of each code: a file may be edited while what was loaded from it goes on."""

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def code_text(func: FunctionType) -> str:
    """Return the normal form of a function's own code."""
    code = func.__code__
    if code not in _TEXTS:
        node = _node_of(code, func.__globals__)
        bytecode = f"bytecode {_version()} {_digest(_code_bytes(code))}"
        _TEXTS[code] = bytecode if node is None else _text(node)
    return _TEXTS[code]


def module_text(source: str) -> str:
    """Return a digest of a module's code. Raises SyntaxError where it is none."""
    return _digest(_text(ast.parse(source)).encode())


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _node_of(code: CodeType, space: dict[str, object]) -> Function | None:
    """Return the syntax tree of the function that `code` is, None where its source is not there."""
    linecache.checkcache(code.co_filename)
    source = "".join(linecache.getlines(code.co_filename, space))
    if not source:
        return None
    compiled = _compiled(source, code.co_flags & _FUTURE)
    same = [
        (other, node) for other, node in compiled.get(code.co_qualname, ()) if _same(other, code)
    ]
    for other, node in same:
        if other == code:  # in the same place of the file
            return node
    texts = {_text(node): node for _, node in same}
    return next(iter(texts.values())) if len(texts) == 1 else None


@lru_cache(maxsize=256)
def _compiled(source: str, flags: int) -> dict[str, list[tuple[CodeType, Function]]]:
    """Return the functions of a file by qualified name, each with its code and its tree."""
    try:
        tree = ast.parse(source)
        whole = compile(source, "<source>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return {}
    nodes: dict[int, list[Function]] = {}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            nodes.setdefault(_first_line(node), []).append(node)
    functions: dict[str, list[tuple[CodeType, Function]]] = {}
    for code in _codes(whole):
        fitting = [n for n in nodes.get(code.co_firstlineno, ()) if _fits(n, code)]
        if fitting:
            innermost = min(fitting, key=_extent)
            functions.setdefault(code.co_qualname, []).append((code, innermost))
    return functions


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _first_line(node: Function) -> int:
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(d.lineno for d in decorators)])


def _fits(node: Function, code: CodeType) -> bool:
    """Tell whether every instruction lies within the tree."""
    name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    if name != code.co_name:
        return False
    body = node.body if isinstance(node, ast.Lambda) else None
    for line, end, column, end_column in code.co_positions():
        if line is None or column is None or (column == 0 and end_column == 0):
            continue  # the function's start
        if body is None:
            if not (node.lineno <= line and (end or line) <= (node.end_lineno or line)):
                return False
        elif not _within(body, line, column, end or line, end_column or column):
            return False
    return True


def _within(node: ast.expr, line: int, column: int, end: int, end_column: int) -> bool:
    last = node.end_lineno or node.lineno, node.end_col_offset or 0
    return (node.lineno, node.col_offset) <= (line, column) and (end, end_column) <= last


def _extent(node: Function) -> tuple[int, int]:
    return (node.end_lineno or 0) - node.lineno, (node.end_col_offset or 0) - node.col_offset


def _same(one: CodeType, other: CodeType) -> bool:
    """Tell whether two codes do the same, wherever they stand in their files."""
    return _code_bytes(one) == _code_bytes(other)


def _code_bytes(code: CodeType) -> bytes:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    head = repr((code.co_code, names, code.co_flags, counts))
    return head.encode() + b"".join(_constant(value) for value in code.co_consts)


def _constant(value: object) -> bytes:
    if isinstance(value, CodeType):
        return _code_bytes(value)
    if isinstance(value, frozenset):  # its order changes from process to process
        return b"{" + b",".join(sorted(_constant(item) for item in value)) + b"}"
    if isinstance(value, tuple):
        return b"(" + b",".join(_constant(item) for item in value) + b")"
    return f"{type(value).__name__} {value!r}".encode()


def _text(node: object) -> str:
    if isinstance(node, ast.AST):
        parts = {"body": _without_docstring, "values": _without_nothing}
        fields = (
            (name, parts[name](value) if name in parts else value)
            for name, value in ast.iter_fields(node)
            if name not in _LEFT_OUT
        )
        texts = (f"{name}={_text(value)}" for name, value in fields if value not in (None, []))
        constant = f" {type(node.value).__name__}" if isinstance(node, ast.Constant) else ""
        return f"{type(node).__name__}({', '.join(texts)}{constant})"
    if isinstance(node, list):
        return "[" + ", ".join(map(_text, node)) + "]"
    return repr(node)


def _without_nothing(values: object) -> object:
    """Leave out the empty pieces of an f-string: some versions of Python write them."""
    if not isinstance(values, list):
        return values
    return [v for v in values if not (isinstance(v, ast.Constant) and v.value == "")]


def _without_docstring(statements: object) -> object:
    if not isinstance(statements, list) or not statements:
        return statements
    first = statements[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return statements[1:] if isinstance(first.value.value, str) else statements
    return statements
