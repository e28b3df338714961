"""The master key in files that only the vault can read: one per generation, `master-1.key`, `master-2.key` ...

A file holds 32 bytes, or the same sealed under a passphrase (scrypt, AES-256-GCM). A passphrase comes from a systemd
credential or an inherited descriptor, never from an argument or the environment. The files may themselves be systemd
credentials (`strongroom-master-1.key`); then new generations are made by whoever makes those.
"""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from strongroom_hub.problems import Problem
from strongroom_hub.vault.durable import replace_durably, sync_folder
from strongroom_hub.vault.keys import KEY_BYTES, KeyUse, WrappedKey, derive, key_refused, new_key

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Where systemd puts a unit's credentials."""
CREDENTIAL_PREFIX = "strongroom-"
_FILE = re.compile(r"master-([1-9][0-9]{0,5})\.key")
_SEALED_FORMAT = "strongroom-master/1"
_NONCE_BYTES, _SALT_BYTES, _MAX_FILE = 12, 16, 4096
_SCRYPT = {"n": 1 << 17, "r": 8, "p": 1}  # 128 MiB and some tenths of a second for each guess


@dataclass(frozen=True, slots=True)
class Passphrase:
    """Where a passphrase comes from: `credential:NAME` (a systemd credential) or `fd:N` (an inherited descriptor)."""

    source: str

    def read(self) -> bytes:
        """Without the line end that editors add. Raises Problem."""
        kind, _, name = self.source.partition(":")
        try:
            if kind == "credential":
                content = (credentials_folder() / Path(name).name).read_bytes()
            elif kind == "fd":
                with os.fdopen(int(name), "rb") as stream:
                    content = stream.read()
            else:
                raise _refuse(f"passphrase = {self.source!r} is not known.", 'Write "credential:NAME" or "fd:N".')
        except (OSError, ValueError) as error:
            raise _refuse(f"The passphrase {self.source!r} cannot be read.", _HOW_CREDENTIAL) from error
        if not (content := content.rstrip(b"\r\n")):
            raise _refuse(f"The passphrase {self.source!r} is empty.", _HOW_CREDENTIAL)
        return content


class LocalKeyService:
    """All generations of the master key, read once."""

    def __init__(self, folder: Path, *, passphrase: Passphrase | None = None, fixed: bool = False) -> None:
        """`fixed`: the files are systemd credentials in `folder`, which this process does not write.

        Raises Problem when there is no key, or one is of another size, readable by others or sealed otherwise.
        """
        self._folder, self._fixed = folder, fixed
        self._secret = passphrase.read() if passphrase is not None else None
        self._wrapping = {
            number: AESGCM(derive(self._read(file), "wrap")) for number, file in master_files(folder, fixed=fixed)
        }
        if not self._wrapping:
            raise _refuse(f"{folder} holds no master key.", "Run the set-up, or restore it from backup.")

    @property
    def current(self) -> str:
        return _name(max(self._wrapping))

    def generations(self) -> list[str]:
        return [_name(number) for number in sorted(self._wrapping)]

    def wrap(self, key: bytes, use: KeyUse) -> WrappedKey:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._wrapping[max(self._wrapping)].encrypt(nonce, key, use.as_bytes())
        return WrappedKey(self.current, base64.b64encode(sealed).decode())

    def unwrap(self, wrapped: WrappedKey, use: KeyUse) -> bytes:
        cipher = next((self._wrapping[one] for one in self._wrapping if _name(one) == wrapped.kek), None)
        if cipher is None:
            raise key_refused(wrapped, use, ", ".join(self.generations()))
        try:
            sealed = base64.b64decode(wrapped.wrapped, validate=True)
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], use.as_bytes())
        except (InvalidTag, ValueError) as error:
            raise key_refused(wrapped, use, ", ".join(self.generations())) from error

    def rotate(self) -> str:
        number = max(self._wrapping) + 1
        if self._fixed:
            raise _refuse(
                "The master key is a systemd credential, which the vault does not write.",
                f"Add the credential {CREDENTIAL_PREFIX}master-{number}.key to the unit and start the vault again.",
            )
        master = new_key()
        replace_durably(self._folder / f"master-{number}.key", seal_master(master, self._secret))
        self._wrapping[number] = AESGCM(derive(master, "wrap"))
        return _name(number)

    def destroy(self, generation: str) -> None:
        number = next((one for one in self._wrapping if _name(one) == generation), None)
        if number is None or number == max(self._wrapping):
            what = "is the one that wraps now" if number is not None else "is not one of this vault's"
            raise _refuse(f"{generation} {what}.", f"There are: {', '.join(self.generations())}.")
        if self._fixed:
            raise _refuse(
                "The master key is a systemd credential, which the vault does not remove.",
                f"Remove the credential {CREDENTIAL_PREFIX}master-{number}.key and start the vault again.",
            )
        file = self._folder / f"master-{number}.key"
        with file.open("r+b") as stream:  # where the disk writes in place, the bytes go before the name does
            stream.write(os.urandom(os.fstat(stream.fileno()).st_size))
            stream.flush()
            os.fsync(stream.fileno())
        file.unlink()
        sync_folder(self._folder)
        del self._wrapping[number]

    def _read(self, file: Path) -> bytes:
        content = _read_private(file, of_others=self._fixed)
        if len(content) == KEY_BYTES:  # whatever they are: a random key may begin like a sealed one
            if self._secret is not None:  # the passphrase was only now set: from here on the file needs it
                replace_durably(file, seal_master(content, self._secret))
            return content
        if not content.startswith(b"{"):
            raise _refuse(f"{file} does not hold exactly {KEY_BYTES} bytes.", "Restore it from backup.")
        if self._secret is None:
            raise _refuse(f"{file} is sealed under a passphrase.", 'Say where it is: passphrase = "credential:NAME".')
        return _unseal(file, content, self._secret)


def master_files(folder: Path, *, fixed: bool = False) -> list[tuple[int, Path]]:
    """Generation and file of each master key in `folder`, oldest first."""
    prefix = CREDENTIAL_PREFIX if fixed else ""
    named = ((_FILE.fullmatch(file.name.removeprefix(prefix)), file) for file in folder.glob(f"{prefix}master-*.key"))
    return sorted((int(match[1]), file) for match, file in named if match)


def credentials_folder() -> Path:
    """Raises Problem where this process has no systemd credentials."""
    if not (named := os.environ.get(CREDENTIALS_VARIABLE)):
        raise _refuse("This process was given no systemd credentials.", _HOW_CREDENTIAL)
    return Path(named)


def seal_master(master: bytes, secret: bytes | None) -> bytes:
    """What a master key's file holds: the key, or with a passphrase the key sealed."""
    if secret is None:
        return master
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    head = {"format": _SEALED_FORMAT, "salt": salt.hex(), **_SCRYPT}
    key = Scrypt(salt=salt, length=KEY_BYTES, **_SCRYPT).derive(secret)
    sealed = nonce + AESGCM(key).encrypt(nonce, master, _SEALED_FORMAT.encode())
    return json.dumps({**head, "sealed": base64.b64encode(sealed).decode()}).encode()


def _unseal(file: Path, content: bytes, secret: bytes) -> bytes:
    try:
        raw = json.loads(content)
        if raw["format"] != _SEALED_FORMAT or any(raw[name] != value for name, value in _SCRYPT.items()):
            raise ValueError("another format")  # noqa: TRY301 - said in one place, below
        sealed = base64.b64decode(raw["sealed"], validate=True)
        key = Scrypt(salt=bytes.fromhex(raw["salt"]), length=KEY_BYTES, **_SCRYPT).derive(secret)
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _SEALED_FORMAT.encode())
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        raise _refuse(f"{file} does not open with this passphrase.", "Check the passphrase, or restore it.") from error


def _read_private(file: Path, *, of_others: bool) -> bytes:
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            content = stream.read(_MAX_FILE)
    except OSError as error:
        raise _refuse(
            f"{file} cannot be read ({error.strerror}).", "Run the set-up, or restore it from backup."
        ) from error
    if mode & 0o077 and not of_others:  # systemd gives its credentials to one unit by their folder
        raise _refuse(f"{file} may be read by others (mode {mode:04o}).", f"Run: chmod 0600 {file}")
    return content


def _name(number: int) -> str:
    return f"local:{number}"


_HOW_CREDENTIAL = "Give the vault's unit LoadCredentialEncrypted=NAME:FILE (docs/operators/keys.md)."


def _refuse(detail: str, next_step: str) -> Problem:
    return Problem(500, "master-key", "The vault's master key cannot be used", detail, next=next_step)
