"""Sigstore on this machine: Fulcio, Rekor 2, a certificate log and a timestamp authority, each the real program.

Here: keys and configuration made for one run, start, readiness and stop, and an OpenID Connect provider of forty lines
that gives a token to whoever asks. Not here: building the programs (`provision.py`), and the simulator
that makes bundles without any of them (`installml.testing.sigstore`).

Everything listens on 127.0.0.1 and leaves nothing. The timestamp server always takes port 2112 for its metrics, so one
run at a time has it; the others wait.
"""

from __future__ import annotations

import base64
import fcntl
import http.server
import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID

from installml.testing.sigstore import Party, make_party, signing_config, trust_config, trusted_root
from tests.services.programs import cache, need
from tests.services.servers import HOST, LOG_TAIL, POLL_SECONDS, START_SECONDS, StartFailed, free_port, stop

TOKEN_SECONDS = 600
AUDIENCE = "sigstore"
PERSON, JOB = "ann@example.org", "job@example.org"
"""Whoever logs in with a browser, and whoever asks as a CI job."""
_PASSWORD = "a key of one test"


@dataclass(frozen=True, slots=True)
class Sigstore:
    """A running instance.

    Attributes:
        issuer: URL of the provider that vouches for identities.
        trusted_root: For `cosign verify --trusted-root` and `open_verifier`.
        signing_config: For `cosign sign --signing-config`.
        trust_config: Both, for `KeylessSigner` and `sigstore --trust-config`.
    """

    issuer: str
    trusted_root: Path
    signing_config: Path
    trust_config: Path
    _provider: _Provider

    def token(self, email: str) -> str:
        """Return an identity token for an e-mail address."""
        return self._provider.token(email)


@contextmanager
def sigstore() -> Iterator[Sigstore]:
    """Run all of it for the time of a `with` block; without the programs the test is skipped (`need`)."""
    programs = {name: need(name) for name in ("fulcio", "rekor", "tesseract", "tsa")}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="installml-sigstore-")))
        vouching = stack.enter_context(provider())
        run = _Instance(folder, vouching.url, programs, stack)
        run.certificate_log()
        run.fulcio()
        run.rekor()
        run.timestamps()
        yield Sigstore(vouching.url, *run.documents(), vouching)


class _Instance:
    """The four programs and their keys."""

    def __init__(self, folder: Path, issuer: str, programs: dict[str, Path], stack: ExitStack) -> None:
        self.folder, self.issuer, self.programs, self.stack = folder, issuer, programs, stack
        self.now = datetime.now(UTC)
        self.authority = make_party("fulcio", self.now, authority=True, purpose=ExtendedKeyUsageOID.CODE_SIGNING)
        self.times = make_party("tsa", self.now, authority=False, purpose=ExtendedKeyUsageOID.TIME_STAMPING)
        self.log, self.certificates = (Party(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
        self.ports: dict[str, int] = {}

    def certificate_log(self) -> None:
        roots = self._file("roots.pem", _pem(self.authority)[-1])
        key = self._private("ct.key", self.certificates, serialization.PrivateFormat.TraditionalOpenSSL)
        port = self._port("tesseract")
        storage = self.folder / "ct"
        self._start(
            "tesseract",
            f"--http_endpoint={HOST}:{port}", f"--private_key={key}", f"--roots_pem_file={roots}",
            f"--origin={HOST}", f"--storage_dir={storage}", "--enable_publication_awaiter=false",
            ready="/ct/v1/get-roots",
        )  # fmt: skip

    def fulcio(self) -> None:
        chain = self._file("fulcio.pem", b"".join(_pem(self.authority)))
        locked = serialization.BestAvailableEncryption(_PASSWORD.encode())
        key = self._private("fulcio.key", self.authority, serialization.PrivateFormat.PKCS8, locked)
        public = self._file("ct.pub", _public(self.certificates))
        known = {"IssuerURL": self.issuer, "ClientID": AUDIENCE, "Type": "email"}
        config = self._file("fulcio.json", json.dumps({"OIDCIssuers": {self.issuer: known}}).encode())
        settings = {
            "host": HOST, "port": self._port("fulcio"), "grpc-host": HOST, "grpc-port": free_port(),
            "metrics-port": free_port(), "ca": "fileca", "fileca-cert": chain, "fileca-key": key,
            "fileca-key-passwd": _PASSWORD, "fileca-watch": "false", "config-path": config,
            "ct-log-url": f"http://{HOST}:{self.ports['tesseract']}", "ct-log-public-key-path": public,
            "legacy-unix-domain-socket": self.folder / "fulcio.sock",
        }  # fmt: skip
        self._start("fulcio", "serve", *(f"--{name}={value}" for name, value in settings.items()), ready="/healthz")

    def rekor(self) -> None:
        key = self._private("rekor.key", self.log, serialization.PrivateFormat.PKCS8)
        settings = {
            "http-address": HOST, "http-port": self._port("rekor"), "grpc-address": HOST, "grpc-port": free_port(),
            "http-metrics-port": free_port(), "hostname": HOST, "storage-dir": self.folder / "rekor",
            "signer-filepath": key, "checkpoint-interval": "200ms", "batch-max-age": "50ms",
        }  # fmt: skip
        self._start("rekor", "serve", *(f"--{name}={value}" for name, value in settings.items()), ready="/healthz")

    def timestamps(self) -> None:
        lock = self.stack.enter_context((_folder(cache()) / "tsa-port-2112.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        chain = self._file("tsa.pem", b"".join(_pem(self.times)))
        key = self._private("tsa.key", self.times, serialization.PrivateFormat.PKCS8)
        settings = {
            "host": HOST, "port": self._port("tsa"), "timestamp-signer": "file", "file-signer-key-path": key,
            "certificate-chain-path": chain, "disable-ntp-monitoring": "true",
        }  # fmt: skip
        self._start("tsa", "serve", *(f"--{name}={value}" for name, value in settings.items()), ready="/ping")

    def documents(self) -> tuple[Path, Path, Path]:
        """Write trusted root, signing config and both together."""
        fulcio, rekor, ct, tsa = (f"http://{HOST}:{self.ports[n]}" for n in ("fulcio", "rekor", "tesseract", "tsa"))
        start, tsa = self.now - timedelta(hours=1), f"{tsa}/api/v1/timestamp"
        root = trusted_root(
            fulcio=(fulcio, self.authority.chain),
            rekor=(rekor, self.log.spki),
            ctlog=(ct, self.certificates.spki),
            tsa=(tsa, self.times.chain),
            start=start,
        )
        signing = signing_config(fulcio=fulcio, rekor=rekor, tsa=tsa, issuer=self.issuer, start=start)
        named = {"trusted_root": root, "signing_config": signing, "trust_config": trust_config(root, signing)}
        first, second, third = (self._file(f"{n}.json", json.dumps(d).encode()) for n, d in named.items())
        return first, second, third

    def _port(self, name: str) -> int:
        self.ports[name] = free_port()
        return self.ports[name]

    def _file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def _private(
        self,
        name: str,
        party: Party,
        form: serialization.PrivateFormat,
        protection: serialization.KeySerializationEncryption | None = None,
    ) -> Path:
        protection = protection or serialization.NoEncryption()
        return self._file(name, party.key.private_bytes(serialization.Encoding.PEM, form, protection))

    def _start(self, name: str, *arguments: str, ready: str) -> None:
        log = self.folder / f"{name}.log"
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self.programs[name], *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment,
            )
        self.stack.callback(stop, process)
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if _answers(f"http://{HOST}:{self.ports[name]}{ready}"):
                return
            time.sleep(POLL_SECONDS)
        ended = "is silent" if process.returncode is None else f"ended with {process.returncode}"
        raise StartFailed(f"{name} {ended}; the end of its log:\n{log.read_text(errors='replace')[-LOG_TAIL:]}")


class _Provider:
    """Vouches for anybody, and shows the key that it does it with."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.url = ""

    def token(self, email: str, audience: str = AUDIENCE) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": audience, "sub": email, "email": email, "email_verified": True,
            "iat": now, "exp": now + TOKEN_SECONDS,
        }  # fmt: skip
        signed = f"{_encoded({'alg': 'ES256', 'kid': '1', 'typ': 'JWT'})}.{_encoded(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64(r.to_bytes(32) + s.to_bytes(32))}"  # RFC 7518, 3.4

    def redirect(self, query: dict[str, list[str]]) -> str:
        """Return where a browser goes after somebody logged in: at once, and as ann (RFC 6749, 4.1.2)."""
        back = urllib.parse.urlencode({"code": "the code", "state": query["state"][0]})
        return f"{query['redirect_uri'][0]}?{back}"

    def answer(self, path: str) -> dict[str, Any] | None:
        """Return what is at a path (OpenID Connect Discovery 1.0, section 4; RFC 7517; GitHub's tokens for jobs)."""
        numbers = self._key.public_key().public_numbers()
        key = {"x": _base64(numbers.x.to_bytes(32)), "y": _base64(numbers.y.to_bytes(32))}
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.url, "jwks_uri": f"{self.url}/keys", "authorization_endpoint": f"{self.url}/login",
                "token_endpoint": f"{self.url}/token", "id_token_signing_alg_values_supported": ["ES256"],
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
            },
            "/token": {"token_type": "Bearer", "access_token": self.token(PERSON)},
            "/job": {"value": self.token(JOB)},
            "/keys": {"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1", **key}]},
        }.get(path)  # fmt: skip


@contextmanager
def provider() -> Iterator[_Provider]:
    vouching = _Provider()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urllib.parse.urlsplit(self.path)
            if asked.path != "/login":
                self._answer(asked.path)
                return
            self.send_response(302)
            self.send_header("Location", vouching.redirect(urllib.parse.parse_qs(asked.query)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(self.path)

        def _answer(self, path: str) -> None:
            document = vouching.answer(path)
            body = json.dumps(document).encode()
            self.send_response(200 if document else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        vouching.url = f"http://{HOST}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield vouching
        finally:
            server.shutdown()
            thread.join()


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError:
        return False
    return True


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _pem(party: Party) -> list[bytes]:
    return [c.public_bytes(serialization.Encoding.PEM) for c in (party.certificate, party.root) if c is not None]


def _public(party: Party) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return party.key.public_key().public_bytes(serialization.Encoding.PEM, form)


def _encoded(document: dict[str, Any]) -> str:
    return _base64(json.dumps(document).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
