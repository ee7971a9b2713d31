"""Transitions of what is watched, as records of the topic of events, and what stands there already."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.monitoring.drift.check import SiteState, Watched
from worker.alarms.state_machine import ACTIVE, RTN

BASELINE, PERFORMANCE = "baseline", "performance"
_NAMESPACE = uuid.UUID("3b1c6a57-0d0f-5a57-9d5c-0f6a5f2f9c11")
_WORDS = {
    "drift": "is distributed otherwise than in the site's first days (distance {value}, limit {limit})",
    "untrained": "lies where the model was not trained in {value} of the readings (limit {limit})",
    "missing": "is missing in {value} of the readings (limit {limit})",
    "schema": "is a schema that the site did not write with in its first days ({value} of the readings)",
    PERFORMANCE: "of the last days is {value} (limit {limit})",
    BASELINE: "begins anew, as an operator said",
}
_MOST_DIGITS = 6
_UNWATCHED = (
    "is not watched for {kind!r} any more, as its baseline began anew or the model has another reference; "
    "it may still hold"
)

Place = tuple[str, str, str]
"""What a state belongs to: site, kind, subject."""


def told_apart(value: float, limit: float, shape: str, digits: int) -> tuple[str, str]:
    """A value and its limit as text, with as many more digits as it takes to see that they differ.

    Args:
        value: what was found.
        limit: what it was held against.
        shape: of the text, `f` or `%`.
        digits: after the point, where those are enough.
    """
    while value != limit and digits < _MOST_DIGITS and f"{value:.{digits}{shape}}" == f"{limit:.{digits}{shape}}":
        digits += 1
    return f"{value:.{digits}{shape}}", f"{limit:.{digits}{shape}}"


@dataclass(frozen=True)
class DriftEvent:
    """A DriftEvent, see its schema.

    Attributes:
        unwatched: it ends because nothing is known of it any more, not because it was looked at and found mended.
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
        """What its state belongs to."""
        return self.site, self.kind, self.subject

    def record(self) -> dict[str, Any]:
        """As it is published."""
        words = f"{self.subject} {_UNWATCHED.format(kind=self.kind)}" if self.unwatched else self._found()
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
            "message": f"site {self.site}: {words}",
        }

    def _found(self) -> str:
        over = "" if self.state == ACTIVE else "no longer: "
        shape, digits = ("f", 2) if self.kind in {"drift", PERFORMANCE} else ("%", 0)
        value, limit = told_apart(self.value, self.limit, shape, digits)
        return f"{over}{self.subject} {_WORDS[self.kind].format(value=value, limit=limit)}"


@dataclass(frozen=True)
class Published:
    """What the topic of events says.

    Attributes:
        latest: state and time of the newest transition of each place.
        since: from when on a site's days are normal, by the last word of an operator on it, by site, ms.
    """

    latest: dict[Place, tuple[str, int]]
    since: dict[str, int]

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> "Published":
        """Fold the topic's records, those of a site in the order of the topic."""
        told = list(records)
        # An earlier time may be the later word: the correction of a mistyped one.
        since = {record["site"]: record["ts"] for record in told if record["kind"] == BASELINE}
        latest = {
            (record["site"], record["kind"], record["subject"]): (record["state"], record["ts"])
            for record in sorted(told, key=lambda r: r["ts"])
            if record["kind"] != BASELINE
        }
        return cls(latest, since)

    def still_to_tell(self, events: Sequence[DriftEvent]) -> list[DriftEvent]:
        """Those transitions, in order of time, that change what was told last."""
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
    """Subject s began or ceased to hold, as window w shows."""
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


def standing(published: Published) -> list[Place]:
    """What holds now, as the topic has it."""
    return sorted(place for place, (state, _) in published.latest.items() if state == ACTIVE)


def anew(told: Published, watched: Sequence[Watched], states: Mapping[str, SiteState]) -> list[DriftEvent]:
    """What is now otherwise than the topic has it, though no later transition says so: a site's history began anew.

    By an operator's word, or under a new model with other bins. What stands and is not watched any more ends, too,
    and is told as just that.

    Args:
        told: what the topic says, with all transitions.
        watched: what was looked at.
        states: of the sites.
    """
    now = {
        (one.site, one.kind, subject): (one, s, holds)
        for one in watched
        for s, (subject, holds) in enumerate(zip(one.subjects, one.active[-1].tolist(), strict=True))
    }
    stands = set(standing(told))
    found = []
    for place in sorted(now.keys() | stands):
        site, kind, subject = place
        if site not in states or kind == PERFORMANCE:
            continue
        until_ts, model = states[site].until_ts, states[site].history.model
        if place not in now:
            found.append(DriftEvent(site, kind, subject, RTN, until_ts, 0.0, 0.0, model, unwatched=True))
            continue
        one, s, holds = now[place]
        if holds != (place in stands):
            found.append(_event(one, s, -1, until_ts, holds=holds, model=model))
    return found


def new_baseline(site: str, ts: int) -> DriftEvent:
    """An operator's word that what a site does from then on is its normal."""
    return DriftEvent(site, BASELINE, "baseline", ACTIVE, ts, 0.0, 0.0, ("", ""))
