"""How one repository's fate looks on a terminal."""

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from repoloom.cli.output import safe
from repoloom.recipe.inspect import Dropped, Repository


def show_repository(repository: Repository) -> None:
    """Prints its documents, their files in order and why, and what was dropped and why."""
    tree = Tree(
        Text.assemble(
            safe(repository.repo, "bold"), " ", safe(repository.revision), " ", safe(repository.license, "dim")
        )
    )
    for document in repository.documents:
        branch = tree.add(f"document {document.number}: {len(document.files)} files, dependencies first")
        for file in document.files:
            leaf = branch.add(Text.assemble(safe(file.path), safe(f" {file.language}, {file.size} bytes", "dim")))
            for edge in file.imports:
                leaf.add(
                    Text.assemble(
                        (f"line {edge.line} imports ", "dim"), safe(edge.imported), safe(f" ({edge.how})", "dim")
                    )
                )
    for cycle in repository.cycles:
        tree.add(Text.assemble(("import cycle: ", "yellow"), safe(", ".join(cycle))))
    if repository.dropped:
        branch = tree.add(f"dropped: {len(repository.dropped)} files")
        for drop in repository.dropped:
            branch.add(Text.assemble(safe(drop.path), safe(f" by {drop.step}: ", "dim"), safe(_reason(drop))))
    Console().print(tree)


def _reason(drop: Dropped) -> str:
    measured = "" if drop.value is None else f" {drop.value:g}"
    limit = "" if drop.value is None or drop.threshold is None else f" (limit {drop.threshold:g})"
    return f"{drop.rule}{measured}{limit} {drop.detail}"
