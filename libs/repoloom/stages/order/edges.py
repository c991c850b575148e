"""From the files of a repository to the edges between them: who needs whom, at which line, and how that is known."""

from collections.abc import Sequence

from repoloom.stages.order.languages import ALL
from repoloom.stages.order.languages.rules import Edge
from repoloom.stages.order.tree import SourceFile, Tree


def edges(files: Sequence[SourceFile]) -> list[Edge]:
    """The edges between files of one repository: sorted, each pair once with the first line that says so.

    No file needs itself. A path that occurs twice stands for its first file.
    """
    tree = Tree(files)
    found: dict[tuple[str, str], Edge] = {}
    for rules in ALL:
        paths = [path for path, file in tree.files.items() if file.language in rules.LANGUAGES]
        if not paths:
            continue
        scans = {path: rules.scan(bytes(tree.files[path].content)) for path in paths}
        index = rules.Index(tree, scans)
        for path, scan in scans.items():
            for edge in index.edges(path, scan):
                pair = edge.importer, edge.imported
                if edge.importer != edge.imported and (pair not in found or edge.line < found[pair].line):
                    found[pair] = edge
    return [found[pair] for pair in sorted(found)]
