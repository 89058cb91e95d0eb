"""Keys that never leave their place: a key service, a hardware token, a function of one's own.

Each becomes a function from the bytes to sign to their signature. The SDK says of any fault in it "COSE signature
invalid" and no more, so the function that it is handed remembers what went wrong.
"""

import base64
import hashlib
import importlib
import secrets
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.core.settings import HttpSigner, Pkcs11Signer, PythonSigner, RemoteKey

Sign = Callable[[bytes], bytes]
_DIGESTS = {"es256": "sha256", "es384": "sha384", "ps256": "sha256", "ed25519": ""}  # "": signs the message itself
_COORDINATES = {"es256": 32, "es384": 48}  # bytes of r and of s (RFC 9053, 2.1)


class RemoteSigner:
    """A signing function as the SDK wants it (COSE form), with the fault of its last call."""

    def __init__(self, key: RemoteKey, algorithm: str, certificate: x509.Certificate) -> None:
        self.algorithm, self.certificate, self.fault = algorithm, certificate, ""
        self._sign = _function(key, algorithm)

    def __call__(self, data: bytes) -> bytes:
        """Sign `data`. Raises whatever the key's place raises, and keeps its words in `fault`."""
        self.fault = ""
        try:
            signature = self._sign(data)
            if not isinstance(signature, bytes):
                raise TypeError(f"it gave {type(signature).__name__} and not bytes")
            return _cose_form(signature, self.algorithm)
        except Exception as error:
            self.fault = str(error) or type(error).__name__
            raise

    def prove(self) -> str:
        """Sign a random challenge and check it against the certificate; what is wrong, or ""."""
        challenge = b"imprimatur: is this the certificate's key? " + secrets.token_bytes(16)
        try:
            _check(self(challenge), challenge, self.certificate, self.algorithm)
        except InvalidSignature:
            return "its key does not match the certificate; name the key that the certificate was issued for"
        except Exception:
            return self.fault
        return ""


@lru_cache(maxsize=8)
def remote_signer(key: RemoteKey, algorithm: str, chain_pem: str) -> RemoteSigner:
    """This process's signing function of a key. Raises ImprimaturError when its place cannot be reached at all."""
    return RemoteSigner(key, algorithm, x509.load_pem_x509_certificates(chain_pem.encode())[0])


def key_place(key: RemoteKey) -> str:
    """Where a key is, for messages."""
    if isinstance(key, HttpSigner):
        return key.url
    if isinstance(key, Pkcs11Signer):
        return f"{key.module} (token {key.token!r}, key {key.key!r})"
    return key.function


def _function(key: RemoteKey, algorithm: str) -> Sign:
    if isinstance(key, HttpSigner):
        return _http(key, algorithm)
    if isinstance(key, Pkcs11Signer):
        return _pkcs11(key, algorithm)
    return _python(key)


def _http(key: HttpSigner, algorithm: str) -> Sign:
    """Google Cloud KMS, cryptoKeyVersions.asymmetricSign: the digest goes out, the key stays."""
    import httpx

    client = httpx.Client(timeout=key.timeout, transport=httpx.HTTPTransport(retries=2))

    def sign(data: bytes) -> bytes:
        body: dict[str, Any] = {"data": base64.b64encode(data).decode()}
        if digest := _DIGESTS[algorithm]:
            body = {"digest": {digest: base64.b64encode(hashlib.new(digest, data).digest()).decode()}}
        token = {"authorization": f"Bearer {private_text(key.token_file)}"} if key.token_file else {}
        try:
            answer = client.post(key.url, json=body, headers=token)
        except httpx.HTTPError as error:
            raise EnvironmentFault(f"{key.url}: no answer ({error or type(error).__name__})") from None
        if answer.status_code != 200:
            raise EnvironmentFault(f"{key.url}: answered {answer.status_code}: {answer.text[:200].strip()}")
        try:
            return base64.b64decode(answer.json()["signature"], validate=True)
        except (ValueError, KeyError, TypeError):
            raise EnvironmentFault(f"{key.url}: its answer holds no signature: {answer.text[:200]}") from None

    return sign


def _pkcs11(key: Pkcs11Signer, algorithm: str) -> Sign:
    """PKCS#11: the token hashes or is given the digest, whichever every token can do."""
    try:
        import pkcs11
        from pkcs11 import MGF, KeyType, Mechanism, ObjectClass
    except ModuleNotFoundError:
        raise ImprimaturError(
            "credentials.signer: kind pkcs11 needs the package python-pkcs11", "pip install 'imprimatur[pkcs11]'"
        ) from None
    kinds = {"ps256": KeyType.RSA, "ed25519": KeyType.EC_EDWARDS}
    try:
        token = pkcs11.lib(str(key.module)).get_token(token_label=key.token)
        try:
            session = token.open(user_pin=private_text(key.pin_file))
        except pkcs11.exceptions.UserAlreadyLoggedIn:  # a login holds for the whole process
            session = token.open()
        private: Any = session.get_key(
            object_class=ObjectClass.PRIVATE_KEY, key_type=kinds.get(algorithm, KeyType.EC), label=key.key
        )
    except (pkcs11.exceptions.PKCS11Error, RuntimeError) as error:
        raise EnvironmentFault(
            f"{key_place(key)}: cannot be opened: {type(error).__name__} {error}".rstrip(),
            "check module, token, key and pin_file in credentials.signer",
        ) from None

    def sign(data: bytes) -> bytes:
        if algorithm == "ps256":
            parameter = (Mechanism.SHA256, MGF.SHA256, 32)
            return bytes(private.sign(data, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=parameter))
        if algorithm == "ed25519":
            return bytes(private.sign(data, mechanism=Mechanism.EDDSA))
        digest = hashlib.new(_DIGESTS[algorithm], data).digest()
        return bytes(private.sign(digest, mechanism=Mechanism.ECDSA))

    return sign


def _python(key: PythonSigner) -> Sign:
    module, _, name = key.function.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ImprimaturError(
            f"credentials.signer.function: {key.function!r} cannot be imported ({error})",
            "name it as package.module:function, and install the package where imprimatur runs",
        ) from None
    if not callable(function):
        raise ImprimaturError(
            f"credentials.signer.function: {key.function!r} is not a function", "name a function: bytes -> signature"
        )
    sign: Sign = function
    return sign


def private_text(path: Path) -> str:
    """A secret's file, stripped. Raises ImprimaturError when others can read it, or nobody."""
    try:
        if path.stat().st_mode & 0o077:
            raise ImprimaturError(f"{path}: can be read by others", f"chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImprimaturError(f"{path}: cannot be read ({error.strerror})", "name an existing file") from None


def _cose_form(signature: bytes, algorithm: str) -> bytes:
    """ECDSA as r || s (RFC 9053, 2.1): key services give ASN.1 DER, tokens give either."""
    size = _COORDINATES.get(algorithm, 0)
    if not size or len(signature) == 2 * size:
        return signature
    try:
        r, s = decode_dss_signature(signature)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    except (ValueError, OverflowError):
        raise ValueError(f"its answer of {len(signature)} bytes is no {algorithm} signature") from None


def _check(signature: bytes, data: bytes, certificate: x509.Certificate, algorithm: str) -> None:
    """Raise InvalidSignature unless the certificate's key made this signature."""
    key, digest = certificate.public_key(), hashes.SHA384() if algorithm == "es384" else hashes.SHA256()
    if isinstance(key, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        pair = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        key.verify(encode_dss_signature(*pair), data, ec.ECDSA(digest))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PSS(padding.MGF1(digest), 32), digest)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
