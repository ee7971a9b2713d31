"""A broker with TLS, SASL and ACLs: one for all tests of what a client is refused for."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.kafka import Listener, kafka_cluster
from local.process import free_ports

PASSWORD = "pa55-word"  # noqa: S105 - of a broker that lives as long as the tests
_USERS = ("worker", "reader", "nobody", "maker")


class Secured(NamedTuple):
    """Where the broker is reached, as each kind of client.

    Attributes:
        plaintext: bootstrap address without anything; everything is allowed there.
        ports: of the other listeners, by name.
        ca: file with the certificate of the authority that signed the broker's.
        other_ca: of one that signed nothing.
    """

    plaintext: str
    ports: dict[str, int]
    ca: Path
    other_ca: Path

    def at(self, listener: str, host: str = "127.0.0.1") -> str:
        """Bootstrap address of a listener."""
        return f"{host}:{self.ports[listener]}"

    def sasl(self, user: str, password: str = PASSWORD, mechanism: str = "PLAIN") -> dict[str, str]:
        """Environment of a client that comes as a user."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.at("SASL"),
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": password,
        }

    def tls(self, listener: str = "TLS", ca: Path | None = None, host: str = "127.0.0.1") -> dict[str, str]:
        """Environment of a client that comes by TLS."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.at(listener, host),
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CA_LOCATION": str(ca or self.ca),
        }

    @classmethod
    def load(cls, text: str) -> Self:
        """From what `dump` gave."""
        held = json.loads(text)
        return cls(held["plaintext"], held["ports"], Path(held["ca"]), Path(held["other_ca"]))

    def dump(self) -> str:
        """As text, for other test processes."""
        return json.dumps(self._asdict(), default=str)


@contextmanager
def secured_broker(directory: Path) -> Iterator[str]:
    """Run it for the length of the block; yields what `Secured.load` reads."""
    names = ("TLS", "MUTUAL", "EXPIRED", "SASL", "ELSEWHERE", "NOWHERE")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    authority, other = Authority(directory, "ca"), Authority(directory, "other-ca")
    now = datetime.now(UTC)
    good = authority.keystore("broker", now + timedelta(days=2))
    expired = authority.keystore("expired", now - timedelta(days=1))
    users = " ".join(f'user_{name}="{PASSWORD}"' for name in _USERS)
    jaas = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
    trust = {
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "ssl.client.auth": "required",
    }
    unreachable = f"127.0.0.1:{free_ports(1)[0]}"
    listeners = [
        Listener("TLS", "SSL", ports["TLS"], settings=_keystore(good)),
        Listener("MUTUAL", "SSL", ports["MUTUAL"], settings=_keystore(good) | trust),
        Listener("EXPIRED", "SSL", ports["EXPIRED"], settings=_keystore(expired)),
        Listener(
            "SASL",
            "SASL_PLAINTEXT",
            ports["SASL"],
            settings={"sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": jaas},
        ),
        Listener("ELSEWHERE", "PLAINTEXT", ports["ELSEWHERE"], advertised=unreachable),
        Listener("NOWHERE", "PLAINTEXT", ports["NOWHERE"], advertised="broker-7.internal.invalid:9092"),
    ]
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        # A group that asks for more, or has more members, is refused.
        "group.max.session.timeout.ms": "60000",
        "group.max.size": "2",
    }
    with kafka_cluster(directory, nodes=1, listeners=listeners, settings=settings) as cluster:
        yield Secured(cluster.bootstrap, ports, authority.file, other.file).dump()


def _keystore(file: Path) -> dict[str, str]:
    return {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(file)}


class Authority:
    """A certificate authority of its own.

    Attributes:
        file: its certificate, PEM.
    """

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self.file = directory, directory / f"{name}.pem"
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _named(name)
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(self._name, self._name, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(now + timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def keystore(self, name: str, until: datetime) -> Path:
        """A file with a key and a certificate for 127.0.0.1, as Kafka reads it."""
        key = ec.generate_private_key(ec.SECP256R1())
        hosts = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("broker.example")])
        certificate = (
            x509.CertificateBuilder(self._name, _named(name), key.public_key(), x509.random_serial_number())
            .not_valid_before(until - timedelta(days=5))
            .not_valid_after(until)
            .add_extension(hosts, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._directory / f"{name}-keystore.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        return file


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
