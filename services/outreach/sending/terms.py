"""The terms that an owner accepts before anything is said by itself or to many."""

from __future__ import annotations

TERMS_VERSION = "2026-11"

_TEXTS = {
    "pt": """# Automação e mensagens em massa

1. Só escrevemos a pessoas que deram o seu contato à organização e esperam notícias dela.
2. Quem pede para não receber mais mensagens não recebe mais nenhuma; o pedido vale a partir do momento em que chega.
3. Os limites e os horários de silêncio existem para não incomodar ninguém, e não para esconder algo de uma plataforma.
4. Conversas entre números próprios são identificadas como tais e não simulam clientes.
5. A organização responde pelo que os seus números enviam, pelas regras dos provedores e pela lei de proteção de dados.
""",
    "en": """# Automation and messages to many

1. We write only to people who gave the organization their contact and expect its messages.
2. Whoever asks not to be written to gets no further message; that holds from the moment it arrives.
3. Limits and quiet hours exist so that nobody is flooded. They are not there to hide anything from any platform.
4. Conversations between own numbers are marked as such and pretend to be no customers.
5. The organization answers for what its numbers send, for the providers' rules and for the law on personal data.
""",
}


def terms_text(locale: str) -> str:
    """The terms in the language of a locale such as "pt-BR"; in English where there is no translation."""
    return _TEXTS.get(locale.partition("-")[0].lower(), _TEXTS["en"])
