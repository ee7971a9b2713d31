"""A proxy that understands Kafka's framing, and does things to chosen requests of a transactional producer.

It stands between brokers and clients that were told to find the brokers at the proxy's ports
(`local.kafka.Gate`). What it does is given as rules; see `Rule`.
"""

import contextlib
import enum
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

_SERVED_S = 10.0  # a late request is answered by then
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST
_BROKEN = (OSError, EOFError)


class Api(enum.IntEnum):
    """Requests by their key in the protocol."""

    PRODUCE = 0
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


_ENDS = {Api.END_TXN, Api.INIT_PRODUCER_ID}


@dataclass(frozen=True)
class Rule:
    """What is done to one request.

    Attributes:
        api: the kind of request.
        action: "hold": the broker gets it late. "duplicate": the broker gets it at once and a second time late; the
            client gets no response. "repeat": the broker gets it twice at once; the client gets one response.
            "drop_response": the broker gets it at once; the client gets no response. "fail" (of TxnOffsetCommit v3
            only): the broker gets it, and the client is told `error` for the last partition.
        nth: which request of that kind, counted from when the rule before this one has caught its own.
        committed: of EndTxn: only those that commit (True) or abort (False).
        cut: reset the client's connection; otherwise nothing comes through on it any more, in either direction,
            until the client gives it up.
        deliver_after: the late request is delivered when a request of this kind was answered and before the client
            gets that answer.
        ends: how many transactions must have ended (or producers begun) between the catch and that.
        least_s: for how long the late request is held at least.
        error: code for "fail".
    """

    api: Api
    action: Literal["hold", "duplicate", "repeat", "drop_response", "fail"]
    nth: int = 1
    committed: bool | None = None
    cut: bool = True
    deliver_after: Api = Api.ADD_PARTITIONS_TO_TXN
    ends: int = 1
    least_s: float = 0.0
    error: int = 0

    def concerns(self, api: int, frame: bytes) -> bool:
        """Whether a request is of the kind that this rule is about."""
        # EndTxn v1 ends with its flag.
        return api == self.api and (self.committed is None or frame[-1] == self.committed)


class Link:
    """A client's connection and the one to the broker behind it."""

    def __init__(self, client: socket.socket, broker: socket.socket) -> None:
        self.client, self.broker = client, broker
        self.cut_off = False
        self.asked: dict[int, int] = {}  # correlation id -> api of what was passed on
        # The system closes a socket only when no thread reads from it.
        self.reader_ended = threading.Event()

    def reset(self) -> None:
        """Cut the client off at once."""
        with contextlib.suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            # Wakes the thread that reads from it, which close() would not.
            self.client.shutdown(socket.SHUT_RD)
        self.client.close()


@dataclass
class Caught:
    """A rule and what became of it.

    Attributes:
        caught: set when its request came.
        done: set when the request (or its copy) was delivered late, or the response was dropped or changed.
        answer: error code that the broker answered the late request with, for requests whose response begins with it.
    """

    rule: Rule
    seen: int = 0
    caught: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    answer: int | None = None
    link: Link | None = None
    frame: bytes = b""
    delivering: bool = False
    ends: int = 0
    answers: int = 0
    since: float = 0.0

    @property
    def number(self) -> int:
        """Correlation id of the request."""
        return int(struct.unpack_from(">i", self.frame, 4)[0])


class KafkaProxy:
    """Listens on one port for each broker.

    Attributes:
        ports: where clients find the brokers, in the order of their targets.
    """

    def __init__(self, targets: list[int]) -> None:
        self._lock = threading.Lock()
        self._rules: list[Caught] = []
        self._links: set[Link] = set()
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in targets]
        self.ports = [listener.getsockname()[1] for listener in self._listeners]
        for listener, target in zip(self._listeners, targets, strict=True):
            threading.Thread(target=self._accept, args=(listener, target), daemon=True).start()

    def apply(self, rules: list[Rule]) -> list[Caught]:
        """Follow these rules from now on, one after another."""
        with self._lock:
            self._rules = [Caught(rule) for rule in rules]
            return list(self._rules)

    def close(self) -> None:
        """Listen no more, and end all connections."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listener.close()
        for link in list(self._links):
            link.reset()
            with contextlib.suppress(OSError):
                link.broker.shutdown(socket.SHUT_RDWR)

    def reset_all(self) -> None:
        """Reset all clients' connections, and wait until none of them takes a request."""
        links = list(self._links)
        for link in links:
            link.reset()
        for link in links:
            assert link.reader_ended.wait(_SERVED_S), "a connection that was reset is still read"

    def _accept(self, listener: socket.socket, target: int) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                link = Link(client, socket.create_connection(("127.0.0.1", target)))
            except OSError:
                client.close()
                continue
            self._links.add(link)
            for work in (self._pass_requests, self._pass_responses):
                threading.Thread(target=work, args=(link,), daemon=True).start()

    def _pass_requests(self, link: Link) -> None:
        with contextlib.suppress(*_BROKEN):
            while True:
                frame = _read(link.client)
                if link.cut_off:
                    continue
                api, _, number = struct.unpack_from(">hhi", frame)
                caught = self._catch(link, api, frame)
                if caught is not None and caught.rule.action == "hold":
                    continue
                link.asked[number] = api
                for _ in range(2 if caught is not None and caught.rule.action == "repeat" else 1):
                    _write(link.broker, frame)
        link.reader_ended.set()
        if not link.cut_off:  # otherwise there may be something to deliver
            with contextlib.suppress(OSError):
                link.broker.shutdown(socket.SHUT_RDWR)

    def _catch(self, link: Link, api: int, frame: bytes) -> Caught | None:
        with self._lock:
            next_rule = next((each for each in self._rules if not each.caught.is_set()), None)
            if next_rule is None or not next_rule.rule.concerns(api, frame):
                return None
            next_rule.seen += 1
            if next_rule.seen < next_rule.rule.nth:
                return None
            next_rule.link, next_rule.frame, next_rule.since = link, frame, time.monotonic()
            action = next_rule.rule.action
            next_rule.caught.set()
            link.cut_off = action not in {"fail", "repeat"}
            if action == "hold" and next_rule.rule.cut:
                link.reset()
            return next_rule

    def _pass_responses(self, link: Link) -> None:
        with contextlib.suppress(*_BROKEN):
            while True:
                frame = _read(link.broker)
                (number,) = struct.unpack_from(">i", frame)
                passed = not link.cut_off
                for caught in self._rules:
                    if caught.link is link and caught.number == number:
                        frame, passed = _answered(caught, frame), passed and caught.answers == 1
                if not passed:
                    continue
                self._deliver_what_is_due(link.asked.pop(number, -1))
                # The answer to a late request still has to be read where the client has gone meanwhile.
                with contextlib.suppress(OSError):
                    _write(link.client, frame)
        link.reset()
        self._links.discard(link)

    def _deliver_what_is_due(self, api: int) -> None:
        """Deliver late requests whose time has come with the response to a request of this kind."""
        with self._lock:
            due = []
            for each in self._rules:
                if not each.caught.is_set() or each.done.is_set() or each.rule.action not in {"hold", "duplicate"}:
                    continue
                if api == each.rule.deliver_after and each.ends >= each.rule.ends and not each.delivering:
                    each.delivering = True
                    due.append(each)
                each.ends += api in _ENDS
        for each in due:
            assert each.link is not None
            time.sleep(max(each.since + each.rule.least_s - time.monotonic(), 0.0))
            with contextlib.suppress(OSError):
                _write(each.link.broker, each.frame)
            each.done.wait(_SERVED_S)


def _answered(caught: Caught, frame: bytes) -> bytes:
    """Take note of a response to a request that a rule is about; returns it as the client is to see it."""
    action = caught.rule.action
    caught.answers += 1
    if action in {"drop_response", "duplicate"} and caught.answers == 1 and caught.rule.cut and caught.link is not None:
        caught.link.reset()
    if caught.answers < (2 if action in {"duplicate", "repeat"} else 1):
        return frame
    if caught.rule.api == Api.END_TXN:
        (caught.answer,) = struct.unpack_from(">h", frame, 8)  # after correlation id and throttle time
    caught.done.set()
    # The error code is followed by the empty tagged fields of the partition, the topic and the response.
    return frame[:-5] + struct.pack(">h", caught.rule.error) + frame[-3:] if action == "fail" else frame


def _read(source: socket.socket) -> bytes:
    """One request or response, without its length."""
    (length,) = struct.unpack(">i", _exactly(source, 4))
    return _exactly(source, length)


def _exactly(source: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        some = source.recv(min(length - len(parts), 1 << 20))
        if not some:
            raise EOFError
        parts += some
    return bytes(parts)


def _write(sink: socket.socket, frame: bytes) -> None:
    sink.sendall(struct.pack(">i", len(frame)) + frame)
