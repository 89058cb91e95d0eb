"""A key service and a time-stamping authority on 127.0.0.1, as real as they come without a network."""

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Answer = tuple[int, str, bytes]  # status, media type, body


@contextmanager
def served(answer: Callable[[str, bytes], Answer]) -> Iterator[str]:
    """Serve POST requests on 127.0.0.1 with `answer(authorization, body)`; the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, media, data = answer(self.headers.get("authorization", ""), body)
            self.send_response(status)
            self.send_header("content-type", media)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def sign_as_google_kms(key: Key, token: str = "") -> Callable[[str, bytes], Answer]:
    """Google Cloud KMS's asymmetricSign over a key in memory: ECDSA in DER, PSS with the digest's salt length."""

    def answer(authorization: str, body: bytes) -> Answer:
        if token and authorization != f"Bearer {token}":
            return 403, "application/json", b'{"error": {"status": "PERMISSION_DENIED"}}'
        request = json.loads(body)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            signature = key.sign(base64.b64decode(request["data"]))
        else:
            ((name, digest),) = request["digest"].items()
            hash_ = Prehashed({"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}[name])
            data = base64.b64decode(digest)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                signature = key.sign(data, ec.ECDSA(hash_))
            else:
                signature = key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hash_)
        return 200, "application/json", json.dumps({"signature": base64.b64encode(signature).decode()}).encode()

    return answer


def make_tsa(folder: Path) -> tuple[Callable[[str, bytes], Answer], bytes]:
    """An RFC 3161 authority out of OpenSSL's `ts`: (its answer to a request, its root as PEM)."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Time root", root_key, "Time root", root_key, True)
    stamper = _certificate("Time stamper", key, "Time root", root_key, False)
    pem = serialization.Encoding.PEM
    (folder / "tsa.pem").write_bytes(stamper.public_bytes(pem))
    (folder / "chain.pem").write_bytes(root.public_bytes(pem))
    (folder / "tsa.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(
        f"[tsa]\ndefault_tsa = here\n[here]\nserial = {folder}/serial\nsigner_cert = {folder}/tsa.pem\n"
        f"certs = {folder}/chain.pem\nsigner_key = {folder}/tsa.key\nsigner_digest = sha256\n"
        "default_policy = 1.2.3.4.1\ndigests = sha256, sha384, sha512\naccuracy = secs:1\n"
        "ordering = yes\ntsa_name = yes\ness_cert_id_chain = no\ness_cert_id_alg = sha256\n"
    )
    lock = threading.Lock()

    def answer(_: str, body: bytes) -> Answer:
        with lock:
            (folder / "request.tsq").write_bytes(body)
            command = ["openssl", "ts", "-reply", "-config", str(folder / "tsa.cnf")]
            command += ["-queryfile", str(folder / "request.tsq"), "-out", str(folder / "reply.tsr")]
            subprocess.run(command, check=True, capture_output=True)
            return 200, "application/timestamp-reply", (folder / "reply.tsr").read_bytes()

    return answer, root.public_bytes(pem)


def _certificate(name: str, key: Key, issuer: str, issuer_key: Key, authority: bool) -> x509.Certificate:
    moment = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False),
            critical=True,
        )
    )
    if not authority:
        purpose = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(purpose, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Time"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
        ]
    )
