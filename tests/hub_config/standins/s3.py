"""Stands in for an S3-compatible object store: the calls that the vault makes, written from Amazon's API pages.

It checks signatures (version 4), knows uploads in pieces and lists in pages, and can fail in the ways of a network.
What only a real one does (versioning, policies, several regions) is not shown by it.
"""

from __future__ import annotations

import email.utils
import hashlib
import hmac
import re
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

ACCESS, SECRET, BUCKET = "AKIATEST", "secret-that-nobody-may-log", "enclave"
_PAGE = 3
"""Names of one page of a list: few, so that there are several."""

Fault = Callable[[str, str], str | None]
"""Method and object -> `drop` (no answer), `half` (half of the body), `silent` (until `close`), `500`, or None."""


class S3:
    """Objects in memory; what tests change in `objects` is what the next call finds."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fault: Fault = lambda _method, _name: None
        self.calls: list[tuple[str, str]] = []
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Also again, on the same port and with the same objects; with `tls` it speaks https."""
        outer = self
        self._over = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the other side, or this test, cut the connection
                    self.close_connection = True

            def do_GET(self) -> None:
                outer._answer(self, b"")

            def do_POST(self) -> None:
                outer._answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            do_PUT = do_POST  # noqa: N815 - http.server's names
            do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, peer = super().get_request()
                outer._connections.add(connection)
                return connection, peer

            def shutdown_request(self, request: Any) -> None:
                outer._connections.discard(request)
                super().shutdown_request(request)

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = int(self._server.server_address[1])
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """As a process that is killed: connections end wherever they are."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._connections.discard(connection)

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        target = urlsplit(request.path)
        bucket, _, name = unquote(target.path).removeprefix("/").partition("/")
        asked = {key: values[0] for key, values in parse_qs(target.query, keep_blank_values=True).items()}
        self.calls.append((request.command, name))
        fault = self.fault(request.command, name)
        if fault == "silent":
            self._over.wait()
        if fault in {"drop", "silent"}:
            request.close_connection = True
            return
        if fault == "500":
            self._send(request, 500, _error("InternalError"))
        elif (refused := _refused(request, body)) is not None:
            self._send(request, 403, _error(refused))
        elif bucket != BUCKET:
            self._send(request, 404, _error("NoSuchBucket"))
        else:
            with self._lock:
                status, content = self._do(request.command, name, asked, body)
            self._send(request, status, content, half=fault == "half")

    def _do(  # noqa: PLR0911 - one answer for each call
        self, method: str, name: str, asked: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        if method == "POST" and "uploads" in asked:
            upload = f"upload-{len(self._uploads)}"
            self._uploads[upload] = {}
            return 200, _xml("InitiateMultipartUploadResult", Bucket=BUCKET, Key=name, UploadId=upload)
        if method == "PUT" and "partNumber" in asked:
            self._uploads[asked["uploadId"]][int(asked["partNumber"])] = body
            return 200, b""
        if method == "POST":
            pieces = self._uploads.pop(asked["uploadId"])
            self.objects[name] = b"".join(pieces[number] for number in sorted(pieces))
            return 200, _xml("CompleteMultipartUploadResult", Bucket=BUCKET, Key=name, ETag='"e"')
        if method == "PUT":
            self.objects[name] = body
            return 200, b""
        if method == "DELETE":
            self.objects.pop(name, None)
            return 204, b""
        if not name:
            return 200, self._list(asked)
        return (200, self.objects[name]) if name in self.objects else (404, _error("NoSuchKey"))

    def _list(self, asked: dict[str, str]) -> bytes:
        after = asked.get("continuation-token", "")
        left = sorted(name for name in self.objects if name.startswith(asked.get("prefix", "")) and name > after)
        page, more = left[:_PAGE], len(left) > _PAGE
        listed = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(self.objects[name])}</Size><ETag>e</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult><Name>{BUCKET}</Name>{truncated}{token}{listed}</ListBucketResult>".encode()

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, content: bytes, *, half: bool = False) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("ETag", '"e"')
        request.send_header("Last-Modified", email.utils.formatdate(0, usegmt=True))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2] if half else content)
        request.close_connection = half


def credentials(folder: Path, secret: str = SECRET, access: str = ACCESS) -> Path:
    """A file that gives these."""
    file = folder / "s3-credentials"
    file.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    file.chmod(0o600)
    return file


def _refused(request: BaseHTTPRequestHandler, body: bytes) -> str | None:
    """What is wrong with the signature, in Amazon's words."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
        r"SignedHeaders=([^,]+), ?Signature=(\w+)",
        request.headers.get("Authorization", ""),
    )
    if found is None or found[1] != ACCESS:
        return "InvalidAccessKeyId"
    payload = request.headers["x-amz-content-sha256"]
    if payload != "UNSIGNED-PAYLOAD" and payload != hashlib.sha256(body).hexdigest():
        return "XAmzContentSHA256Mismatch"
    target = urlsplit(request.path)
    query = parse_qs(target.query, keep_blank_values=True)
    pairs = sorted((quote(key, safe="-_.~"), quote(values[0], safe="-_.~")) for key, values in query.items())
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in found[4].split(";"))
    asked = [request.command, target.path, "&".join(f"{key}={value}" for key, value in pairs), headers]
    digest = hashlib.sha256("\n".join([*asked, found[4], payload]).encode()).hexdigest()
    scope = f"{found[2]}/{found[3]}/s3/aws4_request"
    key = f"AWS4{SECRET}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{digest}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return None if hmac.compare_digest(signature, found[5]) else "SignatureDoesNotMatch"


def _xml(_root: str, /, **members: str) -> bytes:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in members.items())
    return f"<{_root}>{inner}</{_root}>".encode()


def _error(code: str) -> bytes:
    return _xml("Error", Code=code, Message="refused")
