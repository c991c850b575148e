"""Renders the page: one file that fetches nothing, in which whatever a repository says of itself is only ever text."""

import base64
import functools
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from repoloom.report import charts, drawing, figures, wording
from repoloom.report.data import ReportData

_WORDINGS = (
    wording.number,
    wording.size,
    wording.percent,
    wording.passes,
    wording.duration,
    wording.measure,
    wording.compact,
    wording.plural,
)


def render(data: ReportData) -> str:
    """The page. Equal data, equal text."""
    style, script = _asset("page.css"), _asset("page.js")
    template = _environment().get_template("page.html.j2")
    return template.render(data=data, style=Markup(style), script=Markup(script), policy=_policy(style, script))  # noqa: S704 - our own files


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("repoloom.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in _WORDINGS})
    environment.globals.update(figures=figures, bar=charts.bar, draw=drawing.draw)
    return environment


def _visible(value: Any) -> Any:  # noqa: ANN401 - whatever a template writes
    return wording.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _asset(name: str) -> str:
    return (files("repoloom.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """The page may use its own style sheet and script, and nothing else (W3C Content Security Policy Level 3)."""
    own = f"style-src {_source(style)}; script-src {_source(script)}"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
