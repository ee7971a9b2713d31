"""What checks of a command find, and how it is printed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.errors import DependencyDownError, UserError
from common.json_text import strict_json
from common.redaction import redacted
from common.terminal import say, styled, terminal
from common.text import markup
from schemas.errors import UnreadableValueError

_MARKS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "wrong": "[red]wrong[/]  "}


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        verdict: ok, warning or wrong.
        text: what was found, and the remedy.
        down: whether a service did not answer.
    """

    subject: str
    verdict: str
    text: str
    down: bool = False


def finding(subject: str, check: Callable[[], str], *, unreachable: str = "wrong") -> Finding:
    """What a check finds.

    Args:
        subject: that it looks at.
        check: says what it found; raises what is wrong.
        unreachable: the verdict where a service does not answer.
    """
    try:
        return Finding(subject, "ok", redacted(check()))
    except DependencyDownError as error:
        if unreachable == "warning":
            return Finding(subject, unreachable, f"not checked: {error}; start it, or correct its address", down=True)
        return Finding(subject, unreachable, str(error), down=True)
    except (UserError, UnreadableValueError) as error:
        return Finding(subject, "wrong", str(error))


def report(findings: Sequence[Finding], *, as_json: bool) -> bool:
    """Print findings; return whether nothing is wrong."""
    ok = all(found.verdict != "wrong" for found in findings)
    if as_json:
        say(strict_json({"ok": ok, "findings": [found._asdict() for found in findings]}))
        return ok
    console = terminal(soft_wrap=True)
    for found in findings:
        console.print(styled(f"{_MARKS[found.verdict]}  {found.subject:<9} {markup(found.text)}"))
    return ok
