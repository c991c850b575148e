"""Charts as SVG. They are as wide as the page lets them be, and their text keeps its size whatever the width."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from repoloom.report.svg import element, percent

Format = Callable[[float], str]

_TOP, _BOTTOM = 8, 24  # pixels over the topmost level, and for the labels under the axis
_UNITS = 1000  # of the drawing's own width, which is stretched to the page's


@dataclass(frozen=True)
class Line:
    """A curve; `style` is a class of the style sheet."""

    values: Sequence[float]
    style: str = "line"


@dataclass(frozen=True)
class Baseline:
    """A level to compare with."""

    value: float
    label: str


def line_chart(
    title: str,
    description: str,
    steps: Sequence[int],
    lines: Sequence[Line],
    text: Format,
    *,
    height: int = 240,
    from_zero: bool = False,
    baseline: Baseline | None = None,
) -> Markup:
    """Curves over training steps. All lines have one value for each step."""
    values = [value for line in lines for value in line.values] + ([baseline.value] if baseline else [])
    levels = ticks(0 if from_zero else min(values), max(values), count=max(2, height // 60))
    low, high = min(levels[0], *values), max(levels[-1], *values)
    plot = height - _TOP - _BOTTOM

    def y(value: float) -> float:
        return _TOP + plot * (1 - (value - low) / (high - low or 1))

    def points(line: Line) -> str:
        places = (step / steps[-1] * _UNITS for step in steps)
        return " ".join(f"{x:.1f},{y(value):.1f}" for x, value in zip(places, line.values, strict=True))

    curves = [
        element("polyline", points=points(line), class_=line.style, vector_effect="non-scaling-stroke")
        for line in lines
    ]
    return _chart(
        title,
        description,
        height,
        levels,
        y,
        text,
        element(
            "svg", *curves, width="100%", height=height, viewBox=f"0 0 {_UNITS} {height}", preserveAspectRatio="none"
        ),
        *_baseline(baseline, lines, y),
        *_x_labels([(0.0, "0"), (1.0, f"{steps[-1]:,} steps")], height),
    )


def _baseline(baseline: Baseline | None, lines: Sequence[Line], y: Callable[[float], float]) -> Iterator[Markup]:
    """The level, with its label on the side where the curves do not end."""
    if baseline is not None:
        level = y(baseline.value)
        label = level - 5 if max(line.values[-1] for line in lines) < baseline.value else level + 15
        yield element("line", x1=0, x2="100%", y1=level, y2=level, class_="baseline")
        yield element("text", baseline.label, x="100%", y=label, text_anchor="end", class_="note")


def histogram(
    title: str,
    description: str,
    counts: Sequence[int],
    labels: Sequence[tuple[float, str]],
    text: Format,
    *,
    lost: int = 0,
    height: int = 180,
) -> Markup:
    """Counts in equal bins, of which the first `lost` hold what was dropped. `labels` stand at shares of the axis."""
    levels = ticks(0, max(counts, default=0), count=3)
    high = max(levels[-1], *counts)
    plot = height - _TOP - _BOTTOM

    def y(value: float) -> float:
        return _TOP + plot * (1 - value / (high or 1))

    width = 1 / len(counts)
    bars = [
        element(
            "rect",
            x=percent(place * width + 0.1 * width),
            y=y(count),
            width=percent(0.8 * width),
            height=height - _BOTTOM - y(count),
            class_="lost" if place < lost else "kept",
        )
        for place, count in enumerate(counts)
        if count
    ]
    return _chart(title, description, height, levels, y, text, *bars, *_x_labels(labels, height))


def bar(share: float, style: str = "bar") -> Markup:
    """A share of a whole as a small bar, to stand in a table beside the number."""
    return element(
        "svg",
        element("rect", width="100%", height="100%", class_="track"),
        element("rect", width=percent(min(1.0, max(0.0, share))), height="100%"),
        class_=style,
        aria_hidden="true",
    )


def segments(parts: Sequence[tuple[float, str, str]], style: str) -> Markup:
    """Shares of a whole side by side, each with its class and what it says when it is pointed at."""
    drawn: list[Markup] = []
    start = 0.0
    for share, name, label in parts:
        drawn.append(
            element("rect", element("title", label), x=percent(start), width=percent(share), height="100%", class_=name)
        )
        start += share
    return element("svg", *drawn, class_=style, role="img", aria_label="; ".join(label for *_, label in parts))


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round values that span a range: steps of 1, 2 or 5 times a power of ten."""
    span = high - low or abs(high) or 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(multiple * power for multiple in (1, 2, 5, 10) if multiple * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{place * step:.15g}") for place in range(first, max(last, first + 1) + 1)]


def _x_labels(labels: Sequence[tuple[float, str]], height: int) -> Iterator[Markup]:
    for share, label in labels:
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        if label:
            yield element("text", label, x=percent(share), y=height - 7, text_anchor=anchor)


def _chart(
    title: str,
    description: str,
    height: int,
    levels: Sequence[float],
    y: Callable[[float], float],
    text: Format,
    *content: Markup,
) -> Markup:
    """The levels with their labels on the left, and on them the content."""
    labels = [element("text", text(level), x="100%", y=y(level) + 4, text_anchor="end") for level in levels]
    lines = [
        element("line", x1=0, x2="100%", y1=y(level), y2=y(level), class_="grid" if place else "axis")
        for place, level in enumerate(levels)
    ]
    named = element("title", title), element("desc", description)
    return element(
        "div",
        element("svg", *labels, height=height, aria_hidden="true"),
        element("svg", *named, *lines, *content, height=height, role="img", aria_label=f"{title}. {description}"),
        class_="chart",
    )
