"""Settings: one frozen class, read once from the environment (``PROSA_…``) and checked at start.

A new field has a default under which yesterday's deployment still works.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.addresses import AllowedHosts
from chassis.migrations import SERVICES

LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """What any process of Prosa needs to know."""

    model_config = SettingsConfigDict(env_prefix="PROSA_", frozen=True, extra="ignore", env_ignore_empty=True)

    identity_database_url: SecretStr | None = None
    ingest_database_url: SecretStr | None = None
    conversation_database_url: SecretStr | None = None
    outreach_database_url: SecretStr | None = None
    crm_database_url: SecretStr | None = None
    """One URL per service, each with the service's own role."""

    nats_url: SecretStr = SecretStr("nats://127.0.0.1:4222")
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    keys_dir: Path = Path("keys")
    """Holds ``<issuer>.key`` of the targets that run here, ``<issuer>.pub`` of all, and ``encryption.json``."""

    grpc_address: str = "127.0.0.1:50051"
    """Where this process serves gRPC."""
    identity_address: str = ""
    ingest_address: str = ""
    ingest_accept_address: str = ""
    conversation_address: str = ""
    outreach_address: str = ""
    crm_address: str = ""
    """Where each service is dialled; this process's own address when empty."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=0, le=65535)
    trusted_proxies: str = ""
    """Addresses or networks, comma separated, of proxies that end TLS before the gateway and stand for many."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """The inner listener: /metrics, /readyz, /healthz. 0 draws a free port."""

    log_level: LogLevel = "info"
    log_text: bool = False
    """Lets message texts into the logs; off by default, they are people's own words."""
    prepared_statements: bool = False
    """True where no pooler in transaction mode stands between here and PostgreSQL."""
    drain_seconds: float = Field(default=10.0, gt=0)
    """How long running calls may take once the process was told to stop."""
    allowed_hosts: str = ""
    """What outgoing calls may reach though its address is private: ``host:port`` or ``host``, comma separated."""
    blocked_identifiers: str = ""
    """Phones, e-mails and words, comma separated, that count as absent besides the usual ones; ``@host`` blocks a whole
    host. Nobody is ever taken for somebody else by one of them."""
    otlp_endpoint: str = ""
    """Where traces are sent by OTLP over gRPC; none are when empty."""

    @model_validator(mode="after")
    def _check_keys_dir(self) -> Settings:
        if not self.keys_dir.is_dir():
            raise ValueError(
                f"PROSA_KEYS_DIR is {self.keys_dir}, which is no directory. Set it to the one that holds the key "
                "files; `prosa keys create` fills it."
            )
        return self

    @field_validator("allowed_hosts")
    @classmethod
    def _check_allowed_hosts(cls, text: str) -> str:
        AllowedHosts(text)
        return text

    def database_url(self, service: str) -> str:
        """The URL of a service's own role. Raises ValueError naming the variable that is missing."""
        url: SecretStr | None = getattr(self, f"{service}_database_url")
        if url is None:
            raise ValueError(f"PROSA_{service.upper()}_DATABASE_URL is not set; the target {service} needs it.")
        return url.get_secret_value()

    def address(self, service: str) -> str:
        """Where to dial a service: ``ingest_accept`` falls back to ``ingest``, and all to this process itself."""
        named: str = getattr(self, f"{service}_address")
        if not named and service == "ingest_accept":
            named = self.ingest_address
        return named or self.grpc_address


assert all(f"{service}_database_url" in Settings.model_fields for service in SERVICES)
