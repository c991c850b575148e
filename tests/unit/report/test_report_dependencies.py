"""The repository that is shown as an example of dependency order, and how it is drawn."""

from hypothesis import given
from hypothesis import strategies as st
from report.written import CYCLES, DOCUMENTS, EDGES, Writer, document, edge, row

from repoloom.corpus.dataset import Dataset
from repoloom.report.dependencies import Edge, Example, File, dependencies
from repoloom.report.drawing import arrange, draw, short_names
from repoloom.report.tables import Tables

Pairs = list[tuple[int, int]]
"""Edges: importer and imported, as places in the document."""


def ordered(write: Writer, repositories: dict[str, Pairs], cycles: list[list[str]] | None = None) -> Dataset:
    """Repositories of one document each."""
    documents, edges = [], []
    for repo, pairs in repositories.items():
        paths = [f"{place:02}.py" for place in range(max(map(max, pairs)) + 1)] if pairs else ["alone.py"]
        documents.append(document(repo, 0, paths))
        edges += [edge(repo, paths[importer], paths[imported]) for importer, imported in pairs]
    circles = [row(CYCLES, repo="b", files=len(paths), paths=paths) for paths in cycles or []]
    return write("order", {"documents": (DOCUMENTS, documents), "edges": (EDGES, edges), "cycles": (CYCLES, circles)})


def star(files: int) -> Pairs:
    return [(place, place % 3) for place in range(3, files)]


def test_a_graph_that_can_be_read_is_chosen_over_a_larger_or_smaller_one(write: Writer) -> None:
    knot = [(importer, imported) for importer in range(30) for imported in range(importer)]
    found = dependencies(Tables([ordered(write, {"a": knot, "b": star(15), "c": star(5), "d": star(200)})]))
    assert found is not None
    assert found.example is not None
    assert found.example.repo == "b"
    assert len(found.example.files) == 15
    assert found.edges == len(knot) + 12 + 2 + 197


def test_a_small_graph_is_shown_where_there_is_no_other(write: Writer) -> None:
    found = dependencies(Tables([ordered(write, {"a": [], "b": [(1, 0)]}, cycles=[["00.py", "01.py"]])]))
    assert found is not None
    assert found.example is not None
    assert (found.example.repo, found.example.cycles, found.cycles) == ("b", ((0, 1),), 1)


def test_where_no_file_imports_another_there_is_no_example(write: Writer) -> None:
    found = dependencies(Tables([ordered(write, {"a": []})]))
    assert found is not None
    assert (found.edges, found.example) == (0, None)


def test_what_a_later_step_removed_is_not_shown(write: Writer) -> None:
    order = ordered(write, {"a": star(14), "b": star(13)})
    split = write("split", {"documents": (DOCUMENTS, [document("b", 0, [f"{place:02}.py" for place in range(13)])])})
    found = dependencies(Tables([order, split]))
    assert found is not None
    assert found.example is not None
    assert found.example.repo == "b"


def example(count: int, pairs: Pairs) -> Example:
    files = tuple(File(path=f"folder/{place}.py", language="Python", size=1) for place in range(count))
    edges = tuple(Edge(importer=importer, imported=imported, line=1, how="package") for importer, imported in pairs)
    return Example(repo="r", revision="1", document=0, files=files, edges=edges, cycles=())


def graphs_of(count: int) -> st.SearchStrategy[tuple[int, Pairs]]:
    place = st.integers(0, count - 1)
    pairs = st.tuples(place, place).filter(lambda pair: pair[0] != pair[1])
    return st.tuples(st.just(count), st.lists(pairs))


GRAPHS = st.integers(2, 12).flatmap(graphs_of)


@given(GRAPHS)
def test_every_file_stands_right_of_what_it_imports_in_order(graph: tuple[int, Pairs]) -> None:
    count, pairs = graph
    columns = arrange(example(count, pairs))
    column = {file: number for number, files in enumerate(columns) for file in files}
    assert sorted(column) == list(range(count))
    assert all(column[importer] > column[imported] for importer, imported in pairs if imported < importer)


@given(GRAPHS)
def test_every_file_and_every_import_is_drawn(graph: tuple[int, Pairs]) -> None:
    count, pairs = graph
    drawn = draw(example(count, pairs))
    assert drawn.count("data-file=") == count
    assert drawn.count("data-from=") == len(pairs)
    assert drawn.count("backward") == sum(imported > importer for importer, imported in pairs)


def test_files_of_the_same_name_are_told_apart_by_their_folders() -> None:
    names = short_names(["a/__init__.py", "b/__init__.py", "b/core.py", "b/a_name_that_is_far_too_long.py"])
    assert names[:3] == ["a/__init__.py", "b/__init__.py", "core.py"]
    assert names[3].startswith("…")
    assert names[3].endswith("_far_too_long.py")
