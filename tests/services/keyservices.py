"""Key services that answer as AWS KMS and HashiCorp Vault do, on loopback, with keys of their own.

Here: `GetPublicKey` and `Sign` of the AWS KMS API (JSON 1.1 protocol), `read key` and `sign data` of Vault's transit
engine, as their references describe them. Not here: who is allowed to use them; any credentials do.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

_SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class KeyService:
    """A running service; `aws_key` and `vault_key` may be exchanged while it runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.aws_key = ec.generate_private_key(ec.SECP256R1())
        self.vault_key = ed25519.Ed25519PrivateKey.generate()

    def aws(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer an action of AWS KMS about the one key, `alias/release`."""
        if body["KeyId"] != "alias/release":
            return 400, {"__type": "NotFoundException", "message": f"Alias {body['KeyId']} is not found."}
        if action == "TrentService.GetPublicKey":
            public = base64.b64encode(self.aws_key.public_key().public_bytes(*_SPKI)).decode()
            return 200, {"KeyId": "release", "PublicKey": public, "SigningAlgorithms": ["ECDSA_SHA_256"]}
        if (body["MessageType"], body["SigningAlgorithm"]) != ("DIGEST", "ECDSA_SHA_256"):
            return 400, {"__type": "ValidationException", "message": "not supported"}
        signature = self.aws_key.sign(base64.b64decode(body["Message"]), ec.ECDSA(Prehashed(hashes.SHA256())))
        return 200, {"KeyId": "release", "Signature": base64.b64encode(signature).decode()}

    def vault(self, verb: str, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer a request to Vault's transit engine about the one key, `release`, version 3."""
        if name != "release":
            return 404, {"errors": ["encryption key not found"]}
        if verb == "keys":
            public = base64.b64encode(self.vault_key.public_key().public_bytes_raw()).decode()
            return 200, {
                "data": {"type": "ed25519", "keys": {"2": {"public_key": "AAAA"}, "3": {"public_key": public}}}
            }
        if body["key_version"] != 3:
            return 400, {"errors": ["no such version"]}
        signature = self.vault_key.sign(base64.b64decode(body["input"]))
        return 200, {"data": {"signature": f"vault:v3:{base64.b64encode(signature).decode()}"}}


@contextmanager
def key_service() -> Iterator[KeyService]:
    """Yield a service on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw or b"{}")
            if action := self.headers.get("X-Amz-Target"):
                code, said = service.aws(action, body)
            else:
                *_, verb, name = self.path.split("/")
                code, said = service.vault(verb, name, body)
            data = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = KeyService(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
