"""What contacts write when they want to be left alone, and what they write about other things."""

from __future__ import annotations

import pytest

from services.outreach.opt_outs.words import WORDS_LENGTH_MAX, Wish, read_wish


@pytest.mark.parametrize(
    "text",
    [
        "SAIR",
        "sair",
        " *Sair*! ",
        "“SAIR”.",
        "S\u0041IR 🙏",
        "Parar",
        "STOP",
        "Não quero mais",
        "nao quero mais receber mensagens",
        "Não quero receber mais mensagens de vocês, obrigada",
        "Por favor, me tire dessa lista",
        "Bom dia, por favor me remova da lista",
        "quero sair da lista",
        "Pare de me mandar mensagem!!",
        "não me mande mais mensagens",
        "não envie mais",
        "remove meu número",
        "cancelar inscrição",
        "Please remove me from this list",
        "stop texting me",
        "Unsubscribe",
        "não quero mais mensagens",
        "Não quero mais promoções de vocês",
        "parem",
        "por favor parem",
        "STOP ALL",
        "Quero ser removido",
        "Gostaria de ser excluída da lista, obrigada",
        "Quero que me tirem da lista",
        "não quero receber promoções",
        "chega de mensagens",
        "descadastre",
        "S\u200bAI\u200bR",
        "\ufeffSAIR\u2060",
    ],
)
def test_who_wants_to_be_left_alone_is_heard(text: str) -> None:
    found = read_wish(text)
    assert found is not None
    assert found[0] is Wish.LEAVE
    assert found[1]


@pytest.mark.parametrize("text", ["VOLTAR", "voltar a receber mensagens", "Quero voltar a receber", "START"])
def test_who_wants_to_come_back_is_heard(text: str) -> None:
    found = read_wish(text)
    assert found is not None
    assert found[0] is Wish.COME_BACK


@pytest.mark.parametrize(
    "text",
    [
        "",
        "🙏",
        "não quero",
        "Não quero mais esse bolo, quero o de chocolate",
        "não quero mais nada, obrigado",
        "Quero sair mais cedo amanhã",
        "vou sair às 18h",
        "a saída é por onde?",
        "pode cancelar",
        "cancelar pedido",
        "remover",
        "tira a cebola",
        "Não mande hoje",
        "Onde é a parada? Pare na esquina",
        "stop at the corner",
        "pode voltar amanhã?",
        "Não quero mais mensagens de áudio, escreva",
        "não quero mais promoção",
        "Não quero mais ofertas, quero o preço cheio",
        "Parem o pedido, por favor",
        "parem na esquina",
        "stop all orders",
        "Quero ser removido da mesa 5",
        "quero que me tirem a cebola",
        "chega de manhã?",
        "chega de mensagens suas para o meu filho ler em voz alta",
        "o descadastre é por aqui?",
        "vou sair\u200b às 18h",
        "sair " * (WORDS_LENGTH_MAX // 5 + 1),
    ],
)
def test_what_is_about_something_else_ends_nothing(text: str) -> None:
    assert read_wish(text) is None
