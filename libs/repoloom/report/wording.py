"""Numbers as people read them, and text of unknown origin made safe to look at."""

from repoloom.text import visible

__all__ = ["compact", "duration", "measure", "number", "passes", "percent", "plural", "scientific", "size", "visible"]


def number(value: int) -> str:
    """1,234,567."""
    return f"{value:,}"


def compact(value: int) -> str:
    """123,456; from a million on 1.23 M, 12.3 B."""
    if value < 10**6:
        return number(value)
    units = (10**12, "T"), (10**9, "B"), (10**6, "M")
    unit, name = next((unit, name) for unit, name in units if value >= unit)
    return f"{_three_digits(value / unit)} {name}"


def size(value: float) -> str:
    """12.3 MB, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" else f"{_three_digits(value)} {unit}"
        value /= 1000
    return f"{_three_digits(value)} TB"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def percent(share: float) -> str:
    """43%, 4.3%, 0.43%; what is there is never 0%, and what is not all is never 100%."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    digits = 0 if share in (0, 1) else 1 if share >= 0.01 else 2
    return f"{share * 100:.{digits}f}%"


def passes(epochs: float) -> str:
    """How much was read of what there is: 7.2%, 100%, 2.5 epochs."""
    return percent(min(epochs, 1)) if round(epochs, 3) <= 1 else f"{measure(epochs)} epochs"


def duration(seconds: float) -> str:
    """0.8 s, 43 s, 12 min 5 s, 3 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def measure(value: float) -> str:
    """A measured value with four significant digits at most: 0.0312, 1,204, 6.931."""
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def scientific(value: float) -> str:
    """2e-4, 3.2e-5."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if value else "0"


def plural(count: int, one: str, many: str = "") -> str:
    """1 file, 2 files."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
