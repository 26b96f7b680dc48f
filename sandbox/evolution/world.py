"""Evolution's instances and the people on WhatsApp: what happens, and what Evolution tells of it."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.evolution.numbers import LID_SERVER, PHONE_SERVER, create_jid, forms, lid_of
from sandbox.evolution.sender import Sender, Webhook

QR_SECONDS = 45.0
QR_LIMIT = 30
OPEN, CONNECTING, CLOSE = "open", "connecting", "close"
LOCAL_HOURS = -3
"""The official image runs on the time of São Paulo, and writes it as if it were UTC."""
SERVER_URL = "http://evolution.example"
SECRET_LIFE_BYTES = 32


@dataclass(slots=True)
class Instance:
    """One paired, or yet unpaired, number."""

    name: str
    instance_id: str
    token: str
    webhook: Webhook | None
    number: str = ""
    state: str = CLOSE
    qr_code: str = ""
    qr_count: int = 0
    account: str = ""
    """The JID of the connected phone."""
    profile_name: str = ""
    opened: bool = False
    """Whether it was open since this process started: only then events name the account."""
    pairing: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Sent:
    """What was handed to WhatsApp."""

    instance: str
    number: str
    text: str
    jid: str
    message_id: str


@dataclass(slots=True)
class Pace:
    """How fast things happen; None: only when told."""

    scan_seconds: float | None = 3.0
    qr_seconds: float = QR_SECONDS
    qr_limit: int = QR_LIMIT
    receipt_seconds: float | None = 0.2
    opened: Callable[[Instance], None] = lambda instance: None
    """What follows once a phone has scanned a code."""


@dataclass(slots=True)
class World:
    """All there is. What happens is told to each instance's webhook."""

    sender: Sender
    now: Callable[[], datetime]
    pace: Pace = field(default_factory=Pace)
    seed: int = 1
    instances: dict[str, Instance] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    """What findMessages finds."""
    absent: set[str] = field(default_factory=set)
    """Digits of numbers that have no WhatsApp."""
    cached: dict[str, str] = field(default_factory=dict)
    """JIDs by digits, as Evolution's cache has them: it may take a mobile for a landline, and somebody else's."""
    drawn: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.drawn = random.Random(self.seed)  # noqa: S311 - a fake's values must repeat, not surprise

    def create(self, name: str, given_token: str, webhook: Webhook | None, number: str, *, qrcode: bool) -> Instance:
        """Makes an instance; with ``qrcode`` it asks for a phone at once."""
        drawn = str(uuid.UUID(int=self.drawn.getrandbits(128), version=4))
        instance = Instance(name, drawn, given_token or drawn.upper(), webhook, number)
        self.instances[name] = instance
        self.tell(instance, "instance.create", {"instanceName": name, "instanceId": drawn})
        if qrcode:
            self.connect(instance)
        return instance

    def connect(self, instance: Instance) -> None:
        """Begins to show codes, unless it is paired or does so already."""
        if instance.state != CLOSE:
            return
        instance.state, instance.qr_count = CONNECTING, 0
        self.tell(instance, "connection.update", {"instance": instance.name, "state": CONNECTING, "statusReason": 200})
        self.draw_code(instance)
        instance.pairing = asyncio.create_task(self._pair(instance))

    async def _pair(self, instance: Instance) -> None:
        waited = 0.0
        while instance.state == CONNECTING:
            scan = self.pace.scan_seconds
            if scan is not None and scan - waited <= self.pace.qr_seconds:
                await asyncio.sleep(max(0.0, scan - waited))
                self.scan(instance)
                return
            await asyncio.sleep(self.pace.qr_seconds)
            waited += self.pace.qr_seconds
            if instance.qr_count >= self.pace.qr_limit:
                self.refuse(instance)
                return
            self.draw_code(instance)

    def draw_code(self, instance: Instance) -> None:
        """Shows the next QR code."""
        parts = [base64.b64encode(self.drawn.randbytes(SECRET_LIFE_BYTES)).decode() for _ in range(4)]
        instance.qr_code, instance.qr_count = "2@" + ",".join((*parts, "1")), instance.qr_count + 1
        self.tell(instance, "qrcode.updated", {"qrcode": {"instance": instance.name, **self.code(instance)}})

    def code(self, instance: Instance) -> dict[str, Any]:
        """The code as Evolution shows it."""
        pairing = "WZYEH1YY" if instance.number else None
        return {"pairingCode": pairing, "code": instance.qr_code, "base64": picture(instance.qr_code)}

    def scan(self, instance: Instance, phone: str = "", profile_name: str = "") -> None:
        """The phone reads the code."""
        if instance.state != CONNECTING:
            return
        digits = phone.lstrip("+") or instance.number or f"55119{60_000_000 + self.drawn.randrange(10**6):08d}"
        instance.account, instance.profile_name = digits + PHONE_SERVER, profile_name or "Escola Ipê Idiomas"
        self.open(instance)
        self.pace.opened(instance)

    def open(self, instance: Instance) -> None:
        """It is connected."""
        instance.state, instance.opened, instance.qr_code = OPEN, True, ""
        data = {
            "instance": instance.name,
            "wuid": instance.account,
            "profileName": instance.profile_name,
            "profilePictureUrl": None,
            "state": OPEN,
            "statusReason": 200,
        }
        self.tell(instance, "connection.update", data)

    def refuse(self, instance: Instance) -> None:
        """The codes ran out."""
        instance.state, instance.qr_code = CLOSE, ""
        data = {"message": "QR code limit reached, please login again", "statusCode": 500}
        self.tell(instance, "qrcode.updated", data)
        self.tell(instance, "connection.update", {"instance": instance.name, "state": "refused", "statusReason": 428})

    def lose(self, instance: Instance, *, again: bool = True) -> None:
        """A short loss: Evolution tells nothing of the end, only that it connects, and, ``again``, that it is back."""
        instance.state = CONNECTING
        self.tell(instance, "connection.update", {"instance": instance.name, "state": CONNECTING, "statusReason": 200})
        if again:
            self.open(instance)

    def end(self, instance: Instance, reason: int) -> None:
        """The phone logs it out (401), or WhatsApp forbids it (403)."""
        instance.state, instance.qr_code = CLOSE, ""
        status = {"instance": instance.name, "status": "closed", "disconnectionReasonCode": reason}
        self.tell(instance, "status.instance", status)
        self.tell(instance, "logout.instance", None)
        self.tell(instance, "connection.update", {"instance": instance.name, "state": CLOSE, "statusReason": reason})

    def person_writes(
        self,
        instance: Instance,
        phone: str,
        text: str,
        name: str = "",
        *,
        form: str = "2.3.7",
        quoted: str = "",
        from_phone: bool = False,
        message_id: str = "",
    ) -> str:
        """Somebody writes, or, ``from_phone``, the staff on the number's own phone; ``form`` is how the key looks."""
        digits = phone.lstrip("+")
        message_id = message_id or "AC" + f"{self.drawn.getrandbits(120):030X}"
        jid, lid = digits + PHONE_SERVER, lid_of(digits)
        keys: dict[str, dict[str, Any]] = {
            "2.3.7": {"remoteJid": jid, "remoteJidAlt": jid, "addressingMode": "lid"},
            "2.3.6": {"remoteJid": lid, "remoteJidAlt": jid, "addressingMode": "lid"},
            "2.4.0": {"remoteJid": jid, "remoteJidAlt": lid, "addressingMode": "pn"},
            "lid": {"remoteJid": lid, "addressingMode": "lid"},
            "group": {"remoteJid": "120363042000000000@g.us", "participant": jid},
            "status": {"remoteJid": "status@broadcast", "remoteJidAlt": jid, "participant": jid},
        }
        context = {"stanzaId": quoted, "participant": lid, "quotedMessage": {"conversation": ""}} if quoted else None
        data = {
            "key": {"participant": "", **keys[form], "fromMe": from_phone, "id": message_id},
            "pushName": "Você" if from_phone else name,
            "status": "SERVER_ACK" if from_phone else "DELIVERY_ACK",
            # What stands first is never what was said.
            "message": {"messageContextInfo": {"deviceListMetadataVersion": 2}, "conversation": text},
            "contextInfo": context,
            "messageType": "conversation",
            "messageTimestamp": int(self.now().timestamp()),
            "instanceId": instance.instance_id,
            "source": "android",
        }
        self.messages.append(data)
        self.tell(instance, "messages.upsert", data)
        return message_id

    def person_edits(
        self, instance: Instance, phone: str, message_id: str, text: str, *, from_phone: bool = False
    ) -> None:
        """Whoever wrote a message changes its words; Evolution tells it as an update of the message."""
        data = {
            "keyId": message_id,
            "remoteJid": lid_of(phone.lstrip("+")),
            "fromMe": from_phone,
            "status": "SERVER_ACK",
            "message": {"editedMessage": {"message": {"conversation": text}}},
            "instanceId": instance.instance_id,
        }
        self.tell(instance, "messages.update", data)

    def person_deletes(self, instance: Instance, phone: str, message_id: str, *, from_phone: bool = False) -> None:
        """Whoever wrote a message takes it back for everybody."""
        key = {"remoteJid": lid_of(phone.lstrip("+")), "fromMe": from_phone, "id": message_id, "participant": ""}
        self.tell(instance, "messages.delete", key | {"addressingMode": "lid", "status": "DELETED"})

    def send(self, instance: Instance, number: str, text: str) -> dict[str, Any] | None:
        """Hands a message to WhatsApp and answers what Evolution does; None where the number has no WhatsApp."""
        jid = self.cached.get(number, create_jid(number))
        digits = jid.partition("@")[0]
        if jid.endswith(PHONE_SERVER) and forms(digits) & self.absent:
            return None
        message_id = f"3EB0{self.drawn.getrandbits(72):018X}"
        self.sent.append(Sent(instance.name, number, text, jid, message_id))
        data = {
            "key": {"remoteJid": jid, "fromMe": True, "id": message_id},
            "pushName": "Você",
            "status": "PENDING",
            "message": {"conversation": text},
            "contextInfo": None,
            "messageType": "conversation",
            "messageTimestamp": int(self.now().timestamp()),
            "instanceId": instance.instance_id,
            "source": "web",
        }
        self.messages.append(data)
        self.tell(instance, "send.message", data)
        other = self.connected_as(digits)
        if other is not None and other is not instance:
            # Two numbers of one server are two telephones: what the one sends reaches the other like anybody's message.
            sender = instance.account.partition("@")[0]
            self.person_writes(other, sender, text, instance.profile_name, message_id=message_id)
        if self.pace.receipt_seconds is not None:
            self.sender.spawn(self._receipts(instance, jid, message_id, self.pace.receipt_seconds))
        return data

    def connected_as(self, digits: str) -> Instance | None:
        """The open instance whose phone has a number, in whichever form the number is written."""
        for instance in self.instances.values():
            if instance.state == OPEN and forms(digits) & forms(instance.account.partition("@")[0]):
                return instance
        return None

    async def _receipts(self, instance: Instance, jid: str, message_id: str, seconds: float) -> None:
        for status in ("SERVER_ACK", "DELIVERY_ACK", "READ"):
            await asyncio.sleep(seconds)
            self.receipt(instance, jid, message_id, status)

    def receipt(self, instance: Instance, jid: str, message_id: str, status: str) -> None:
        """How far a message came. Receipts name the chat by its LID, whatever it was sent to."""
        chat = jid if jid.endswith(LID_SERVER) else lid_of(jid.partition("@")[0])
        data = {
            "keyId": message_id,
            "remoteJid": chat,
            "fromMe": True,
            "status": status,
            "instanceId": instance.instance_id,
            "messageId": f"cm{self.drawn.getrandbits(100):023x}"[:25],
        }
        self.tell(instance, "messages.update", data)

    def tell(self, instance: Instance, event: str, data: Any) -> None:
        """Sends an event to the instance's webhook."""
        if instance.webhook is None:
            return
        local = self.now() + timedelta(hours=LOCAL_HOURS)
        envelope = {
            "event": event,
            "instance": instance.name,
            "data": data,
            "destination": instance.webhook.url,
            "date_time": local.strftime("%Y-%m-%dT%H:%M:%S.") + f"{local.microsecond // 1000:03d}Z",
            **({"sender": instance.account} if instance.opened else {}),
            "server_url": SERVER_URL,
            "apikey": None,
        }
        self.sender.offer(instance.webhook, envelope)

    async def close(self) -> None:
        """Ends what goes on by itself."""
        tasks = [instance.pairing for instance in self.instances.values() if instance.pairing is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def picture(code: str) -> str:
    """A code as the PNG that Evolution sends along."""
    import segno  # Only who shows codes needs it.

    drawn = io.BytesIO()
    segno.make(code, error="l", micro=False).save(drawn, kind="png", scale=3)
    return "data:image/png;base64," + base64.b64encode(drawn.getvalue()).decode()
