"""The dependency graph as SVG: files in layers, right of what they import, numbered as they stand in the document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from repoloom.report.dependencies import Example
from repoloom.report.svg import element

_HEIGHT = 24  # of a file's box, in pixels, as all that follows
_GAP_X, _GAP_Y = 52, 8
_MARGIN = 12
_NUMBER, _CHARACTER, _PADDING = 24, 6.7, 8  # widths of what stands in a box, in the style sheet's 11 pixel type
_LONGEST = 22  # characters of a file's name
_SWEEPS = 4


@dataclass(frozen=True)
class _Box:
    """Where a file is drawn."""

    x: float
    y: float
    width: float
    name: str

    @property
    def middle(self) -> float:
        return self.y + _HEIGHT / 2


def draw(example: Example) -> Markup:
    """The graph. Boxes and edges carry their places as data attributes, by which the page's script lights them up."""
    columns = arrange(example)
    boxes, width = _place(columns, short_names([file.path for file in example.files]))
    height = max(box.y for box in boxes.values()) + _HEIGHT + _MARGIN
    title = f"Imports among the files of {example.repo}"
    return element(
        "svg",
        element("title", title),
        element("desc", f"{len(example.files)} files in {len(columns)} layers, {len(example.edges)} imports"),
        *(_edge(boxes[edge.importer], boxes[edge.imported], edge.importer, edge.imported) for edge in example.edges),
        *(_file(boxes[place], place, file.path) for place, file in enumerate(example.files)),
        class_="graph",
        role="group",
        aria_label=title,
        width=width,
        height=height,
        viewBox=f"0 0 {width:g} {height:g}",
    )


def _place(columns: Sequence[Sequence[int]], names: Sequence[str]) -> tuple[Mapping[int, _Box], float]:
    """Each file's box, and the width of them all."""
    boxes: dict[int, _Box] = {}
    tallest = max(map(len, columns))
    x = float(_MARGIN)
    for column in columns:
        width = _NUMBER + _PADDING + _CHARACTER * max(len(names[file]) for file in column)
        top = _MARGIN + (tallest - len(column)) * (_HEIGHT + _GAP_Y) / 2
        for row, file in enumerate(column):
            boxes[file] = _Box(x, top + row * (_HEIGHT + _GAP_Y), width, names[file])
        x += width + _GAP_X
    return boxes, x - _GAP_X + _MARGIN


def _edge(importer: _Box, imported: _Box, from_: int, to: int) -> Markup:
    if imported.x < importer.x:
        start, end = importer.x, imported.x + imported.width
        bend = min(80.0, (start - end) * 0.6)
        bends = start - bend, end + bend
    else:  # against the order, as only circles have it: around the right side
        start, end = importer.x + importer.width, imported.x + imported.width
        bends = (max(start, end) + 36,) * 2
    (bend, bend_back), y, to_y = bends, importer.middle, imported.middle
    path = f"M{start:.1f} {y:.1f}C{bend:.1f} {y:.1f} {bend_back:.1f} {to_y:.1f} {end:.1f} {to_y:.1f}"
    return element("path", d=path, class_="edge backward" if to > from_ else "edge", data_from=from_, data_to=to)


def _file(box: _Box, place: int, path: str) -> Markup:
    baseline = box.middle + 4
    return element(
        "g",
        element("title", f"{place + 1}. {path}"),
        element("rect", x=box.x, y=box.y, width=box.width, height=_HEIGHT, rx=5),
        element("text", str(place + 1), x=box.x + _NUMBER - 5, y=baseline, text_anchor="end", class_="place"),
        element("text", box.name, x=box.x + _NUMBER, y=baseline),
        class_="file",
        tabindex=0,
        data_file=place,
    )


def arrange(example: Example) -> list[list[int]]:
    """The files in columns, within a column near to what they are tied to."""
    columns = example.columns
    imported, importers = example.ties
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        _untangle(columns if forward else columns[::-1], imported if forward else importers)
    return columns


def _untangle(columns: Sequence[list[int]], ties: Sequence[Sequence[int]]) -> None:
    """Sorts each column by the mean height of what its files are tied to (Sugiyama's barycentre method)."""
    height = {file: row / len(column) for column in columns for row, file in enumerate(column)}
    for column in columns:
        mean = {
            file: sum(height[tie] for tie in ties[file]) / len(ties[file]) if ties[file] else height[file]
            for file in column
        }
        column.sort(key=lambda file: (mean[file], file))
        height.update({file: row / len(column) for row, file in enumerate(column)})


def short_names(paths: Sequence[str]) -> list[str]:
    """The last component of each path, with the folder before it where another path has the same, cut to fit a box."""
    names = [path.rpartition("/")[2] for path in paths]
    told = [
        "/".join(path.split("/")[-2:]) if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]
    return [name if len(name) <= _LONGEST else "…" + name[1 - _LONGEST :] for name in told]
