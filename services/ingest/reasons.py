"""A sentence for each reason that ends a webhook event otherwise than processed: why it is, and what to do.

What is done about it is done at the provider that sent the event, so where they differ each has a sentence of its own.
"""

from __future__ import annotations

from services.ingest.normal_form import IgnoredReason, InvalidReason

CONTACT_UNKNOWN = "CONTACT_UNKNOWN"
MESSAGE_UNKNOWN = "MESSAGE_UNKNOWN"
CONNECTION_UNREADABLE = "CONNECTION_UNREADABLE"

ANY = ""
"""Of providers that have no sentence of their own."""
CHATWOOT, EVOLUTION = "CHATWOOT", "EVOLUTION"
"""Providers as they are stored with events."""

_EXPLANATIONS: dict[str, dict[str, str]] = {
    # Ignored: understood, and not ours to process.
    IgnoredReason.FOREIGN_ACCOUNT: {
        ANY: (
            "It names another account than the connection's; see which of the two is meant, correct that and replay."
        ),
        CHATWOOT: (
            "It names another Chatwoot account than the connection's; if that one is meant, set it right with "
            "`prosa connection update --account-id` and replay."
        ),
    },
    IgnoredReason.FOREIGN_INBOX: {
        ANY: (
            "Its inbox is no channel of the connection; if it should be, declare it with `prosa channel create` "
            "and replay."
        ),
        EVOLUTION: (
            "It names another instance than the connection's, as after a copied webhook address; at Evolution, "
            "give that instance the address of its own connection."
        ),
    },
    IgnoredReason.UNSUPPORTED_CHANNEL: {
        ANY: "Its inbox is neither WhatsApp nor Instagram; nothing is to be done.",
    },
    IgnoredReason.PRIVATE_NOTE: {
        ANY: "It is a note that the staff wrote to each other; nothing is to be done.",
    },
    IgnoredReason.ACTIVITY: {
        ANY: "The provider tells of itself and nobody wrote anything; nothing is to be done.",
        CHATWOOT: "Chatwoot tells of itself, such as who resolved a conversation; nothing is to be done.",
    },
    IgnoredReason.TYPING: {
        ANY: "Somebody types; nothing is to be done.",
    },
    IgnoredReason.WIDGET: {
        ANY: "Somebody opened the website's chat window and wrote nothing; nothing is to be done.",
    },
    IgnoredReason.INBOX_EVENT: {
        ANY: "An inbox was set up or changed at the provider; nothing is to be done.",
        CHATWOOT: "An inbox was set up or changed in Chatwoot; nothing is to be done.",
    },
    IgnoredReason.AUTOMATION_EVENT: {
        ANY: "An automation rule or a macro sent it, and the plain event comes as well; nothing is to be done.",
    },
    IgnoredReason.UNKNOWN_EVENT: {
        ANY: "It is an event that Prosa does not use; untick it at the provider's webhook to be spared it.",
    },
    IgnoredReason.GROUP: {
        ANY: ("It comes from a WhatsApp group, broadcast or newsletter, which is no person; nothing is to be done."),
    },
    IgnoredReason.CONTROL_CONTACT: {
        ANY: "It comes from the contact through which Evolution shows its QR code; nothing is to be done.",
    },
    IgnoredReason.PROVIDER_NOTICE: {
        ANY: "The provider tells of itself what Prosa does not need; nothing is to be done.",
        CHATWOOT: "Evolution tells that a number was connected; nothing is to be done.",
        EVOLUTION: (
            "Evolution tells of the instance itself what another of its events or answers says too; nothing is "
            "to be done."
        ),
    },
    IgnoredReason.NO_CONTENT: {
        ANY: "WhatsApp's devices exchange keys or settings in it; nothing is to be done.",
    },
    IgnoredReason.OWN_NUMBER: {
        ANY: ("The other side is a number of the organization itself, which is no customer; nothing is to be done."),
    },
    IgnoredReason.NO_CHANGE: {
        ANY: "Nothing has changed that Prosa keeps; nothing is to be done.",
        CHATWOOT: "Nothing has changed but the time of the last activity; nothing is to be done.",
        EVOLUTION: (
            "It tells of no state of a message that Prosa keeps, and the detail names it; nothing is to be done."
        ),
    },
    CONTACT_UNKNOWN: {
        ANY: "It tells of a contact that never wrote; Prosa knows them once they do.",
    },
    MESSAGE_UNKNOWN: {
        ANY: (
            "It tells how far a message came that Prosa never heard of, such as one from before the number was "
            "connected; nothing is to be done."
        ),
    },
    # Dead letters: ours to process, and it could not be.
    InvalidReason.MALFORMED_JSON: {
        ANY: (
            "Its body is no JSON, even when mended; look what stands between the provider and Prosa and alters "
            "or cuts it off."
        ),
        CHATWOOT: (
            "Its body is no JSON, even when mended; look what stands between Chatwoot and Prosa and alters or "
            "cuts it off."
        ),
        EVOLUTION: (
            "Its body is no JSON, even when mended; look what stands between Evolution and Prosa and alters or "
            "cuts it off."
        ),
    },
    InvalidReason.TOO_DEEP: {
        ANY: "Its body nests deeper than anything a provider sends; look who sends it.",
        CHATWOOT: "Its body nests deeper than anything Chatwoot sends; look who sends it.",
        EVOLUTION: "Its body nests deeper than anything Evolution sends; look who sends it.",
    },
    InvalidReason.TOO_LARGE: {
        ANY: "Its body is larger than is read; look who sends it.",
    },
    InvalidReason.UNKNOWN_SHAPE: {
        ANY: (
            "A field that must be there is missing or of another kind, and the detail names it; report it, and "
            "replay after an update."
        ),
        CHATWOOT: (
            "A field that must be there is missing or of another kind, and the detail names it; another release "
            "of Chatwoot may write it otherwise: report it, and replay after an update."
        ),
        EVOLUTION: (
            "A field that must be there is missing or of another kind, and the detail names it; another release "
            "of Evolution may write it otherwise: report it, and replay after an update."
        ),
    },
    InvalidReason.NO_INBOX_CONTEXT: {
        ANY: "Nothing in it says which channel it belongs to; look who else sends to this address.",
        CHATWOOT: (
            "It names no inbox, so nobody can tell which channel it belongs to; Chatwoot always does: look who "
            "else sends to this address."
        ),
        EVOLUTION: (
            "It names no instance, so nobody can tell which number it belongs to; Evolution always does: look "
            "who else sends to this address."
        ),
    },
    InvalidReason.CHANNEL_SOURCE_MISMATCH: {
        ANY: (
            "It comes from another medium than the channel was declared as; correct it with `prosa channel "
            "update --source` and replay."
        ),
        CHATWOOT: (
            "Its inbox is another medium than the channel was declared as; correct it with `prosa channel update "
            "--source` and replay."
        ),
    },
    InvalidReason.NO_VALID_IDENTITY: {
        ANY: (
            "Nothing in it says who the person is, neither a number nor an id of the source; see the person at "
            "the provider, and let them write again."
        ),
        CHATWOOT: (
            "Nothing in it says who the person is: no phone, no WhatsApp id, no Instagram id; add the phone to "
            "the contact in Chatwoot, then let the person write again."
        ),
        EVOLUTION: (
            "Nothing in it says who the person is: neither a phone nor a WhatsApp id (LID), which WhatsApp alone "
            "gives; answer them on the phone itself, report the event, and replay after an update."
        ),
    },
    CONNECTION_UNREADABLE: {
        ANY: "Its connection is gone or cannot be read; see whether it is listed, then replay.",
    },
}
_FAILED = "It was tried as often as may be and failed each time, as the detail says; mend the cause, then replay."


def explain(reason: str, provider: str) -> str:
    """The sentence for a reason of an event that a provider sent; empty for none.

    Reasons that other services gave have theirs in the detail.
    """
    if not reason:
        return ""
    sentences = _EXPLANATIONS.get(reason, {})
    return sentences.get(provider) or sentences.get(ANY, _FAILED)


def known() -> dict[tuple[str, str], str]:
    """Every reason that ingest gives itself, with the provider that its sentence is for, or ``ANY``."""
    return {
        (str(reason), provider): sentence
        for reason, sentences in _EXPLANATIONS.items()
        for provider, sentence in sentences.items()
    }
