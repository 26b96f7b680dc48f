"""One sentence for each reason that ends a webhook event otherwise than processed: why it is, and what to do."""

from __future__ import annotations

from services.ingest.normal_form import IgnoredReason, InvalidReason

CONTACT_UNKNOWN = "CONTACT_UNKNOWN"
MESSAGE_UNKNOWN = "MESSAGE_UNKNOWN"
CONNECTION_UNREADABLE = "CONNECTION_UNREADABLE"

_EXPLANATIONS: dict[str, str] = {
    # Ignored: understood, and not ours to process.
    IgnoredReason.FOREIGN_ACCOUNT: (
        "It names another Chatwoot account than the connection's; if that one is meant, set it right with "
        "`prosa connection update --account-id` and replay."
    ),
    IgnoredReason.FOREIGN_INBOX: (
        "Its inbox is no channel of the connection; if it should be, declare it with `prosa channel create` and replay."
    ),
    IgnoredReason.UNSUPPORTED_CHANNEL: "Its inbox is neither WhatsApp nor Instagram; nothing is to be done.",
    IgnoredReason.PRIVATE_NOTE: "It is a note that the staff wrote to each other; nothing is to be done.",
    IgnoredReason.ACTIVITY: "Chatwoot tells of itself, such as who resolved a conversation; nothing is to be done.",
    IgnoredReason.TYPING: "Somebody types; nothing is to be done.",
    IgnoredReason.WIDGET: "Somebody opened the website's chat window and wrote nothing; nothing is to be done.",
    IgnoredReason.INBOX_EVENT: "An inbox was set up or changed in Chatwoot; nothing is to be done.",
    IgnoredReason.AUTOMATION_EVENT: (
        "An automation rule or a macro sent it, and the plain event comes as well; nothing is to be done."
    ),
    IgnoredReason.UNKNOWN_EVENT: (
        "It is an event that Prosa does not use; untick it at the provider's webhook to be spared it."
    ),
    IgnoredReason.GROUP: (
        "It comes from a WhatsApp group, broadcast or newsletter, which is no person; nothing is to be done."
    ),
    IgnoredReason.CONTROL_CONTACT: (
        "It comes from the contact through which Evolution shows its QR code; nothing is to be done."
    ),
    IgnoredReason.PROVIDER_NOTICE: "Evolution tells that a number was connected; nothing is to be done.",
    IgnoredReason.NO_CONTENT: "WhatsApp's devices exchange keys or settings in it; nothing is to be done.",
    IgnoredReason.OWN_NUMBER: (
        "The other side is a number of the organization itself, which is no customer; nothing is to be done."
    ),
    IgnoredReason.NO_CHANGE: "Nothing has changed but the time of the last activity; nothing is to be done.",
    CONTACT_UNKNOWN: "It tells of a contact that never wrote; Prosa knows them once they do.",
    MESSAGE_UNKNOWN: (
        "It tells how far a message came that Prosa never heard of, such as one from before the number was connected; "
        "nothing is to be done."
    ),
    # Dead letters: ours to process, and it could not be.
    InvalidReason.MALFORMED_JSON: (
        "Its body is no JSON, even when mended; look what stands between Chatwoot and Prosa and alters or cuts it off."
    ),
    InvalidReason.TOO_DEEP: "Its body nests deeper than anything Chatwoot sends; look who sends it.",
    InvalidReason.TOO_LARGE: "Its body is larger than is read; look who sends it.",
    InvalidReason.UNKNOWN_SHAPE: (
        "A field that must be there is missing or of another kind, and the detail names it; another release "
        "of Chatwoot may write it otherwise: report it, and replay after an update."
    ),
    InvalidReason.NO_INBOX_CONTEXT: (
        "It names no inbox, so nobody can tell which channel it belongs to; Chatwoot always does: look who "
        "else sends to this address."
    ),
    InvalidReason.CHANNEL_SOURCE_MISMATCH: (
        "Its inbox is another medium than the channel was declared as; correct it with `prosa channel update "
        "--source` and replay."
    ),
    InvalidReason.NO_VALID_IDENTITY: (
        "Nothing in it says who the person is: no phone, no WhatsApp id, no Instagram id; add the phone to "
        "the contact in Chatwoot, then let the person write again."
    ),
    CONNECTION_UNREADABLE: "Its connection is gone or cannot be read; see whether it is listed, then replay.",
}
_FAILED = "It was tried as often as may be and failed each time, as the detail says; mend the cause, then replay."


def explain(reason: str) -> str:
    """The sentence for a reason; empty for none. Reasons that other services gave have theirs in the detail."""
    return _EXPLANATIONS.get(reason, _FAILED) if reason else ""


def known() -> dict[str, str]:
    """Every reason that ingest gives itself, with its sentence."""
    return {str(reason): sentence for reason, sentence in _EXPLANATIONS.items()}
