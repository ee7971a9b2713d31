"""Text from outside (records, topics, files, servers) made fit for where it goes: one function for each medium.

JSON needs none of these: `json.dumps` and the logs' renderer escape all that is not ASCII.
"""

from rich.markup import escape

_LONGEST_LABEL = 128


def shown(value: object, longest: int | None = None) -> str:
    r"""For terminals and messages: one line in which control and format characters stand as `\x1b`, `\u202e`.

    Args:
        value: what is to be shown; taken as `str` writes it.
        longest: cut after this many characters; an ellipsis shows it.
    """
    text = str(value)
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lines(value: object) -> str:
    """As `shown`, of a text that has lines of its own; the later ones are indented, so that none poses as ours."""
    return "\n  ".join(shown(line) for line in str(value).split("\n"))


def text_or_hex(data: bytes | None) -> str | None:
    """Bytes as text if they are printable UTF-8; otherwise as hex digits after 0x; None stays None."""
    if data is None:
        return None
    text = data.decode(errors="replace")
    return text if text.isprintable() and "\ufffd" not in text else f"0x{data.hex()}"


def markup(value: object) -> str:
    """For a place within Rich markup (`common.terminal.styled`); elsewhere a terminal takes strings as they are."""
    return escape(shown(value))


def in_label(value: object) -> str:
    """For a Prometheus label: of bounded length, on one line."""
    return shown(value, _LONGEST_LABEL)


def in_plot(value: object) -> str:
    """For Matplotlib: a dollar sign begins no formula, and a leading underscore does not hide a legend's entry."""
    text = shown(value, _LONGEST_LABEL).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
