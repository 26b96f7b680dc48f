"""The gateway's settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from chassis.config import ModuleSettings


class GatewaySettings(ModuleSettings):
    """How the public port is served."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=0, le=65535)
    """Where the target gateway serves HTTP. 0 draws a free port."""
    trusted_proxies: str = ""
    """Addresses or networks, comma separated, of proxies that end TLS before the gateway and say in X-Forwarded-For for
    whom they speak. Where one is named, plain HTTP is served to it and to this machine alone."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    """PEM files with which the gateway speaks HTTPS and nothing else; needed where no proxy ends TLS before it."""
