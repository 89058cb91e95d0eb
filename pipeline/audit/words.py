"""Numbers and moments as people read them."""

from collections.abc import Sequence
from datetime import UTC, datetime


def number(value: float) -> str:
    """1987 -> '1,987'; other figures to three significant digits."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def counted(count: int, singular: str, plural: str = "") -> str:
    """1, 'image' -> '1 image'; 1987, 'image' -> '1,987 images'."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def duration(seconds: float) -> str:
    """0.42 -> '0.4 s'; 125 -> '2 min 05 s'; 7512 -> '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(text: str) -> str:
    """RFC 3339 -> '24 November 2026, 02:00:00 UTC'; anything else comes back as it is."""
    try:
        parsed = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{parsed.day} {parsed:%B %Y, %H:%M:%S} UTC"


def day(text: str) -> str:
    """RFC 3339 -> '24 November 2026' (UTC); anything else comes back as it is."""
    try:
        parsed = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{parsed.day} {parsed:%B %Y}"


def uses(text: str) -> str:
    """'train_generative|likeness' -> 'training generative models, the use of a likeness'."""
    named = {"*": "every use but likeness", "likeness": "the use of a likeness"}
    return ", ".join(named.get(part) or purpose(part) for part in text.split("|"))


def share(part: int, whole: int) -> str:
    """Part of a whole in percent; a little is never shown as nothing, nor nearly all as all."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.5:
        return "< 1 %"
    if 99.5 <= percent < 100:
        return "> 99 %"
    return f"{percent:.0f} %"


def short(digest: str, length: int = 12) -> str:
    """The first characters of a digest or id, with an ellipsis where something was left off."""
    return digest if len(digest) <= length + 1 else f"{digest[:length]}…"


def joined(parts: Sequence[str]) -> str:
    """['a', 'b', 'c'] -> 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""


def purpose(text: str) -> str:
    """'train_generative:commercial' -> 'training generative models, commercially'."""
    use, _, trade = text.partition(":")
    named = {
        "train_generative": "training generative models",
        "train_other": "training other models",
        "generate_input": "input to generation",
    }.get(use, use)
    return f"{named}, commercially" if trade == "commercial" else named
