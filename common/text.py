"""Escapes text from outside (records, topics, files, servers): one function for each medium.

JSON needs none of these: `json.dumps` and the logs' renderer escape all that is not ASCII.
"""

from rich.markup import escape

_LONGEST_LABEL = 128


def shown(value: object, longest: int | None = None) -> str:
    r"""For terminals and messages: one line with control and format characters written as `\x1b`, `\u202e`.

    Args:
        value: converted with `str`.
        longest: cut after this many characters, with an ellipsis.
    """
    text = str(value)
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lines(value: object) -> str:
    """Like `shown`, for text of several lines. All but the first are indented, so that none looks like our own."""
    return "\n  ".join(shown(line) for line in str(value).split("\n"))


def text_or_hex(data: bytes | None) -> str | None:
    """Bytes as text if they are printable UTF-8; otherwise as hex digits after 0x; None stays None."""
    if data is None:
        return None
    text = data.decode(errors="replace")
    return text if text.isprintable() and "\ufffd" not in text else f"0x{data.hex()}"


def markup(value: object) -> str:
    """For use inside Rich markup (`common.terminal.styled`). Other terminal output needs `shown` only."""
    return escape(shown(value))


def in_label(value: object) -> str:
    """For a Prometheus label: of bounded length, on one line."""
    return shown(value, _LONGEST_LABEL)


def in_plot(value: object) -> str:
    """For Matplotlib: a dollar sign starts no formula, and a leading underscore does not hide a legend entry."""
    text = shown(value, _LONGEST_LABEL).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
