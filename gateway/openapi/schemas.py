"""JSON schemas of the contracts' messages, with their validation rules as keywords."""

from __future__ import annotations

from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from chassis.enums import short_names
from chassis.transcoding.fields import EXAMPLE_ID, EXAMPLE_TIME, names_an_id
from chassis.transcoding.plans import FACT_MEMBER, FEED_EVENT, is_cookie
from gateway.openapi import examples
from gateway.openapi.comments import comments

Schema = dict[str, Any]

_F = FieldDescriptor
_TIMESTAMP = "google.protobuf.Timestamp"
_INT32 = (_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32, _F.TYPE_UINT32, _F.TYPE_FIXED32)
_NUMERIC_RULES = ("int32", "int64", "uint32", "uint64", "sint32", "sint64", "float", "double")


class Schemas:
    """The schemas that a document needs: asking for a message adds it and all that lies in it."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def reference(self, descriptor: Descriptor | EnumDescriptor) -> Schema:
        """Answers a reference to the schema of a message or enum."""
        name = component_name(descriptor.full_name)
        if name not in self.components:
            # Kept before it is filled: a message may hold itself.
            schema = self.components[name] = {}
            schema.update(
                self._enum(descriptor) if isinstance(descriptor, EnumDescriptor) else self._message(descriptor)
            )
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: FieldDescriptor) -> Schema:
        """Answers the schema of one field, with its comment and an example."""
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            schema: Schema = {"type": "object", "additionalProperties": self._value(value, validate_pb2.FieldRules())}
        elif field.is_repeated:
            items = rules.repeated.items if rules.repeated.HasField("items") else validate_pb2.FieldRules()
            schema = {"type": "array", "items": self._value(field, items)}
            _copy(rules.repeated, schema, {"min_items": "minItems", "max_items": "maxItems"})
            if rules.repeated.unique:
                schema["uniqueItems"] = True
        elif _is_optional(field):
            schema = _or_null(self._value(field, rules))
        else:
            schema = self._value(field, rules)
        comment = comments().get(field.full_name)
        if comment:
            schema["description"] = comment
        if "$ref" not in schema and "anyOf" not in schema:
            example = example_of(field)
            if example is not None:
                schema["examples"] = [example]
        return schema

    def required(self, descriptor: Descriptor) -> list[str]:
        """Answers the fields that a request cannot do without, by its rules."""
        return [field.name for field in descriptor.fields if _is_required(field) and not is_cookie(field)]

    def _message(self, descriptor: Descriptor) -> Schema:
        schema: Schema = {"type": "object"}
        if descriptor.full_name in comments():
            schema["description"] = comments()[descriptor.full_name]
        schema["properties"] = {field.name: self.field(field) for field in descriptor.fields if not is_cookie(field)}
        if descriptor.full_name == FEED_EVENT:
            about = "The fact, as JSON; null of one that this gateway does not know."
            schema["properties"][FACT_MEMBER] = {"type": ["object", "null"], "description": about}
        required = self.required(descriptor)
        if required:
            schema["required"] = required
        if descriptor.name.endswith("Request"):
            # Answers may grow, requests are taken at their word.
            schema["additionalProperties"] = False
        return schema

    def _enum(self, enum: EnumDescriptor) -> Schema:
        short = short_names(enum)
        lines = [comments().get(enum.full_name, "")]
        for value in enum.values:
            comment = comments().get(f"{enum.full_name}.{value.name}")
            if comment:
                lines.append(f"- `{short[value.number]}`: {comment}")
        schema: Schema = {"type": "string", "enum": list(dict.fromkeys(short[value.number] for value in enum.values))}
        text = "\n".join(line for line in lines if line)
        return {**schema, "description": text} if text else schema

    def _value(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
        if field.enum_type is not None:
            return self.reference(field.enum_type)
        if field.message_type is not None:
            if field.message_type.full_name == _TIMESTAMP:
                kinds: Any = "string" if rules.required or field.is_repeated else ["string", "null"]
                return {"type": kinds, "format": "date-time"}
            reference = self.reference(field.message_type)
            # A message that is not set is null.
            return reference if field.is_repeated or rules.required else {"anyOf": [reference, {"type": "null"}]}
        if field.type == _F.TYPE_STRING:
            return _string(rules.string)
        if field.type == _F.TYPE_BOOL:
            return {"type": "boolean"}
        if field.type == _F.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return _number(field, rules)


def component_name(full_name: str) -> str:
    """Answers the name of a schema: "identity.Contact" for "prosa.identity.v1.Contact"."""
    parts = full_name.split(".")
    return ".".join(part for part in parts if part not in ("prosa", "v1"))


def example_of(field: FieldDescriptor) -> Any:
    """Answers an example of a field's value, or None where only invention would give one."""
    if field.message_type is not None:
        return EXAMPLE_TIME if field.message_type.full_name == _TIMESTAMP else None
    if field.enum_type is not None:
        return next((name for number, name in sorted(short_names(field.enum_type).items()) if number), None)
    message = field.containing_type.name if field.containing_type is not None else ""
    example = examples.OF_MESSAGE.get((message, field.name), examples.VALUES.get(field.name))
    if field.type == _F.TYPE_STRING:
        if isinstance(example, list if field.is_repeated else str):
            return example
        if names_an_id(field.name):
            return [EXAMPLE_ID] if field.is_repeated else EXAMPLE_ID
        return None
    return example if isinstance(example, int) and field.type in (*_INT32, _F.TYPE_INT64) else None


def _is_optional(field: FieldDescriptor) -> bool:
    """Whether a value that is no message may be absent and is then told apart from an empty one."""
    oneof = field.containing_oneof
    # protobuf models `optional int32 x` as a oneof of one member named _x.
    return field.message_type is None and oneof is not None and oneof.name == f"_{field.name}"


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]} if "$ref" in schema else {**schema, "type": [schema["type"], "null"]}


def _is_required(field: FieldDescriptor) -> bool:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if _is_optional(field):
        # Its rules bind what is given.
        return bool(rules.required)
    return bool(
        rules.required
        or rules.string.min_len > 0
        or rules.string.uuid
        or rules.string.email
        or rules.repeated.min_items > 0
        or 0 in rules.enum.not_in
    )


def _string(rules: validate_pb2.StringRules) -> Schema:
    schema: Schema = {"type": "string"}
    _copy(rules, schema, {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"})
    if rules.HasField("len"):
        schema["minLength"] = schema["maxLength"] = rules.len
    for rule, name in (("uuid", "uuid"), ("email", "email"), ("uri", "uri"), ("hostname", "hostname")):
        if getattr(rules, rule):
            schema["format"] = name
    if getattr(rules, "in"):
        schema["enum"] = list(getattr(rules, "in"))
    return schema


def _number(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    if field.type in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        schema: Schema = {"type": "number"}
    else:
        schema = {"type": "integer", "format": "int32" if field.type in _INT32 else "int64"}
    kind = rules.WhichOneof("type")
    if kind in _NUMERIC_RULES:
        bounds = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}
        _copy(getattr(rules, kind), schema, bounds)
    return schema


def _copy(rules: Any, schema: Schema, names: dict[str, str]) -> None:
    for rule, keyword in names.items():
        if rules.HasField(rule):
            schema[keyword] = getattr(rules, rule)
