"""The certificate with which a server proves who it is, and whom a client believes."""

from __future__ import annotations

import ssl
from pathlib import Path

from stream_mer.errors import SettingError
from stream_mer.server.settings import ServeSettings


def tls_context(settings: ServeSettings) -> ssl.SSLContext | None:
    """Return what a server needs to speak TLS 1.2 or newer; None where no certificate is set.

    Raises:
        SettingError: A file cannot be read, is none of its kind, or the key belongs to another certificate.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as exc:
        why = "the key is not that of the certificate" if "MISMATCH" in str(exc) else "they must be PEM files"
        raise SettingError(f"{certificate} and {key or 'the key in it'} cannot be used for TLS: {why}") from None
    except OSError as exc:
        raise SettingError(f"cannot read {exc.filename or certificate}: {exc.strerror or exc}") from None
    return context


def trusting(authorities: Path) -> ssl.SSLContext:
    """Return what a client needs to believe the servers for which these certificates (PEM) vouch, and no others.

    Raises:
        SettingError: The file cannot be read, or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=authorities)
    except ssl.SSLError:
        raise SettingError(f"{authorities} holds no certificates: it must be a PEM file") from None
    except OSError as exc:
        raise SettingError(f"cannot read {authorities}: {exc.strerror or exc}") from None


def _no_password() -> str:
    raise SettingError("the TLS key is locked with a password: take it off, so that the server can start by itself")
