"""What keeps the store of voices from other readers: a key in the keyring of the platform.

Needs the libraries keyring and cryptography (extra ``speakers``); without them, or without a
keyring that serves, there is no key, and the store says so.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from meetscribe.errors import DependencyError

log = logging.getLogger(__name__)

_SERVICE = "meetscribe speakers"


class Vault:
    """Seals bytes, so that only who has the key can read them (Fernet: AES-128-CBC, HMAC)."""

    def __init__(self, fernet: Any, key: str) -> None:  # noqa: ANN401 - the module, if installed
        self._box = fernet.Fernet(key)
        self._invalid: type[Exception] = fernet.InvalidToken

    def encrypt(self, data: bytes) -> bytes:
        """Seal."""
        return bytes(self._box.encrypt(data))

    def decrypt(self, token: bytes) -> bytes:
        """Open what was sealed.

        Raises
        ------
        ValueError
            If it was sealed with another key, or changed.
        """
        try:
            return bytes(self._box.decrypt(token))
        except (self._invalid, TypeError) as error:
            raise ValueError("not sealed with the key of the keyring") from error


def new_vault(key_id: str) -> Vault | None:
    """Make a key and keep it in the keyring; None where that does not serve."""
    try:
        keyring, fernet = _libraries()
    except ImportError:
        return None
    key = fernet.Fernet.generate_key().decode()
    try:
        keyring.set_password(_SERVICE, key_id, key)
        kept = keyring.get_password(_SERVICE, key_id)
    except (keyring.errors.KeyringError, OSError, RuntimeError) as error:
        log.info("no keyring: %s", error)
        return None
    return Vault(fernet, key) if kept == key else None


def find_vault(key_id: str, *, where: str) -> Vault:
    """Give the vault whose key is in the keyring.

    Raises
    ------
    DependencyError
        If the libraries are missing, or the keyring does not give the key.
    """
    try:
        keyring, fernet = _libraries()
    except ImportError as error:
        raise DependencyError(
            f"{where}: encrypted, and {error.name or error} is not installed",
            hint="pip install 'meetscribe[speakers]'",
        ) from error
    try:
        key = keyring.get_password(_SERVICE, key_id)
    except (keyring.errors.KeyringError, OSError, RuntimeError) as error:
        raise _no_key(where, str(error)) from error
    if not key:
        raise _no_key(where, "it does not have the key")
    return Vault(fernet, key)


def forget_key(key_id: str) -> None:
    """Take a key out of the keyring, if it is there."""
    try:
        keyring, _ = _libraries()
    except ImportError:
        return
    try:
        keyring.delete_password(_SERVICE, key_id)
    except (keyring.errors.KeyringError, OSError, RuntimeError) as error:
        log.info("the key was not in the keyring: %s", error)


def _no_key(where: str, reason: str) -> DependencyError:
    return DependencyError(
        f"{where}: encrypted, and the keyring of this machine does not open it ({reason})",
        hint="unlock the keyring; without its key, only `meetscribe speakers forget --all` is left",
    )


def _libraries() -> tuple[Any, Any]:
    keyring = importlib.import_module("keyring")
    importlib.import_module("keyring.errors")
    return keyring, importlib.import_module("cryptography.fernet")
