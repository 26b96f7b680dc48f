"""TLS on the public port, for a gateway that no proxy stands before."""

from __future__ import annotations

import ssl
from pathlib import Path

from chassis.config import SettingRefused


def server_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Answers what TLS is made with; None where no certificate is named.

    Raises SettingRefused TLS_UNUSABLE, saying which file is wrong.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "PROSA_TLS_CERTIFICATE" if certificate is None else "PROSA_TLS_KEY"
        raise SettingRefused("TLS_UNUSABLE", f"{missing} is not set; certificate and key go together.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # aiohttp speaks nothing newer.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        # An SSLError is one too: a file that cannot be read, is no PEM, or a key of another certificate.
        raise SettingRefused(
            "TLS_UNUSABLE", f"{certificate} and {key} cannot be used as certificate and key (PEM): {error}."
        ) from error
    return context
