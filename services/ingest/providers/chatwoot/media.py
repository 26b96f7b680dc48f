"""Files that the network keeps, and only for a while: stories, and what Chatwoot passes on by Meta's own address."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from services.ingest.providers.fields import EPOCH_SECONDS_MAX, EPOCH_SECONDS_MIN, Json, text

STORY_LIFETIME = timedelta(hours=24)
_STORY_TYPES = ("ig_story", "story_mention")
_META_HOSTS = (".fbcdn.net", ".cdninstagram.com", ".fbsbx.com")
_EXPIRY_DIGITS_MAX = 10


def expiry(
    attachment: Json, address: str | None, attributes: Json, create_time: datetime | None
) -> tuple[bool, datetime | None]:
    """Whether a file is one that the network lets go, and when, where that can be told.

    A story lives a day from its publication, so at most a day from when it was answered or mentioned. Meta's addresses
    carry their end themselves, or none that anybody but Meta could read.
    """
    written = _end_in_address(address)
    kinds = (text(attributes.get("image_type")), text(attachment.get("file_type")))
    if any(kind is not None and kind.startswith(_STORY_TYPES) for kind in kinds):
        of_story = None if create_time is None else create_time + STORY_LIFETIME
        known = [moment for moment in (written, of_story) if moment is not None]
        return True, min(known, default=None)
    return written is not None or _of_meta(address), written


def _of_meta(address: str | None) -> bool:
    if address is None:
        return False
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:  # no address after all
        return False
    return f".{host}".endswith(_META_HOSTS)


def _end_in_address(address: str | None) -> datetime | None:
    """The time in `oe`, in epoch seconds and hexadecimal, as Meta's servers read it."""
    if address is None or not _of_meta(address):
        return None
    [written, *_] = parse_qs(urlsplit(address).query).get("oe", [""])
    if not 0 < len(written) <= _EXPIRY_DIGITS_MAX:
        return None
    try:
        seconds = int(written, 16)
    except ValueError:
        return None
    return datetime.fromtimestamp(seconds, UTC) if EPOCH_SECONDS_MIN <= seconds < EPOCH_SECONDS_MAX else None
