"""Reads whether a message asks to be left alone, or to be written to again. No I/O.

The whole message must say it: a word within a sentence about something else ends nothing.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

WORDS_LENGTH_MAX = 200
"""What is longer says more than that."""


class Wish(StrEnum):
    """What a contact asks for."""

    LEAVE = "LEAVE"
    COME_BACK = "COME_BACK"


_PLEASE = r"(?:(?:oi|ola|bom dia|boa tarde|boa noite|por favor|pfv|pf|please|eu|entao) )*"
_THANKS = r"(?: (?:por favor|pfv|pf|please|obrigad[oa]|obg|grat[oa]|thanks|ja|agora|imediatamente))*"
_MESSAGES = (
    r"(?:mais )?(?:(?:as |essas |estas |suas |nenhuma? )*"
    r"(?:mensage(?:m|ns)|msgs?|propagandas?|ofertas?|promoc(?:ao|oes)|anuncios?|spam|contatos?))"
)
_LIST = r"(?:d[aeo]s?|dess[ae]s?|dest[ae]s?|sua) (?:sua )?(?:listas?|grupo|cadastro|contatos?|transmissao)"
_DELETE = r"(?:tir(?:e|a|ar|em)|remov(?:a|e|er|am)|exclu(?:a|i|ir|am)|retir(?:e|a|ar|em)|descadastr(?:e|a|ar|em))"
_DELETED = r"(?:removid[oa]|excluid[oa]|retirad[oa]|tirad[oa]|descadastrad[oa]|desinscrit[oa])"
_WANT = r"(?:quero|gostaria de|desejo|preciso)"
_SEND = r"(?:mand(?:e|a|em|am)|envi(?:e|a|em|am)|escrev(?:a|e|am|em))"
# "Não quero" or "remover" alone answer many a question: they say too little.
_LEAVE = (
    r"sair|parar|parem?|stop|stop ?all|unsubscribe|opt ?out|quit|descadastr(?:ar|em?)|desinscrever|desinscreva",
    rf"{_WANT} (?:sair|parar|me descadastrar|me desinscrever)(?: de receber)?(?: {_LIST}| {_MESSAGES})?",
    rf"(?:{_WANT} ser {_DELETED}|(?:quero|gostaria) que (?:voces )?me {_DELETE})(?: {_LIST})?",
    rf"sair {_LIST}",
    rf"(?:me {_DELETE}|{_DELETE} (?:me|meu (?:numero|contato|nome|telefone)))(?: {_LIST})?",
    r"nao (?:quero|desejo) mais(?: receber)?(?: nada de voces)?",
    r"nao (?:quero|desejo) receber(?: mais)?(?: nada)?(?: de voces)?",
    # "Não quero mais oferta" may answer one offer; of the plural, somebody has had enough.
    rf"nao (?:quero|desejo) mais (?!oferta\b|promocao\b){_MESSAGES}(?: de voces)?",
    rf"(?:chega|basta) de (?:(?:mandar|enviar|receber) )?{_MESSAGES}",
    rf"nao (?:quero|desejo|gostaria)(?: mais)?(?: de)? receber(?: mais)? {_MESSAGES}(?: de voces)?",
    rf"nao (?:me {_SEND}|{_SEND}(?: me)?)(?: mais| mais nada| {_MESSAGES})",
    rf"par(?:e|a|em|am) de (?:me )?(?:mandar|enviar|escrever|incomodar|perturbar)(?: me)?(?: {_MESSAGES})?",
    r"(?:cancelar|cancele|cancela) (?:a |o |minha |meu )?(?:inscricao|cadastro|recebimento)",
    r"(?:stop|do not|dont|don t) (?:text|texting|message|messaging|write|writing)(?: to)? me(?: anymore)?",
    r"(?:remove|take) me(?: (?:off|from) (?:the|your|this) list)?|unsubscribe me",
)
_COME_BACK = (
    r"voltar|start|unstop|reativar|reinscrever|subscribe",
    rf"{_WANT} (?:voltar|me reinscrever|receber de novo)(?: a receber)?(?: de novo| {_MESSAGES})?",
    rf"voltar a receber(?: {_MESSAGES})?",
)


def _whole(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(f"{_PLEASE}(?P<words>{'|'.join(f'(?:{pattern})' for pattern in patterns)}){_THANKS}")


_PATTERNS = {Wish.LEAVE: _whole(_LEAVE), Wish.COME_BACK: _whole(_COME_BACK)}


def read_wish(text: str) -> tuple[Wish, str] | None:
    """What a message asks for, and the words that say so; None where it asks for neither."""
    if not text or len(text) > WORDS_LENGTH_MAX:
        return None
    folded = fold(text)
    for wish, pattern in _PATTERNS.items():
        if (found := pattern.fullmatch(folded)) is not None:
            return wish, found["words"]
    return None


def fold(text: str) -> str:
    """A text without marks, capitals, punctuation and emoji: its words, a blank between them."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = (sign if sign.isalnum() else "" if _unseen(sign) else " " for sign in plain)
    return " ".join("".join(kept).split())


def _unseen(sign: str) -> bool:
    """Whether a sign stands within a word: an accent, or what has no width, as copies from web pages bring it."""
    return unicodedata.combining(sign) != 0 or unicodedata.category(sign) == "Cf"
