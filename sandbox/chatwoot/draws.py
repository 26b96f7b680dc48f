"""Random values in the shapes of Chatwoot and its channels, all drawn from one seed."""

import base64
import random
import string
import uuid

_TOKEN_ALPHABET = string.ascii_letters + string.digits


class Draws:
    """Draws tokens and ids. The same seed gives the same values in the same order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a fake's values must repeat, not surprise

    def token(self, length: int = 24) -> str:
        """A secret, access token or pubsub token."""
        return "".join(self._random.choices(_TOKEN_ALPHABET, k=length))

    def uuid(self) -> str:
        """A random UUID: a delivery id, or what an API inbox uses as source id."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def share(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()

    def whatsapp_message_id(self, address: str) -> str:
        """A `wamid` of Meta's Cloud API; it repeats the address inside, as theirs do."""
        key = f"{self._random.getrandbits(80):020X}"
        raw = b"\x1d\x06\x18" + address.encode("utf-8", "replace")[:64] + b"\x15\x02\x00\x12\x18\x14" + key.encode()
        return "wamid." + base64.b64encode(raw + b"\x00").decode()

    def instagram_message_id(self) -> str:
        """A message id of Instagram's messaging API."""
        return "aWdf" + base64.b64encode(self._random.randbytes(48)).decode()

    def evolution_message_id(self) -> str:
        """What Evolution stores: `WAID:` and WhatsApp's own key id."""
        return f"WAID:3EB0{self._random.getrandbits(72):018X}"
