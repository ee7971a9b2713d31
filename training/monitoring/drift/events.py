"""Drift events: transitions of monitored states, and the states that the topic of events already has."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.monitoring.drift.check import SiteState, Watched
from worker.alarms.state_machine import ACTIVE, RTN

BASELINE, PERFORMANCE = "baseline", "performance"
_NAMESPACE = uuid.UUID("3b1c6a57-0d0f-5a57-9d5c-0f6a5f2f9c11")
_WORDS = {
    "drift": "has another distribution than in the baseline of the site (distance {value}, limit {limit})",
    "untrained": "is outside the training data of the model in {value} of the readings (limit {limit})",
    "missing": "is missing in {value} of the readings (limit {limit})",
    "schema": "is a schema that was not in the baseline of the site ({value} of the readings)",
    PERFORMANCE: "over the last days is {value} (limit {limit})",
    BASELINE: "was restarted by an operator",
}
_MOST_DIGITS = 6
_UNWATCHED = (
    "is not watched for {kind!r} any more, because its baseline was restarted or the model has another reference; "
    "the state may still hold"
)

Place = tuple[str, str, str]
"""Site, kind and subject of a state."""


def told_apart(value: float, limit: float, shape: str, digits: int) -> tuple[str, str]:
    """A value and its limit as text, with enough digits to see that they differ.

    Args:
        value: the value.
        limit: its limit.
        shape: format, `f` or `%`.
        digits: after the decimal point, if those are enough.
    """
    while value != limit and digits < _MOST_DIGITS and f"{value:.{digits}{shape}}" == f"{limit:.{digits}{shape}}":
        digits += 1
    return f"{value:.{digits}{shape}}", f"{limit:.{digits}{shape}}"


@dataclass(frozen=True)
class DriftEvent:
    """A transition of a state; the fields are those of the schema DriftEvent.

    Attributes:
        unwatched: the state ends because it is no longer watched, not because the value is back within its limit.
    """

    site: str
    kind: str
    subject: str
    state: str
    ts: int
    value: float
    limit: float
    model: tuple[str, str]
    psi: float | None = None
    q_value: float | None = None
    unwatched: bool = False

    @property
    def place(self) -> Place:
        """Site, kind and subject."""
        return self.site, self.kind, self.subject

    def record(self) -> dict[str, Any]:
        """The record that is published."""
        text = f"{self.subject} {_UNWATCHED.format(kind=self.kind)}" if self.unwatched else self._found()
        return {
            "event_id": str(uuid.uuid5(_NAMESPACE, "/".join((*self.place, self.state, str(self.ts))))),
            "site": self.site,
            "kind": self.kind,
            "subject": self.subject,
            "state": self.state,
            "ts": self.ts,
            "value": self.value,
            "limit": self.limit,
            "psi": self.psi,
            "q_value": self.q_value,
            "model_name": self.model[0],
            "model_version": self.model[1],
            "message": f"site {self.site}: {text}",
        }

    def _found(self) -> str:
        over = "" if self.state == ACTIVE else "no longer: "
        shape, digits = ("f", 2) if self.kind in {"drift", PERFORMANCE} else ("%", 0)
        value, limit = told_apart(self.value, self.limit, shape, digits)
        return f"{over}{self.subject} {_WORDS[self.kind].format(value=value, limit=limit)}"


@dataclass(frozen=True)
class Published:
    """The content of the topic of events.

    Attributes:
        latest: state and time of the newest transition of each place.
        since: start of the baseline by site, ms, as an operator last set it.
    """

    latest: dict[Place, tuple[str, int]]
    since: dict[str, int]

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> "Published":
        """Fold the topic's records; those of one site are in the order of the topic."""
        known = list(records)
        # The last record counts, not the latest time: it may correct a mistyped one.
        since = {record["site"]: record["ts"] for record in known if record["kind"] == BASELINE}
        latest = {
            (record["site"], record["kind"], record["subject"]): (record["state"], record["ts"])
            for record in sorted(known, key=lambda r: r["ts"])
            if record["kind"] != BASELINE
        }
        return cls(latest, since)

    def not_yet_published(self, events: Sequence[DriftEvent]) -> list[DriftEvent]:
        """The events, of those given in order of time, that change the last published state."""
        latest, new = dict(self.latest), []
        for event in events:
            state, ts = latest.get(event.place, (RTN, -1))
            if event.ts > ts and event.state != state:
                latest[event.place] = event.state, event.ts
                new.append(event)
        return new


def transitions(watched: Sequence[Watched], states: Mapping[str, SiteState]) -> list[DriftEvent]:
    """All transitions, by time."""
    found = []
    for one in watched:
        active = one.active
        for s in range(len(one.subjects)):
            before = False
            for w in range(len(one.ts)):
                if active[w, s] == before:
                    continue
                before = bool(active[w, s])
                model = states[one.site].history.model
                found.append(_event(one, s, w, int(one.ts[w]), holds=before, model=model))
    return sorted(found, key=lambda event: (event.ts, event.place))


def _event(one: Watched, s: int, w: int, ts: int, *, holds: bool, model: tuple[str, str]) -> DriftEvent:
    """The transition of subject s in window w."""
    return DriftEvent(
        one.site,
        one.kind,
        one.subjects[s],
        ACTIVE if holds else RTN,
        ts,
        float(one.value[w, s]),
        float(one.limit[s]),
        model,
        None if one.psi is None else float(one.psi[w, s]),
        None if one.q is None else float(one.q[w, s]),
    )


def active_places(published: Published) -> list[Place]:
    """The active states, as the topic has them."""
    return sorted(place for place, (state, _) in published.latest.items() if state == ACTIVE)


def corrections(published: Published, watched: Sequence[Watched], states: Mapping[str, SiteState]) -> list[DriftEvent]:
    """Events that correct the published states after the history of a site was restarted.

    An operator or a new model with other bins restarts a history; then states may differ from the topic without a later
    transition. An active state that is no longer watched ends as well, marked as unwatched.

    Args:
        published: the content of the topic, with all transitions.
        watched: all values that were checked.
        states: by site.
    """
    now = {
        (one.site, one.kind, subject): (one, s, holds)
        for one in watched
        for s, (subject, holds) in enumerate(zip(one.subjects, one.active[-1].tolist(), strict=True))
    }
    published_active = set(active_places(published))
    found = []
    for place in sorted(now.keys() | published_active):
        site, kind, subject = place
        if site not in states or kind == PERFORMANCE:
            continue
        until_ts, model = states[site].until_ts, states[site].history.model
        if place not in now:
            found.append(DriftEvent(site, kind, subject, RTN, until_ts, 0.0, 0.0, model, unwatched=True))
            continue
        one, s, holds = now[place]
        if holds != (place in published_active):
            found.append(_event(one, s, -1, until_ts, holds=holds, model=model))
    return found


def new_baseline(site: str, ts: int) -> DriftEvent:
    """An operator declares that the baseline of a site starts at this time."""
    return DriftEvent(site, BASELINE, "baseline", ACTIVE, ts, 0.0, 0.0, ("", ""))
