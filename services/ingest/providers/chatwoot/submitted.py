"""What a contact answered in a message of ours: a form, a choice, an address, a survey."""

from typing import Any

from services.ingest.normal_form import SubmittedValue
from services.ingest.providers.fields import Json, items, obj, text

SUBMITTED_MAX = 50
VALUE_LENGTH_MAX = 4_000


def read_submitted(attributes: Json) -> tuple[SubmittedValue, ...]:
    """The answers in a message's attributes; choices and forms come as a list, a survey as an object of its own."""
    given = attributes.get("submitted_values")
    found = [_answer(item) for item in items(given)[:SUBMITTED_MAX]]
    survey = obj(obj(given).get("csat_survey_response"))
    named = {name: survey.get(name) for name in ("rating", "feedback_message")}
    named["email"] = attributes.get("submitted_email")
    found.extend(SubmittedValue(name, "", told) for name, value in named.items() if (told := _value(value)))
    return tuple(answer for answer in found if answer is not None)


def _answer(item: Any) -> SubmittedValue | None:
    answer = obj(item)
    title, value = text(answer.get("title"), VALUE_LENGTH_MAX), _value(answer.get("value"))
    if title is None and value is None:
        return None
    return SubmittedValue(text(answer.get("name")) or "", title or "", value or "")


def _value(value: Any) -> str | None:
    return str(value) if type(value) in (int, float, bool) else text(value, VALUE_LENGTH_MAX)
