"""The gates that cut a worker off."""

import select
import socket
from collections.abc import Iterator

import pytest

from tests.tcp_gate import Gate


@pytest.fixture
def connected() -> Iterator[tuple[Gate, socket.socket, socket.socket]]:
    """A gate, a client that came through it, and what the server accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        gate = Gate(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", gate.port)) as client:
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(10)
                yield gate, client, accepted
        gate.release()
        gate.shut()


def arrives(accepted: socket.socket) -> bool:
    """Whether something can be read within 0.3 s."""
    return bool(select.select([accepted], [], [], 0.3)[0])


def test_what_is_sent_through_a_held_gate_arrives_when_it_is_released(
    connected: tuple[Gate, socket.socket, socket.socket],
) -> None:
    gate, client, accepted = connected
    client.sendall(b"before")
    assert accepted.recv(100) == b"before"
    gate.hold()
    client.sendall(b"meanwhile")
    assert not arrives(accepted)
    gate.release()
    assert accepted.recv(100) == b"meanwhile"


def test_what_was_held_arrives_though_the_sender_has_gone(
    connected: tuple[Gate, socket.socket, socket.socket],
) -> None:
    gate, client, accepted = connected
    gate.hold()
    client.sendall(b"meanwhile")
    client.close()
    assert not arrives(accepted)
    gate.release(spread_s=0.1)
    assert accepted.recv(100) == b"meanwhile"


def test_a_shut_gate_ends_connections_and_refuses_new_ones_until_it_is_opened(
    connected: tuple[Gate, socket.socket, socket.socket],
) -> None:
    gate, _, accepted = connected
    gate.shut()
    assert accepted.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gate.port))
    gate.open()
    socket.create_connection(("127.0.0.1", gate.port)).close()
