"""HTTP servers on the loopback, good and hostile, and the certificates for them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(timezone.utc)


class Authority:
    """A certificate authority of its own.

    Args:
        folder: where its files go.
        name: of the authority.
    """

    def __init__(self, folder, name: str = "authority") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(self._name, self._key.public_key(), {x509.BasicConstraints(ca=True, path_length=0)})
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def _sign(self, subject, public_key, extensions, *, days=(-1, 10)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=days[0]))
            .not_valid_after(NOW + timedelta(days=days[1]))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name: str, *, hosts=("127.0.0.1", "localhost"), client=False, days=(-1, 10)):
        """A certificate and its private key, as two PEM files."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        certificate = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            key.public_key(),
            [x509.ExtendedKeyUsage([usage]), x509.SubjectAlternativeName(names)],
            days=days,
        )
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        paths[1].chmod(0o600)
        return paths

    def server_context(self, name="server", *, clients: Authority | None = None, **options) -> ssl.SSLContext:
        """What a server needs for TLS; with `clients` it asks for a certificate of that authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, **options))
        if clients is not None:
            context.load_verify_locations(clients.path)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True)
class Request:
    """What a server was sent.

    Attributes:
        line: method, target, version.
        headers: names in lower case.
        body: its bytes.
        client: the client certificate's subject name, or None.
    """

    line: str
    headers: dict[str, str]
    body: bytes
    client: str | None = None


def answer(status: int = 204, headers: str = "", body: bytes = b""):
    """A server's behavior: read a request, say this; as many as come on a connection."""
    head = f"HTTP/1.1 {status} Because\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()

    def behave(server, connection):
        while (request := server.read(connection)) is not None:
            server.requests.append(request)
            connection.sendall(head + body)

    return behave


class Server:
    """A server in a thread, on a port of its own.

    Args:
        behave: called with the server and each connection.
        context: for TLS; plain if None.

    Attributes:
        requests: what came, in order.
        connections: how many.
    """

    def __init__(self, behave=None, context: ssl.SSLContext | None = None) -> None:
        self.behave = behave or answer()
        self.requests: list[Request] = []
        self.connections = 0
        self.over = threading.Event()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}/decisions"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self.behave(self, connection)
        except OSError:  # the client went away, or did not like us
            pass
        finally:
            connection.close()

    def read(self, connection) -> Request | None:
        """One request, or None if the client has closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        shown = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
        client = dict(pair[0] for pair in shown["subject"])["commonName"] if shown else None
        return Request(line, headers, body, client)
