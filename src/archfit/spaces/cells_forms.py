"""Which cells are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from archfit.nn.cells import Node

_Key = tuple[tuple[int, int], tuple[int, int]]


def loose_ends(nodes: Sequence[Node]) -> tuple[int, ...]:
    """The states that no node reads; the two inputs are none of them."""
    read = {state for node in nodes for _, state in node}
    return tuple(state for state in range(2, len(nodes) + 2) if state not in read)


def first_form(nodes: Sequence[Node], operations: Sequence[str], *, free: bool) -> tuple[Node, ...]:
    """The one that stands for all that differ in the order of their sums or of their nodes.

    Args:
        nodes: Of a cell.
        operations: In their order.
        free: Whether nodes may change places; the cell's output then changes the order of its channels.
    """
    rank = {name: number for number, name in enumerate(operations)}

    def key(node: Node) -> _Key:
        (first, one), (second, other) = node
        return (one, rank[first]), (other, rank[second])

    def renamed(node: Node, names: Mapping[int, int]) -> Node:
        (first, one), (second, other) = node
        pair: Node = (first, names[one]), (second, names[other])
        return min(pair, (pair[1], pair[0]), key=key)

    def forms(names: Mapping[int, int]) -> Iterator[tuple[Node, ...]]:
        """What can follow the states with new names: the least of the nodes that can be next, then the rest."""
        left = {state: node for state, node in enumerate(nodes, 2) if state not in names}
        ready = {
            state: renamed(node, names) for state, node in left.items() if {one for _, one in node} <= names.keys()
        }
        least = min(map(key, ready.values()), default=None)
        for state, node in ready.items():
            if key(node) == least:
                for rest in forms({**names, state: len(names)}):
                    yield node, *rest
        if not left:
            yield ()

    if not free:
        return tuple(renamed(node, range_names(len(nodes) + 2)) for node in nodes)
    return min(forms({0: 0, 1: 1}), key=lambda form: list(map(key, form)))


def range_names(count: int) -> dict[int, int]:
    return {state: state for state in range(count)}
