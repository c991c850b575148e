"""Algorithm 1 of DeepSeek-Coder (arXiv 2401.14196 section 2.2): dependencies first, also where they go in circles.

Nodes are 0..count-1, numbered in the order that breaks ties. An edge (a, b) says that a needs b. Everything here is
linear in nodes and edges, and nothing recurses.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

Adjacency: TypeAlias = Sequence[Sequence[int]]

_WORD_BITS = 1024


def dependency_order(count: int, edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected subgraphs, each in the order that Algorithm 1 gives it, in order of their first node.

    A node's in-degree is the number of its dependencies that are not yet emitted. The node of minimal in-degree comes
    next, whether or not that is zero; of several the first.
    """
    needs, needed_by = adjacency(count, edges)
    return [emission(nodes, needs, needed_by) for nodes in components(needs, needed_by)]


def adjacency(count: int, edges: Iterable[tuple[int, int]]) -> tuple[Adjacency, Adjacency]:
    """What each node needs, and what needs it. Repeated edges and edges to oneself do not count."""
    needs: list[list[int]] = [[] for _ in range(count)]
    needed_by: list[list[int]] = [[] for _ in range(count)]
    for importer, imported in set(edges):
        if importer != imported:
            needs[importer].append(imported)
            needed_by[imported].append(importer)
    return needs, needed_by


def components(needs: Adjacency, needed_by: Adjacency) -> list[list[int]]:
    """The connected subgraphs whatever the direction of edges: nodes ascending, subgraphs by their first node."""
    label = [-1] * len(needs)
    count = 0
    for start in range(len(needs)):
        if label[start] >= 0:
            continue
        label[start] = count
        pending = [start]
        while pending:
            node = pending.pop()
            for neighbours in (needs[node], needed_by[node]):
                for other in neighbours:
                    if label[other] < 0:
                        label[other] = count
                        pending.append(other)
        count += 1
    found: list[list[int]] = [[] for _ in range(count)]
    for node, component in enumerate(label):
        found[component].append(node)
    return found


def cycles(needs: Adjacency) -> list[list[int]]:
    """The sets of nodes that need one another in circles: the strongly connected components of more than one node.

    Tarjan's algorithm (SIAM Journal on Computing 1, 1972), iterative. Nodes ascending, sets by their first node.
    """
    unseen = -1
    order = [unseen] * len(needs)
    low = [0] * len(needs)
    on_stack = bytearray(len(needs))
    stack: list[int] = []
    found: list[list[int]] = []
    clock = 0
    for root in range(len(needs)):
        if order[root] != unseen:
            continue
        path = [(root, iter(needs[root]))]
        order[root] = low[root] = clock
        clock += 1
        stack.append(root)
        on_stack[root] = True
        while path:
            node, rest = path[-1]
            for other in rest:
                if order[other] == unseen:
                    order[other] = low[other] = clock
                    clock += 1
                    stack.append(other)
                    on_stack[other] = True
                    path.append((other, iter(needs[other])))
                    break
                if on_stack[other]:
                    low[node] = min(low[node], order[other])
            else:
                path.pop()
                if path:
                    parent = path[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == order[node]:
                    members = [stack.pop()]
                    while members[-1] != node:
                        members.append(stack.pop())
                    for member in members:
                        on_stack[member] = False
                    if len(members) > 1:
                        found.append(sorted(members))
    return sorted(found)


def emission(nodes: Sequence[int], needs: Adjacency, needed_by: Adjacency) -> list[int]:
    """Algorithm 1 on one subgraph, with a queue for each in-degree.

    The least in-degree falls by at most one for each edge that an emission removes, so that the search for it costs no
    more than the edges.
    """
    degree = {node: len(needs[node]) for node in nodes}
    place = {node: position for position, node in enumerate(nodes)}
    queues = [_Queue() for _ in range(max(degree.values()) + 1)]
    for node in nodes:
        queues[degree[node]].add(place[node])
    emitted: list[int] = []
    least = 0
    while len(emitted) < len(nodes):
        while not queues[least]:
            least += 1
        node = nodes[queues[least].pop_first()]
        emitted.append(node)
        del degree[node]
        for dependant in needed_by[node]:
            if dependant in degree:
                queues[degree[dependant]].remove(place[dependant])
                degree[dependant] -= 1
                queues[degree[dependant]].add(place[dependant])
                least = min(least, degree[dependant])
    return emitted


class _Queue:
    """A set of small numbers that hands out its least: bits in words, and a number whose bits say which are not 0.

    Every operation costs a word and that number, which has a bit for each 1,024 nodes: constant for any repository.
    """

    __slots__ = ("_used", "_words")

    def __init__(self) -> None:
        self._words: dict[int, int] = {}
        self._used = 0

    def __bool__(self) -> bool:
        return self._used != 0

    def add(self, number: int) -> None:
        word, bit = divmod(number, _WORD_BITS)
        self._words[word] = self._words.get(word, 0) | 1 << bit
        self._used |= 1 << word

    def remove(self, number: int) -> None:
        word, bit = divmod(number, _WORD_BITS)
        left = self._words[word] & ~(1 << bit)
        if left:
            self._words[word] = left
        else:
            del self._words[word]
            self._used &= ~(1 << word)

    def pop_first(self) -> int:
        word = (self._used & -self._used).bit_length() - 1
        bits = self._words[word]
        number = word * _WORD_BITS + (bits & -bits).bit_length() - 1
        self.remove(number)
        return number
