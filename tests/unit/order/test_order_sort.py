"""Algorithm 1 as the paper writes it, against the linear one; cycles against reachability."""

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from repoloom.stages.order.sort import adjacency, cycles, dependency_order

Graph = tuple[int, list[tuple[int, int]]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(0, 12))
    node = st.integers(0, max(count - 1, 0))
    return count, draw(st.lists(st.tuples(node, node), max_size=30)) if count else []


def algorithm_1(count: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The paper's pseudo code (section 2.2), line by line; an edge (a, b) is HasDependency(a, b)."""
    graph: dict[int, list[int]] = {file: [] for file in range(count)}
    in_degree = dict.fromkeys(range(count), 0)
    for file_a in range(count):
        for file_b in range(count):
            if file_a != file_b and (file_a, file_b) in edges:
                graph[file_b].append(file_a)
                in_degree[file_a] += 1
    all_results = []
    for subgraph in disconnected_subgraphs(count, edges):
        results: list[int] = []
        while len(results) != len(subgraph):
            file = min((file for file in subgraph if file not in results), key=lambda file: in_degree[file])
            for node in graph[file]:
                in_degree[node] -= 1
            results.append(file)
        all_results.append(results)
    return all_results


def disconnected_subgraphs(count: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    label = list(range(count))
    for _ in range(count):
        for a, b in edges:
            label[a] = label[b] = min(label[a], label[b])
    return [[node for node in range(count) if label[node] == first] for first in sorted(set(label))]


@given(graphs())
def test_the_order_is_that_of_algorithm_1(graph: Graph) -> None:
    assert dependency_order(*graph) == algorithm_1(*graph)


@given(graphs())
def test_without_cycles_every_dependency_comes_first(graph: Graph) -> None:
    count, edges = graph
    downhill = [(max(a, b), min(a, b)) for a, b in edges if a != b]
    place = {node: position for nodes in dependency_order(count, downhill) for position, node in enumerate(nodes)}
    assert all(place[needed] < place[importer] for importer, needed in downhill)


@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_the_edges_does_not_matter(graph: Graph, shuffle: random.Random) -> None:
    count, edges = graph
    again = [*edges, *edges]
    shuffle.shuffle(again)
    assert dependency_order(count, again) == dependency_order(count, edges)


@given(graphs())
def test_cycles_are_the_sets_whose_members_reach_one_another(graph: Graph) -> None:
    count, edges = graph
    reaches = [[a == b or (a, b) in edges for b in range(count)] for a in range(count)]
    for via in range(count):
        for a in range(count):
            for b in range(count):
                reaches[a][b] = reaches[a][b] or (reaches[a][via] and reaches[via][b])
    sets = {frozenset(b for b in range(count) if reaches[a][b] and reaches[b][a]) for a in range(count)}
    assert cycles(adjacency(count, edges)[0]) == sorted(sorted(each) for each in sets if len(each) > 1)


def test_one_cycle_through_150_000_files_is_no_deeper_than_any_other_graph() -> None:
    count = 150_000
    ring = [(node, (node + 1) % count) for node in range(count)]
    assert dependency_order(count, ring) == [[0, *range(count - 1, 0, -1)]]
    assert cycles(adjacency(count, ring)[0]) == [list(range(count))]


def test_a_file_that_100_000_others_need_comes_first_and_one_that_needs_them_all_last() -> None:
    count = 100_002
    edges = [(node, count - 1) for node in range(1, count - 1)] + [(0, node) for node in range(1, count - 1)]
    assert dependency_order(count, edges) == [[count - 1, *range(1, count - 1), 0]]
