"""Secrets at rest: AES-256-GCM, the key's id beside the ciphertext, organization and column as associated data.

A ciphertext moved to another organization's row or to another column does not open. Old keys stay in the key file until
everything was sealed anew with the current one.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.json_reading import read_json

KEY_FILE = "encryption.json"
_KEY_BYTES = 32
_KEY_ID_BYTES = 6
_NONCE_BYTES = 12
_SEPARATOR = b":"


class SealBroken(Exception):
    """The ciphertext was not made with these keys for this place."""


class Vault:
    """Seals and opens secrets."""

    def __init__(
        self, keys: Mapping[str, bytes], current: str, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.fingerprints = {key_id: _fingerprint(key) for key_id, key in keys.items()}
        """By which a key is known again, and which tell nothing of it."""
        self._current = current
        self._random_bytes = random_bytes

    @classmethod
    def load(cls, keys_dir: Path) -> Vault:
        """Reads ``encryption.json``: ``{"current": "k…", "keys": {"k…": "<base64 of 32 bytes>"}}``."""
        content = read_json((keys_dir / KEY_FILE).read_bytes())
        keys = {key_id: base64.b64decode(value) for key_id, value in content["keys"].items()}
        return cls(keys, content["current"])

    def seal(self, plaintext: bytes, *, organization_id: UUID, column: str) -> bytes:
        """Encrypts for one organization and column: ``<key id>:<nonce><ciphertext>``."""
        nonce = self._random_bytes(_NONCE_BYTES)
        place = _associated_data(organization_id, column)
        sealed = self._ciphers[self._current].encrypt(nonce, plaintext, place)
        return self._current.encode() + _SEPARATOR + nonce + sealed

    def open(self, sealed: bytes, *, organization_id: UUID, column: str) -> bytes:
        """Decrypts. Raises SealBroken where key, organization or column are not the ones it was sealed with."""
        key_id, _, rest = bytes(sealed).partition(_SEPARATOR)
        cipher = self._ciphers.get(key_id.decode("ascii", "replace"))
        if cipher is None:
            raise SealBroken(f"No key {key_id!r} in the key file.")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _associated_data(organization_id, column))
        except InvalidTag:
            raise SealBroken("The secret was sealed for another place or has been altered.") from None


def read_key_ids(keys_dir: Path) -> set[str]:
    """The ids of the keys in ``encryption.json``; none where there is no such file."""
    try:
        return set(orjson.loads((keys_dir / KEY_FILE).read_bytes())["keys"])
    except FileNotFoundError:
        return set()


def create_key_file(keys_dir: Path) -> None:
    """Draws the first encryption key, unless there is one."""
    path = keys_dir / KEY_FILE
    if path.exists():
        return
    # Drawn too: under a fixed id a key that was lost and its successor would look like one and the same.
    key_id = f"k{os.urandom(_KEY_ID_BYTES).hex()}"
    key = base64.b64encode(os.urandom(_KEY_BYTES)).decode()
    write_whole(path, orjson.dumps({"current": key_id, "keys": {key_id: key}}))


def read_current_key_id(keys_dir: Path) -> str:
    """The id of the key with which new secrets are sealed; empty where there is no key file."""
    try:
        return str(orjson.loads((keys_dir / KEY_FILE).read_bytes())["current"])
    except FileNotFoundError:
        return ""


def remove_key(keys_dir: Path, key_id: str) -> bool:
    """Takes a key that is not the current one out of the key file; answers whether it was there."""
    path = keys_dir / KEY_FILE
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    if content["keys"].pop(key_id, None) is None:
        return False
    write_whole(path, orjson.dumps(content), replace=True)
    return True


def write_whole(path: Path, content: bytes, *, replace: bool = False) -> None:
    """A file of mode 0600, there as a whole or not at all. Raises FileExistsError where there is one, unless it is to
    be replaced."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _fingerprint(key: bytes) -> bytes:
    return hmac.digest(key, b"fingerprint of an encryption key", "sha256")


def _associated_data(organization_id: UUID, column: str) -> bytes:
    return f"{organization_id}/{column}".encode()
