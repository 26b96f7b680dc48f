"""Every built body has the keys, their order and the JSON types of the recorded sample of its kind."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.chatwoot.payloads import compact_json
from sandbox.chatwoot.people import Person
from sandbox.chatwoot.records import API, FACEBOOK_PAGE, INSTAGRAM, WHATSAPP, Event
from sandbox.chatwoot.world import DELETED_TEXT, World
from tests.unit.sandbox.clock import TickingClock

SAMPLES = Path(__file__).parents[2] / "fixtures" / "chatwoot"
AVATAR = "https://chat.escola-ipe.example/rails/active_storage/larissa.png"
MARINA = Person("Marina Teles", phone="+5511900004821")
CAIO = Person("Caio Furtado", igsid="7733100045600121", username="caiofurtado.foto")
ROGERIO = Person("Rogério Antunes", phone="+5521900007733")
ECHOED = "Marina, acabei de te mandar o endereço por aqui mesmo 👍"


class Stage:
    """A world with four inboxes and a record of what it announced."""

    def __init__(self) -> None:
        self.world = World(TickingClock(), seed=3, account_id=7, account_name="Clínica Sorriso Pleno")
        self.events: list[Event] = []
        setup = self.world.setup
        self.owner = setup.add_agent("Otávio Brandão", "otavio@exemplo.example", "administrator")
        self.larissa = setup.add_agent("Larissa Queiroz", "larissa@exemplo.example", avatar_url=AVATAR)
        self.team = setup.add_team("recepção")
        self.whatsapp = setup.add_inbox(WHATSAPP, "WhatsApp Recepção")
        self.instagram = setup.add_inbox(INSTAGRAM, "@sorrisopleno")
        self.page = setup.add_inbox(FACEBOOK_PAGE, "Sorriso Pleno")
        self.evolution = setup.add_inbox(API, "whatsapp-comercial")
        self.world.listen(self.events.append)

    def last(self, name: str) -> Any:
        """The newest announced body of that name, as it would be read."""
        return json.loads(next(e for e in reversed(self.events) if e.name == name).body())


def _whatsapp_incoming(stage: Stage) -> None:
    stage.world.incoming_message(stage.whatsapp, MARINA, "Oi, bom dia! Vocês atendem convênio? 😊")


def _assigned(stage: Stage) -> None:
    _whatsapp_incoming(stage)
    stage.world.assign(stage.world.conversations[1], stage.larissa, stage.team)


def _answered(stage: Stage) -> None:
    _assigned(stage)
    conversation = stage.world.conversations[1]
    stage.world.set_labels(conversation, ["lead-novo"])
    stage.world.agent_reply(conversation, stage.larissa, "Bom dia, Marina! Atendemos sim.")


def _delivered(stage: Stage) -> None:
    _answered(stage)
    message = stage.world.conversations[1].last_public_message()
    assert message is not None
    stage.world.provider_accepts(message)
    stage.world.status_update(message, "delivered")


def _labelled(stage: Stage) -> None:
    _delivered(stage)
    conversation = stage.world.conversations[1]
    stage.world.set_custom_attributes(conversation, {"origem": "indicacao"})
    stage.world.add_label(conversation, "convenio")


def _echoed(stage: Stage) -> None:
    _answered(stage)
    stage.world.native_app_echo(stage.world.conversations[1], ECHOED)


def _resolved(stage: Stage) -> None:
    _labelled(stage)
    conversation = stage.world.conversations[1]
    stage.world.set_priority(conversation, "medium")
    stage.world.native_app_echo(conversation, ECHOED)
    stage.world.resolve(conversation)


def _typing(stage: Stage) -> None:
    _assigned(stage)
    stage.world.typing(stage.world.conversations[1], stage.larissa)


def _contact_edited(stage: Stage) -> None:
    _whatsapp_incoming(stage)
    stage.world.edit_contact(
        stage.world.book.contacts[1],
        name="Marina Teles de Souza",
        email="marina.teles@exemplo.example",
        custom_attributes={"cpf_informado": True, "convenio": "Bem Viver"},
    )


def _greeted(stage: Stage) -> None:
    stage.whatsapp.greeting = "Olá! Recebemos sua mensagem e já vamos te atender."
    _whatsapp_incoming(stage)


def _instagram(stage: Stage) -> None:
    stage.world.incoming_message(stage.instagram, CAIO, "Oi! Quanto fica o clareamento?")


def _instagram_image(stage: Stage) -> None:
    _instagram(stage)
    image = stage.world.attachment("image", "https://cdn.example/?a=1&b=2", extension="jpg", width=1080, height=1350)
    stage.world.incoming_message(stage.instagram, CAIO, None, attachments=[image])


def _page(stage: Stage) -> None:
    person = Person("Júlia Prado", igsid="6544009988770012", username="ju.prado_")
    stage.world.incoming_message(stage.page, person, "Boa tarde, vi o post sobre alinhador. Vocês parcelam?")


def _evolution(stage: Stage) -> None:
    stage.world.incoming_message(stage.evolution, ROGERIO, "Vi o anúncio. Ainda tem horário **sábado**?")


def _evolution_echo(stage: Stage) -> None:
    _evolution(stage)
    stage.world.native_app_echo(stage.world.conversations[1], "Tem sim, Rogério! 9h ou 10h30?")


SCENES = {
    "contact_created.whatsapp_cloud": _whatsapp_incoming,
    "contact_updated.name_and_email_changed": _contact_edited,
    "conversation_created.api_evolution.no_messages": _evolution,
    "conversation_created.instagram_facebook_page": _page,
    "conversation_created.instagram_login": _instagram,
    "conversation_created.whatsapp_cloud": _whatsapp_incoming,
    "conversation_status_changed.whatsapp_cloud.resolved": _resolved,
    "conversation_typing_on.agent": _typing,
    "conversation_updated.whatsapp_cloud.assignee_changed": _assigned,
    "conversation_updated.whatsapp_cloud.label_added": _labelled,
    "message_created.api_evolution.incoming": _evolution,
    "message_created.api_evolution.outgoing_echo": _evolution_echo,
    "message_created.instagram_login.incoming_image": _instagram_image,
    "message_created.whatsapp_cloud.incoming": _whatsapp_incoming,
    "message_created.whatsapp_cloud.native_app_echo": _echoed,
    "message_created.whatsapp_cloud.outgoing_agent": _answered,
    "message_created.whatsapp_cloud.template_greeting": _greeted,
    "message_updated.whatsapp_cloud.delivered": _delivered,
}


def shape(value: Any) -> Any:
    """Keys in their order with the JSON type of each value; a list shows each of its items."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def test_there_is_a_scene_for_every_sample() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(SCENES)


@pytest.mark.parametrize("name", SCENES)
def test_a_built_body_has_the_shape_of_the_sample(name: str) -> None:
    stage = Stage()
    SCENES[name](stage)
    sample = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    assert shape(stage.last(sample["event"])) == shape(sample)


def test_bodies_are_compact_and_escape_what_rails_escapes() -> None:
    body = compact_json({"content": "Olá <b> & \u2028 \u2029 / \x00", "id": 1})
    assert body == '{"content":"Olá \\u003cb\\u003e \\u0026 \\u2028 \\u2029 / \\u0000","id":1}'.encode()


def test_the_message_type_is_a_word_at_the_root_and_a_number_inside() -> None:
    stage = Stage()
    _answered(stage)
    body = stage.last("message_created")
    assert (body["message_type"], body["conversation"]["messages"][0]["message_type"]) == ("outgoing", 1)


def test_times_have_the_units_of_their_places() -> None:
    stage = Stage()
    _answered(stage)
    body = stage.last("message_created")
    written = datetime.fromisoformat(body["created_at"])
    assert body["created_at"].endswith("Z")
    assert body["conversation"]["messages"][0]["created_at"] == int(written.timestamp())
    assert isinstance(body["conversation"]["updated_at"], float)
    assert body["conversation"]["waiting_since"] == 0
    assert datetime.fromisoformat(body["conversation"]["first_reply_created_at"]) == written
    assert written.tzinfo is not None
    assert written.astimezone(UTC) == written


def test_an_instagram_id_is_in_the_contact_inbox_alone() -> None:
    stage = Stage()
    _instagram(stage)
    body = stage.last("message_created")
    assert body["conversation"]["contact_inbox"]["source_id"] == CAIO.igsid
    assert body["sender"]["identifier"] is None
    assert str(CAIO.igsid) not in json.dumps(stage.last("contact_created"))


def test_a_private_note_is_never_the_shown_message() -> None:
    stage = Stage()
    _whatsapp_incoming(stage)
    note = stage.world.private_note(stage.world.conversations[1], stage.larissa, "Ligar às 15h")
    body = stage.last("message_created")
    assert (body["id"], body["private"], body["message_type"]) == (note.id, True, "outgoing")
    assert body["conversation"]["messages"][0]["id"] != note.id


def test_a_deleted_message_keeps_its_id_and_loses_its_text_and_files() -> None:
    stage = Stage()
    _instagram_image(stage)
    message = stage.world.conversations[1].messages[-1]
    stage.world.delete_message(message)
    body = stage.last("message_updated")
    assert (body["id"], body["content"], body["content_attributes"]) == (message.id, DELETED_TEXT, {"deleted": True})
    assert "attachments" not in body


def test_only_the_updated_float_grows_on_a_plain_message() -> None:
    stage = Stage()
    _whatsapp_incoming(stage)
    first = stage.last("message_created")["conversation"]["updated_at"]
    stage.events.clear()
    stage.world.incoming_message(stage.whatsapp, MARINA, "Oi?")
    assert [event.name for event in stage.events] == ["message_created", "contact_updated"]
    assert stage.last("message_created")["conversation"]["updated_at"] > first
