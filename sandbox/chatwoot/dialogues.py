"""What people say to a language school: short conversations in Brazilian Portuguese, all invented."""

from dataclasses import dataclass

FIRST_NAMES = (
    "Marina", "Caio", "Júlia", "Rogério", "Beatriz", "Otávio", "Larissa", "Murilo", "Tainá", "Henrique", "Sabrina",
    "Vinícius", "Lorena", "Danilo", "Priscila", "Renan", "Yasmin", "Gustavo", "Helena", "Cauã", "Débora", "Ícaro",
)  # fmt: skip
LAST_NAMES = (
    "Teles", "Furtado", "Prado", "Antunes", "Queiroz", "Brandão", "Sampaio", "Valença", "Peixoto", "Nogueira",
    "Siqueira", "Bittencourt", "Galvão", "Meireles", "Quintela", "Rezende", "Tavares", "Lacerda",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a dialogue: who says or does it, and what."""

    who: str
    text: str = ""


def customer(text: str) -> Line:
    """The customer writes."""
    return Line("customer", text)


def agent(text: str) -> Line:
    """An agent answers in Chatwoot."""
    return Line("agent", text)


def does(what: str, text: str = "") -> Line:
    """An agent does something: note, label, resolve, echo (answers on the phone), delete, assign."""
    return Line(what, text)


DIALOGUES: tuple[tuple[Line, ...], ...] = (
    (
        customer("Oi, bom dia! Vocês têm turma de inglês à noite? 😊"),
        agent("Bom dia! Temos sim, terças e quintas às 19h30."),
        customer("Perfeito. Qual o valor da mensalidade?"),
        agent("Fica em **R$ 289** no plano semestral. Quer agendar uma aula experimental?"),
        customer("Quero! Pode ser na quinta."),
        does("label", "aula-experimental"),
    ),
    (
        customer("Boa tarde, vi o anúncio de vocês. Ainda tem bolsa de 30%?"),
        agent("Boa tarde! Temos as últimas vagas com bolsa. É para você mesmo?"),
        customer("É pra minha filha, ela tem 12 anos"),
        does("note", "Indicar a turma teens de sábado."),
        does("label", "teens"),
    ),
    (
        customer("Olá!"),
        customer("Queria saber de espanhol para iniciantes"),
        customer("Moro perto do metrô, tem unidade aí?"),
    ),
    (
        customer("Vocês emitem certificado?"),
        agent("Emitimos sim, ao fim de cada nível 👍"),
        customer("Legal, obrigado!"),
        does("resolve"),
    ),
    (
        customer("Preciso de aulas particulares de conversação, 2x por semana"),
        does("echo", "Oi! Aqui é a Larissa, te respondi pelo celular: tenho horário às 7h e às 12h."),
        customer("12h é ótimo"),
        does("assign"),
    ),
    (
        customer("Quanto custa o intensivo de férias?"),
        agent("O intensivo de janeiro sai por R$ 990 à vista ou 3x de R$ 340."),
        customer("Vou falar com meu marido e volto a chamar"),
        does("label", "orcamento-enviado"),
    ),
    (
        customer("Oi, mandei o comprovante da matrícula por e-mail, chegou?"),
        agent("Chegou sim! Sua matrícula está confirmada."),
        customer("Que bom 🎉"),
        does("label", "matriculado"),
        does("resolve"),
    ),
    (
        customer("Bom dia, é possível trocar de turma?"),
        agent("Bom dia! Claro, qual horário fica melhor?"),
        customer("Sábado de manhã"),
    ),
    (
        customer("Vocês aceitam pix?"),
        agent("Aceitamos: pix, cartão & boleto <sem juros>."),
        customer("Show"),
    ),
    (
        customer("Não quero mais receber mensagens, por favor. SAIR"),
        does("label", "nao-perturbe"),
    ),
    (
        customer("Tem teste de nivelamento online?"),
        agent("Tem! Leva uns 20 minutos. Posso te mandar o link?"),
        customer("Pode"),
        does("delete"),
        agent("Prontinho, te enviei por aqui."),
    ),
    (
        customer("Fiz intercâmbio e queria continuar no avançado. Como funciona?"),
        does("note", "Perfil bom para o C1 de segunda."),
        agent("Que legal! Primeiro fazemos uma conversa de 15 minutos com o professor."),
        customer("Fechado, pode marcar amanhã às 18h?"),
        does("label", "nivelamento"),
        does("assign"),
    ),
)

FROM_THE_OTHER_CHANNEL: tuple[Line, ...] = (
    customer("Oi, sou eu que falei com vocês no outro canal ontem"),
    agent("Oi! Já achei sua conversa. Vamos continuar por aqui?"),
    customer("Isso, por aqui fica mais fácil"),
)
