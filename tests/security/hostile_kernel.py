"""Code for a hostile kernel: it owns its process, the HMAC key and the sockets, and forges whatever they carry.

The text runs inside the box (`PREPARE` once, then calls of its functions); nothing of it runs in the tests' process.
The secret that it tries to get out is grown from a seed, so that the source that the page gets back does not hold it.
"""

from __future__ import annotations

import base64
import hashlib
import zlib

SECRET_BYTES = 512
LENGTHS = (16, 16, 16, 12, 12, 16, 12, 12, 12, 64, 32)
"""For each spelling, the characters in a row that count as a piece: about 64 bits, which chance does not make."""


def secret_of(seed: str) -> bytes:
    return b"".join(hashlib.sha256(f"{seed}/{n}".encode()).digest() for n in range(SECRET_BYTES // 32))


def spellings(secret: bytes) -> list[str]:
    """The secret as the attacks write it."""
    return [
        secret.hex(),
        secret.hex().upper(),
        secret.hex()[::-1],
        base64.b64encode(secret).decode(),
        base64.urlsafe_b64encode(secret).decode(),
        base64.b32encode(secret).decode(),
        base64.b85encode(secret).decode(),
        base64.b64encode(zlib.compress(secret)).decode(),
        secret.decode("latin-1"),
        "".join(f"{byte:08b}" for byte in secret),
        ".".join(map(str, secret)),
    ]


def pieces(secret: bytes) -> dict[int, set[str]]:
    """By length."""
    found: dict[int, set[str]] = {length: set() for length in LENGTHS}
    for text, length in zip(spellings(secret), LENGTHS, strict=True):
        found[length] |= {text[at : at + length] for at in range(len(text) - length + 1)}
    return found


PREPARE = '''
import base64, builtins, hashlib, json, os, socket, struct, sys, threading, time, zlib
from ipykernel.kernelapp import IPKernelApp
from strongroom import _wire
kernel = get_ipython().kernel
session, iopub, stdin = kernel.session, kernel.iopub_socket, kernel.stdin_socket
PNG = b"\\x89PNG\\r\\n\\x1a\\n"
def secret_of(seed):
    return b"".join(hashlib.sha256(f"{seed}/{n}".encode()).digest() for n in range(16))
def spellings(secret):
    return [secret.hex(), secret.hex().upper(), secret.hex()[::-1], base64.b64encode(secret).decode(),
            base64.urlsafe_b64encode(secret).decode(), base64.b32encode(secret).decode(),
            base64.b85encode(secret).decode(), base64.b64encode(zlib.compress(secret)).decode(),
            secret.decode("latin-1"), "".join(f"{b:08b}" for b in secret), ".".join(map(str, secret))]
tried, failed = [], []
def attempt(name):
    """Run an attack now; whatever stops it inside the kernel is noted, not raised."""
    def run(attack):
        tried.append(name)
        try:
            attack()
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}"[:200])
        return attack
    return run
def publish(kind, content, *, parent=None, on=None, ident=b"kernel", **more):
    session.send(iopub if on is None else on, kind, content, parent=kernel.get_parent() if parent is None else parent,
                 ident=ident, **more)
def shell_socket():
    return kernel.shell_stream
def picture(raw):
    return base64.b64encode(PNG + raw).decode()
def image_attack(count, size=500_000):
    for n in range(count):
        publish("display_data", {"data": {"image/png": picture(os.urandom(size))}, "metadata": {}})
def flood(count=40, size=16_384, byte="Z"):
    """Honest output in mass, over all the ordinary routes."""
    big = byte * size
    for n in range(count):
        publish("stream", {"name": "stdout", "text": big})
        publish("stream", {"name": "stderr", "text": big})
        html = f"<p title='{big}'>{big}</p>"
        publish("display_data", {"data": {"text/plain": big, "text/html": html}, "metadata": {}})
        publish("execute_result", {"data": {"text/markdown": big}, "metadata": {}, "execution_count": 1})
        publish("error", {"ename": big, "evalue": big, "traceback": [big, big]})
def small_ones(text, count=20_000):
    """Very many messages that say very little each."""
    for n in range(count):
        publish("stream", {"name": ("stdout", "stderr")[n & 1], "text": text[n % len(text)]})
def leak(secret):
    """Every route that a kernel reaches by messages, each with the secret in it, in every spelling."""
    words = spellings(secret)
    parent, ident = kernel.get_parent(), kernel._parent_ident["shell"]
    shell = shell_socket()
    control = IPKernelApp.instance().control_socket
    for word in words:
        name = "".join(c for c in word if c.isalnum() or c in "_.:-")[:120] or "x"
        spoiled = {word: word, "strongroom": {"entry": 1, "label": "public", "shown": 0, "x": word}, "version": word}
        raw = [word.encode("utf-8", "replace"), secret]
        for kind, content in (
            ("stream", {"name": "stdout", "text": word}), ("stream", {"name": word, "text": word}),
            ("stream", {"name": "stderr", "text": word, "more": word}),
            ("display_data", {"data": {"text/plain": word, "text/html": word, "text/latex": word,
                "text/markdown": word, "application/json": {"x": word}, "application/javascript": word,
                "image/svg+xml": f"<svg>{word}</svg>", "application/" + name[:40]: word,
                "application/vnd.strongroom.withheld+json": {"id": word, "text": word, "mime": word}},
                "metadata": {"text/plain": word, "image/png": {"width": word}},
                "transient": {"display_id": name, "more": word}}),
            ("display_data", {"data": {"image/png": picture(word.encode())},
                              "metadata": {"image/png": {"width": secret[0] + 1, "height": secret[1] + 1}}}),
            ("update_display_data", {"data": {"text/plain": word}, "metadata": {}, "transient": {"display_id": name}}),
            ("execute_result", {"data": {"text/plain": word}, "metadata": {}, "execution_count": word}),
            ("execute_result", {"data": {}, "metadata": {}, "execution_count": int.from_bytes(secret, "big")}),
            ("error", {"ename": word, "evalue": word, "traceback": [word]}),
            ("clear_output", {"wait": word, "more": word}), ("status", {"execution_state": word}),
            ("status", {"execution_state": "busy", "more": word}), ("status", {"execution_state": "idle", "x": word}),
            ("execute_input", {"code": word, "execution_count": word}),
            ("comm_open", {"comm_id": name, "target_name": "jupyter.widget", "data": {"state": {word: word}}}),
            ("comm_open", {"comm_id": name + "2", "target_name": word, "data": {"state": word}}),
            ("comm_msg", {"comm_id": name, "data": {"method": "custom", "content": word}}),
            ("comm_close", {"comm_id": name, "data": {"state": word}}),
            ("kernel_info_reply", {"status": "ok", "banner": word, "implementation": word}),
            ("debug_event", {"type": "event", "event": word, "body": word}), (name[:60], {"data": word}),
            ("shutdown_reply", {"status": "ok", "restart": word}), ("usage_reply", {"hostname": word}),
        ):
            attempt("iopub " + kind)(lambda: publish(kind, content))
            attempt("iopub with metadata and buffers " + kind)(
                lambda: publish(kind, content, metadata=spoiled, buffers=raw))
        for kind, content in (
            ("execute_reply", {"status": word, "execution_count": word, "user_expressions": {word: word},
                "payload": [{"source": "page", "data": {"text/plain": word}, "start": secret[0]},
                            {"source": "set_next_input", "text": word}]}),
            ("execute_reply", {"status": "error", "ename": word, "evalue": word, "traceback": [word]}),
            ("complete_reply", {"status": "ok", "matches": [word], "cursor_start": secret[0], "cursor_end": secret[0]}),
            ("inspect_reply", {"status": "ok", "found": True, "data": {"text/plain": word}}),
            ("kernel_info_reply", {"status": "ok", "banner": word, "help_links": [{"text": word, "url": word}]}),
            ("history_reply", {"status": "ok", "history": [[1, 1, word]]}),
            ("is_complete_reply", {"status": word, "indent": word}), ("comm_info_reply", {"comms": {name: word}}),
            ("create_subshell_reply", {"status": "ok", "subshell_id": word}), (name[:60], {"data": word}),
        ):
            attempt("shell " + kind)(
                lambda: publish(kind, content, on=shell, ident=ident, metadata=spoiled, buffers=raw))
        attempt("control debug_reply")(lambda: publish(
            "debug_reply", {"body": word}, on=control, ident=ident, metadata=spoiled, buffers=raw))
        attempt("stdin input_request")(lambda: publish(
            "input_request", {"prompt": word, "password": word}, on=stdin, ident=ident, metadata=spoiled, buffers=raw))
        attempt("shell type on iopub")(lambda: publish("input_request", {"prompt": word, "password": False}))
        for field in ("header", "parent_header"):
            for part in ("msg_id", "session", "username", "date", "version", "msg_type", "more"):
                message = session.msg("stream", {"name": "stdout", "text": "."}, parent=parent)
                message[field] = {**message[field], part: word}
                attempt(f"{field}.{part}")(lambda: session.send(iopub, message))
        for other in ({}, {"msg_id": word}, {**parent["header"], "subshell_id": word}, word, [word]):
            message = session.msg("stream", {"name": "stdout", "text": word})
            message["parent_header"] = other
            attempt("foreign parent")(lambda: session.send(iopub, message))
        parts = [b"kernel", b"<IDS|MSG>", b"0" * 64, *[json.dumps({"msg_type": "stream", "x": word}).encode()] * 4]
        attempt("wrong signature")(lambda: iopub.send_multipart(parts))
        attempt("unsigned")(lambda: iopub.send_multipart([*parts[:2], b"", *parts[3:]]))
        attempt("no frames")(lambda: iopub.send_multipart([word.encode("utf-8", "replace")]))
        attempt("raw prints")(lambda: os.write(1, word.encode("utf-8", "replace")))
        attempt("raw errors")(lambda: os.write(2, word.encode("utf-8", "replace")))
        attempt("log file")(lambda: print(word, file=sys.__stderr__))
        for question in ("open", "catalog", "label", "budget", word):
            attempt("ask " + question[:10])(lambda: _wire.ask(question, dataset=word, version=None, columns=[word]))
            named = f"health/{name[:40].lower()}"
            attempt("ask name")(lambda: _wire.ask("open", dataset=named, version=None, columns=None))
        attempt("vault")(lambda: _wire.fetch(word))
        for place in (".", "/tmp", os.path.expanduser("~/notebooks"), "/run/k", "/run/strongroom"):
            attempt("file in " + place)(lambda: open(f"{place}/{name[:80]}.csv", "w").write(word))
    kernel.__class__.implementation = kernel.__class__.banner = words[0]
    kernel.__class__.language_info = {"name": words[0], "version": words[0]}
    kernel.__class__.help_links = [{"text": words[0], "url": words[0]}]
    kernel.__class__.do_complete = lambda self, *_: {"status": "ok", "matches": words, "cursor_start": 0,
        "cursor_end": 0, "metadata": {"_jupyter_types_experimental": [{"start": 0, "end": 0, "text": w, "type": w}
                                                                      for w in words], words[0]: words[0]}}
    kernel.__class__.do_inspect = lambda self, *_, **__: {"status": "ok", "found": True,
        "data": {"text/plain": words[0]}, "metadata": {words[0]: words[0]}}
    kernel.__class__.do_history = lambda self, *_, **__: {"status": "ok", "history": [(1, 1, words[0])]}
    kernel.__class__.do_is_complete = lambda self, *_: {"status": "incomplete", "indent": words[0]}
    time.sleep(0.5)
def report(name):
    with open(name + ".part", "w") as file:
        json.dump({"tried": tried, "failed": failed}, file)
    os.rename(name + ".part", name)
'''
