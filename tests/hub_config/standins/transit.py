"""Stands in for a transit engine: a contract server, written from the published API pages of OpenBao and Vault.

No real server can be installed here, so this answers as those pages say (paths, members, status codes, `vault:vN:`
ciphertexts, `associated_data` for aes256-gcm96, `min_decryption_version`, trim). What only a real one does (leases,
seals, performance) is not shown by it.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "s.test-token"


class Transit:
    """One key `strongroom` behind `address`; `failures` is how many calls are answered 503 first."""

    def __init__(self, key_type: str = "aes256-gcm96") -> None:
        self.keys = {1: os.urandom(32)}
        self.key_type = key_type
        self.min_decryption = self.min_available = 1
        self.failures = 0
        self.calls: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self, {})

            def do_POST(self) -> None:
                outer.answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        self.calls.append((request.command, request.path))
        status, data = self._answer(request, body)
        content = b"" if data is None else json.dumps({"data": data} if status < 400 else data).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _answer(self, request: BaseHTTPRequestHandler, body: dict[str, Any]) -> tuple[int, Any]:
        if self.failures:
            self.failures -= 1
            return 503, {"errors": ["Vault is sealed"]}
        if request.headers.get("X-Vault-Token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        verb = request.path.removeprefix("/v1/transit/")
        if verb == "keys/strongroom":
            return 200, {
                "type": self.key_type,
                "latest_version": max(self.keys),
                "min_decryption_version": self.min_decryption,
                "min_available_version": self.min_available,
            }
        calls = {
            "encrypt/strongroom": self._encrypt,
            "decrypt/strongroom": self._decrypt,
            "keys/strongroom/rotate": self._rotate,
            "keys/strongroom/config": self._config,
            "keys/strongroom/trim": self._trim,
        }
        return calls[verb](body) if verb in calls else (404, {"errors": []})

    def _encrypt(self, body: dict[str, Any]) -> tuple[int, Any]:
        number, nonce = max(self.keys), os.urandom(12)
        aad = base64.b64decode(body["associated_data"])
        sealed = nonce + AESGCM(self.keys[number]).encrypt(nonce, base64.b64decode(body["plaintext"]), aad)
        return 200, {"ciphertext": f"vault:v{number}:{base64.b64encode(sealed).decode()}", "key_version": number}

    def _decrypt(self, body: dict[str, Any]) -> tuple[int, Any]:
        _, version, text = body["ciphertext"].split(":")
        number = int(version.removeprefix("v"))
        if number not in self.keys or number < self.min_decryption:
            return 400, {"errors": ["ciphertext or signature version is disallowed by policy (too old)"]}
        sealed = base64.b64decode(text)
        try:
            clear = AESGCM(self.keys[number]).decrypt(
                sealed[:12], sealed[12:], base64.b64decode(body["associated_data"])
            )
        except InvalidTag:
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"plaintext": base64.b64encode(clear).decode()}

    def _rotate(self, _: dict[str, Any]) -> tuple[int, Any]:
        self.keys[max(self.keys) + 1] = os.urandom(32)
        return 204, None

    def _config(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.min_decryption = body["min_decryption_version"]
        return 204, None

    def _trim(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["min_available_version"] > self.min_decryption:
            return 400, {"errors": ["minimum available version should not be greater than min decryption version"]}
        self.min_available = body["min_available_version"]
        self.keys = {number: key for number, key in self.keys.items() if number >= self.min_available}
        return 204, None
