"""A model for people: the main facts, a line each; tables would wrap digests."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

_NAMES = 18
"""Width of the column of names."""
_MOST_METRICS = 12
"""Of one part; nested deeper than `_DEEP` are only in JSON."""
_DEEP = 2
_KEPT_TOGETHER = "\N{NO-BREAK SPACE}"


def summary(facts: Mapping[str, Any], width: int) -> list[str]:
    """The main facts, as lines.

    Args:
        facts: see `worker.admission.in_use.described`.
        width: of the terminal, characters.
    """
    left_out = False
    found: list[str] = []
    for name, value in facts.items():
        if name == "metrics":
            metrics, more = _metrics(value)
            left_out |= more
            found += [f"{of:<{_NAMES}} {number:,.4g}" for of, number in metrics]
        elif name == "manifest":
            found += _wrapped("trained_at", str(value["created_at"]), width)
            found += _wrapped("libraries", _pairs(value["libraries"]), width)
            left_out = True
        elif name == "libraries":
            found += _wrapped(name, _pairs(value), width)
        elif isinstance(value, list | tuple):
            found += _wrapped(name, f"{len(value)}: {', '.join(_item(each) for each in value)}", width)
        elif isinstance(value, Mapping):
            left_out = True
        elif value is not None:
            found += _wrapped(name, str(value), width)
    return [*found, "--json prints all"] if left_out else found


def _wrapped(name: str, text: str, width: int) -> list[str]:
    """A line, or several that break between words."""
    first, indent = f"{name:<{_NAMES}} ", " " * (_NAMES + 1)
    broken = textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_KEPT_TOGETHER, " ") for line in broken] or [first]


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _item(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    named = f"{value['name']} ({value['type']}{', required' * bool(value.get('required'))})"
    return named.replace(" ", _KEPT_TOGETHER)


def _metrics(metrics: Mapping[str, Any]) -> tuple[list[tuple[str, float]], bool]:
    """Numbers on the test rows, or those of all parts if there are none; and whether more are left out."""
    part = {"test": metrics["test"]} if isinstance(metrics.get("test"), Mapping) else metrics
    all_numbers = list(_numbers(metrics, ()))
    main = [(path, number) for path, number in _numbers(part, ()) if len(path) <= _DEEP + 1][:_MOST_METRICS]
    return [(".".join(path), number) for path, number in main], len(main) < len(all_numbers)


def _numbers(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, (*path, name))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, name), value
