import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from repoloom.stages.order.languages import c_family
from repoloom.stages.order.tree import Nearest, SourceFile, Tree, ancestors

PATHS = st.lists(st.sampled_from(["a", "b", "a-", "a0", "ab"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(st.tuples(st.sampled_from("kl"), PATHS), max_size=20), st.lists(PATHS, max_size=8))
def test_the_nearest_path_is_the_one_that_shares_the_deepest_folder(
    filed: list[tuple[str, str]], asking: list[str]
) -> None:
    nearest = Nearest()
    for key, path in filed:
        nearest.add(key, path)

    def rank(path: str, asked: str) -> tuple[int, int, str]:
        shared = next(folder for folder in ancestors(asked) if folder in ancestors(path))
        return ancestors(asked).index(shared), path.count("/"), path

    for asked in asking:
        paths = [path for key, path in filed if key == "k"]
        assert nearest.find("k", asked) == min(paths, key=lambda path: rank(path, asked), default=None)


def test_deep_paths_whose_every_end_is_included_cost_memory_in_proportion_to_their_text() -> None:
    files = []
    for number in range(100):
        parts = [f"d{number}", *("x" * (1 + (number + depth) % 3) for depth in range(60)), "h.h"]
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        files.append(SourceFile(ends[0], "C", "".join(f'#include "{end}"\n' for end in ends).encode()))
    tree = Tree(files)
    scans = {file.path: c_family.scan(bytes(file.content)) for file in files}
    tracemalloc.start()
    try:
        index = c_family.Index(tree, scans)
        found = sum(1 for path, scan in scans.items() for _ in index.edges(path, scan))
        assert found == sum(len(scan.imports) for scan in scans.values())
        assert tracemalloc.get_traced_memory()[1] < 8 * sum(len(file.content) for file in files)
    finally:
        tracemalloc.stop()
