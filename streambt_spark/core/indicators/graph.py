"""The indicator graph: what is computed from what, each distinct thing once.

A node's identity is a digest of its function (name, source, parameters) and of what is bound to
each of its inputs, by name. Two strategies that ask for the same thing therefore share one node,
in any process, and a - b never merges with b - a. Inputs may be handles, or texts that name a bar
column or an indicator declared with `name=`, before or after; so a declaration can contain a cycle,
and `compile_graph` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streambt_spark.core.identity import digest_of
from streambt_spark.core.indicators.function import Function
from streambt_spark.core.market.bars import COLUMNS
from streambt_spark.errors import BadParameter, CycleError, UnknownColumn, did_you_mean

BARS = "bars"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One output of a node, or one column of the bars (node 'bars')."""

    node: str
    output: str


@dataclass(frozen=True, slots=True)
class Node:
    """A function applied to inputs; `identity` names it in every process."""

    identity: str
    function: Function
    inputs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Handle:
    """What the user holds of a declared indicator (or, with declaration -1, of the bars)."""

    declaration: int
    outputs: tuple[str, ...]
    chosen: str | None = None
    label: str = "bars"
    graph: Graph | None = field(default=None, compare=False, repr=False)

    def __getitem__(self, output: str) -> Handle:
        """Return the handle of one output. Raises UnknownColumn where there is none of the name."""
        if output not in self.outputs:
            raise UnknownColumn(
                f"{self.label} has no column {output!r}{did_you_mean(output, self.outputs)}; "
                f"it has {', '.join(self.outputs)}",
                column=output,
            )
        return Handle(self.declaration, self.outputs, output, self.label, self.graph)

    def column(self) -> str:
        """Return the one output this handle stands for. Raises UnknownColumn where it is open."""
        if self.chosen is not None:
            return self.chosen
        if len(self.outputs) == 1:
            return self.outputs[0]
        raise UnknownColumn(
            f"{self.label} has several columns, choose one: "
            + ", ".join(f"[{o!r}]" for o in self.outputs),
            function=self.label,
        )


DATA = Handle(-1, COLUMNS)
"""The handle of the bars."""

Input = Handle | str


@dataclass(frozen=True, slots=True)
class Declaration:
    """An indicator as the user declared it."""

    function: Function
    inputs: tuple[Input, ...]
    name: str | None


@dataclass(slots=True)
class Graph:
    """Collects declarations and resolves them to nodes, each once, inputs before their readers."""

    declarations: list[Declaration] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    identities: dict[int, str] = field(default_factory=dict)

    def add(self, function: Function, inputs: Sequence[Input], name: str | None = None) -> Handle:
        """Declare an indicator and return its handle.

        The bars' handle as the only input stands for the columns that the function names. Raises
        BadParameter for a wrong number of inputs or a name that is taken, UnknownColumn for a
        handle of several columns of which none is chosen.
        """
        columns = tuple(inputs)
        if columns in ((), (DATA,)):
            columns = tuple(DATA[column] for column in function.inputs if column in COLUMNS)
        if function.inputs and len(columns) != len(function.inputs):
            raise BadParameter(
                f"{function.name} takes {len(function.inputs)} columns "
                f"({', '.join(function.inputs)}), found {len(columns)}",
                function=function.name,
            )
        for item in columns:
            if isinstance(item, Handle):
                self.check(item)
                item.column()
            elif not isinstance(item, str):
                raise BadParameter(
                    f"{function.name} takes columns such as bars['close'] or a handle, "
                    f"found {type(item).__name__}",
                    function=function.name,
                )
        if name is not None:
            if "." in name:
                raise BadParameter(f"the name {name!r} has a dot, which stands before an output")
            if name in self.names or name in COLUMNS:
                raise BadParameter(f"the name {name!r} is taken")
            self.names[name] = len(self.declarations)
        self.declarations.append(Declaration(function, columns, name))
        label = name or function.name
        return Handle(len(self.declarations) - 1, function.outputs, None, label, self)

    def check(self, handle: Handle) -> None:
        """Raise BadParameter where a handle was declared in another graph."""
        if handle.declaration >= 0 and handle.graph is not self:
            raise BadParameter(
                f"{handle.label} was declared in another Cerebro; declare it in this one",
                function=handle.label,
            )

    def ref(self, handle: Handle) -> Ref:
        """Return what a handle stands for.

        Raises what `compile_graph` does, for what the handle depends on, and BadParameter for a
        handle of another graph.
        """
        self.check(handle)
        node = BARS if handle.declaration < 0 else self.resolve(handle.declaration)
        return Ref(node, handle.column())

    def resolve(self, index: int, path: tuple[int, ...] = ()) -> str:
        """Return the identity of a declaration's node; `path` leads to it from its readers."""
        if index in self.identities:
            return self.identities[index]
        if index in path:
            loop = [*path[path.index(index) :], index]
            names = " → ".join(_label(self.declarations[i]) for i in loop)
            raise CycleError(f"an indicator depends on itself: {names}")
        declaration = self.declarations[index]
        refs = []
        for item in declaration.inputs:
            handle = self._named(item) if isinstance(item, str) else item
            source = handle.declaration
            node = BARS if source < 0 else self.resolve(source, (*path, index))
            refs.append(Ref(node, handle.column()))
        if declaration.function.commutative:
            # One order for all: equal in theory is not yet equal to the bit.
            refs.sort()
        identity = _identity(declaration.function, refs)
        self.nodes.setdefault(identity, Node(identity, declaration.function, tuple(refs)))
        self.identities[index] = identity
        return identity

    def _named(self, text: str) -> Handle:
        name, _, output = text.partition(".")
        if text in COLUMNS:
            return DATA[text]
        if name not in self.names:
            known = (*COLUMNS, *self.names)
            raise UnknownColumn(
                f"no column or indicator is named {name!r}{did_you_mean(name, known)}; "
                f"there are {', '.join(known)}",
                column=name,
            )
        index = self.names[name]
        outputs = self.declarations[index].function.outputs
        handle = Handle(index, outputs, None, name, self)
        return handle[output] if output else handle


@dataclass(frozen=True, slots=True)
class Compiled:
    """Nodes in an order in which every input comes first, and each declaration's identity."""

    nodes: tuple[Node, ...]
    identities: tuple[str, ...]

    def ref(self, handle: Handle) -> Ref:
        """Return what a handle stands for."""
        node = BARS if handle.declaration < 0 else self.identities[handle.declaration]
        return Ref(node, handle.column())


def compile_graph(graph: Graph) -> Compiled:
    """Resolve names, merge equal nodes and order them.

    Raises UnknownColumn for a text that names nothing, CycleError with the path of a cycle.
    """
    identities = tuple(graph.resolve(index) for index in range(len(graph.declarations)))
    return Compiled(tuple(graph.nodes.values()), identities)


def _label(declaration: Declaration) -> str:
    return declaration.name or declaration.function.name


def _identity(function: Function, refs: Sequence[Ref]) -> str:
    names = function.inputs or tuple(str(i) for i in range(len(refs)))
    if function.commutative:
        names = ("",) * len(refs)
    bound = [[name, ref.node, ref.output] for name, ref in zip(names, refs, strict=True)]
    return digest_of({"function": function.identity, "inputs": bound})
