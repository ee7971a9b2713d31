"""Explains connection faults that librdkafka reports, and adds a remedy."""

import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

_PROBE_S = 3.0
_FAULT = re.compile(
    r"^(?:\[thrd:[^\]]*\]: )?(?:\w+Coordinator: )?(?:\w+://)?(?P<address>\S+?)(?:/(?P<node>bootstrap|-?\d+))?: "
    r"(?P<text>.*?)(?: \(after (?P<ms>\d+)ms in state (?P<state>\w+)[^)]*(?:\(s\)[^)]*)?\))?$",
    re.DOTALL,
)
_CLOSED_AT_ONCE_MS = 1000
_SASL, _TLS = ("SASL_PLAINTEXT", "SASL_SSL"), ("SSL", "SASL_SSL")


class Fault(NamedTuple):
    """One fault of a connection.

    Attributes:
        address: host:port of the broker.
        node: broker id if the cluster advertised the address; None for an address of `bootstrap.servers`.
        text: librdkafka's description.
        state: of the connection, such as SSL_HANDSHAKE.
        after_ms: how long it had been in that state.
    """

    address: str
    node: str | None
    text: str
    state: str
    after_ms: int


def fault_of(text: str) -> Fault | None:
    """Parse a line of librdkafka's log or the text of an error; None if it is not about a connection."""
    found = _FAULT.match(text)
    if found is None or not re.search(r":\d+$", found["address"]):
        return None
    node = found["node"] if found["node"] not in {None, "bootstrap"} else None
    return Fault(found["address"], node, found["text"], found["state"] or "", int(found["ms"] or 0))


def is_disconnect(fault: Fault) -> bool:
    """Whether the fault only says that a connection ended. Idle connections end too."""
    return fault.text.startswith("Disconnected") or "Connection reset" in fault.text


def explain(fault: Fault, config: Mapping[str, Any]) -> str:
    """Say where the fault is, what it is, and the remedy.

    Args:
        fault: of a connection.
        config: properties of the client.
    """
    where = (
        fault.address if fault.node is None else f"{fault.address}, which the cluster advertises as broker {fault.node}"
    )
    text, remedy = _explained(fault, config)
    return f"{where}: {text.rstrip('. :')}" + (f"; {remedy}" if remedy else "")


def _explained(fault: Fault, config: Mapping[str, Any]) -> tuple[str, str]:
    """Text and remedy. The remedy is empty if none is known."""
    text = re.sub(r"^(Connect to \S+ failed: |Receive failed: )", "", fault.text)
    if "certificate verify failed" in text:
        return _certificate(fault, config)
    protocol = str(config.get("security.protocol", "PLAINTEXT")).upper()
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, text, re.IGNORECASE):
            return text, _ADVERTISED if fault.node is not None and remedy in _UNREACHABLE else remedy
    if is_disconnect(fault):
        if fault.state == "APIVERSION_QUERY" and protocol not in _TLS:
            return text, "the listener probably speaks TLS: set KAFKA_SECURITY_PROTOCOL=SSL (or SASL_SSL)"
        if fault.state in {"UP", "APIVERSION_QUERY"} and protocol not in _SASL and fault.after_ms < _CLOSED_AT_ONCE_MS:
            wanted = "SASL_SSL" if protocol in _TLS else "SASL_PLAINTEXT"
            return text, f"the listener may want SASL: set KAFKA_SECURITY_PROTOCOL={wanted} and KAFKA_SASL_*"
        if fault.state.startswith("AUTH"):
            return text, "the broker rejected the log-in: check KAFKA_SASL_MECHANISM and the listener's port"
    return text, ""


_NAME = "correct the host name in KAFKA_BOOTSTRAP_SERVERS, or the DNS of this machine"
_NOBODY = "nothing listens there: start the broker, or correct KAFKA_BOOTSTRAP_SERVERS"
_NO_WAY = "the network does not reach it: check address, routes and firewalls"
_UNREACHABLE = {_NAME, _NOBODY, _NO_WAY}
_ADVERTISED = "correct the broker's advertised.listeners, or let this machine reach that address"
_LOG_IN = "check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD (or KAFKA_SASL_OAUTHBEARER_*)"
_CERTIFICATE = (
    "the broker requires a client certificate from a CA that it trusts: set KAFKA_SSL_CERTIFICATE_LOCATION and "
    "KAFKA_SSL_KEY_LOCATION (or KAFKA_SSL_KEYSTORE_LOCATION)"
)
_NO_TLS = "set KAFKA_SECURITY_PROTOCOL=PLAINTEXT (or SASL_PLAINTEXT), or the port of the broker's TLS listener"
_REMEDIES = (
    (r"Failed to resolve", _NAME),
    (r"Connection refused", _NOBODY),
    (r"unreachable|setup timed out|No route|timed out in state CONNECT|Connection timed out", _NO_WAY),
    (r"connecting to a PLAINTEXT broker listener|wrong version number|packet length too long|http request", _NO_TLS),
    (r"invalid response size|SSL is not|connecting to a SSL", "the listener speaks TLS: set KAFKA_SECURITY_PROTOCOL"),
    (r"alert (bad certificate|certificate required|unknown ca|certificate)|tlsv1.? alert", _CERTIFICATE),
    (r"Unsupported SASL mechanism", "set KAFKA_SASL_MECHANISM to one of those"),
    (
        r"not valid in current SASL state",
        "this listener has no SASL: set KAFKA_SECURITY_PROTOCOL=PLAINTEXT (or SSL), or the port of a SASL listener",
    ),
    (r"SASL auth|Authentication failed|Invalid credentials|Invalid username|SCRAM", _LOG_IN),
)


def _certificate(fault: Fault, config: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong with the broker's certificate. librdkafka does not say, so connect once more and verify it."""
    host, _, port = fault.address.rpartition(":")
    ca = config.get("ssl.ca.location") or "this machine's CAs"
    problem = _verify(host.strip("[]"), int(port), config)
    if problem is None:
        return "the broker's certificate cannot be verified", f"set KAFKA_SSL_CA_LOCATION to its CA's file (now {ca})"
    if "expired" in problem or "not yet valid" in problem:
        return f"the broker's certificate: {problem}", "renew it, or correct this machine's clock"
    if "match" in problem.lower():
        remedy = "use an address that the certificate names, or add this one to it"
        return f"the broker's certificate: {problem}", remedy
    return (
        f"the broker's certificate: {problem}",
        f"set KAFKA_SSL_CA_LOCATION to the file of the CA that signed it (now {ca})",
    )


def _verify(host: str, port: int, config: Mapping[str, Any]) -> str | None:
    """OpenSSL's message about a server's certificate; None if the check found nothing."""
    pem = config.get("ssl.ca.pem")
    location = config.get("ssl.ca.location")
    try:
        context = ssl.create_default_context(cadata=str(pem) if pem else None)
        if location and location != "probe":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(location)
        with (
            socket.create_connection((host, port), _PROBE_S) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError):
        return None
