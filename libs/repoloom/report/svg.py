"""SVG elements as safe markup."""

from markupsafe import Markup, escape

from repoloom.report.wording import visible


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """One element. What is not Markup is text; `class_` is written `class`, `stroke_width` `stroke-width`."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value)) for key, value in attributes.items()
    )
    inner = Markup("").join(child if isinstance(child, Markup) else escape(visible(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inner)  # noqa: S704 - names are the caller's own


def _value(value: str | float) -> str:
    return visible(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """A length relative to the picture's width."""
    return f"{share * 100:.3f}".rstrip("0").rstrip(".") + "%"
