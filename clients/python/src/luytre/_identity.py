"""Decides which certificate this client shows: the newest good one of its files."""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from luytre.errors import IdentityError

_LOG = logging.getLogger("luytre")
_MAX_PEM_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Pem:
    """What the files hold: together, as they were at one moment."""

    authorities: bytes
    chain: bytes
    key: bytes = field(repr=False)


class Identity:
    """A certificate, its key and the hub's authorities, in files that may be replaced at any time."""

    def __init__(
        self, authorities: str | os.PathLike[str], chain: str | os.PathLike[str], key: str | os.PathLike[str]
    ) -> None:
        self._authorities, self._chain, self._key = Path(authorities), Path(chain), Path(key)
        self._seen = self._signature()
        #: What connections are made with.
        self.pem = self._read()

    def renew(self) -> bool:
        """Read the files again if they changed on disk; say whether what they hold is new.

        What cannot be used, such as a certificate whose key is not written yet, leaves the old
        identity in place until the files change once more.
        """
        try:
            seen = self._signature()
            if seen == self._seen:
                return False
            newer = self._read()
        except IdentityError as error:
            _LOG.debug("the files of the identity cannot be used yet; the old ones stay: %s", error)
            return False
        self._seen = seen
        if newer == self.pem:
            return False
        self.pem = newer
        _LOG.info("the client's certificate, or the hub's authorities, were renewed")
        return True

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_stat(path) for path in (self._authorities, self._chain, self._key))

    def _read(self) -> Pem:
        pem = self._read_once()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_cert_chain(self._chain, self._key, password=_no_password)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise IdentityError(
                f"{self._key} is not the unencrypted private key of the certificate in {self._chain}; give "
                f"the two that were issued together ({type(error).__name__})"
            ) from None
        try:
            context.load_verify_locations(cadata=pem.authorities.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise IdentityError(f"{self._authorities} holds no certificates in PEM") from None
        # Replaced meanwhile: what was checked may not be what was read.
        if self._read_once() != pem:
            raise IdentityError(f"{self._chain} or {self._key} is being replaced at this moment")
        return pem

    def _read_once(self) -> Pem:
        return Pem(_bytes(self._authorities), _bytes(self._chain), _bytes(self._key))


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}") from None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            held = file.read(_MAX_PEM_BYTES + 1)
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}") from None
    if len(held) > _MAX_PEM_BYTES:
        raise IdentityError(f"{path} is larger than a file of certificates can be")
    return held
