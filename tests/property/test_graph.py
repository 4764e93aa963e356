"""The graph: what is equal is computed once, in any order of declaration."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.indicators.graph import DATA, Graph, compile_graph
from streambt_spark.core.indicators.library import indicator, resolve


def minus(a: np.ndarray, b: np.ndarray) -> Any:
    """Return a less b."""
    return a - b


@indicator(commutative=True)
def plus(a: np.ndarray, b: np.ndarray) -> Any:
    """Return the sum."""
    return a + b


FUNCTIONS = (resolve(minus, {}), resolve(plus, {}))
choice = st.tuples(st.integers(0, 1), st.integers(0, 10**6), st.integers(0, 10**6))


def meaning(kind: int, left: object, right: object) -> tuple[object, ...]:
    """Return what a node means, the sum's terms in one order."""
    terms = sorted((left, right), key=repr) if kind else (left, right)
    return (kind, *terms)


@given(st.lists(choice, min_size=1, max_size=12))
def test_nodes_are_the_different_meanings(choices: list[tuple[int, int, int]]) -> None:
    """As many nodes as there are different expressions; equal ones, and only they, share one."""
    graph, handles = Graph(), [DATA["open"], DATA["close"]]
    meanings: list[object] = ["open", "close"]
    for kind, left, right in choices:
        a, b = left % len(handles), right % len(handles)
        handles.append(graph.add(FUNCTIONS[kind], [handles[a], handles[b]]))
        meanings.append(meaning(kind, meanings[a], meanings[b]))
    compiled = compile_graph(graph)
    told = dict(zip(compiled.identities, meanings[2:], strict=True))
    assert len(compiled.nodes) == len(set(meanings[2:])) == len(told)
    assert [told[i] for i in compiled.identities] == meanings[2:]
    placed = [node.identity for node in compiled.nodes]
    for at, node in enumerate(compiled.nodes):
        assert all(ref.node == "bars" or ref.node in placed[:at] for ref in node.inputs)
