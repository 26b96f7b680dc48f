"""Which person an external id names, and what is no person at all."""

import random
import string
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.canonical import (
    CANONICAL_KEY,
    ExternalIdKind,
    Source,
    canonical_key,
    identify,
    identify_typed,
    is_bsuid,
    lacks_country,
    normalize_phone,
    phone_writings,
    readings,
    split_key,
    try_identify,
)
from chassis.errors import InvalidArgument

# 100 texts in each of 100 examples: one drawn seed is 100 times cheaper than 100 drawn texts.
SEEDS_MAX = 100
TEXTS_PER_SEED = 100


def random_texts(seed: int) -> Iterator[str]:
    """Yields texts near the grammar and plain noise: noise alone nearly never gets past the first pattern."""
    chance = random.Random(seed)
    digits = partial(chance.choices, "0123456789")
    for _ in range(TEXTS_PER_SEED):
        number = "".join(digits(k=chance.randint(4, 16)))
        head = chance.choice(
            ["", "+", "00", "+55", "55", "+521", "+54", "+549", "+1", "+44", "lid:", "bsuid:", "Ana +"]
        )
        tail = chance.choice(["", "", ":12", "_1:2"]) + chance.choice(["", "", "@s.whatsapp.net", "@lid", "@g.us"])
        noise = "".join(chr(chance.choice([chance.randrange(32, 127), chance.randrange(0xD800)])) for _ in range(20))
        country = "".join(chance.choices(string.ascii_uppercase, k=2))
        yield chance.choice(
            [head + number, head + number + tail, f"{country}.{number}", noise[: chance.randint(0, 20)]]
        )


@pytest.mark.req("ID-05")
@pytest.mark.parametrize(
    ("written", "external_id"),
    [
        ("11999990000", "+5511999990000"),
        ("+55 (11) 90000-4821", "+5511900004821"),
        ("5511900004821", "+5511900004821"),
        ("0055 11 90000-4821", "+5511900004821"),
        ("011 90000-4821", "+5511900004821"),
        ("tel:+55-11-90000-4821", "+5511900004821"),
        ("\u202a+55\u00a011\u00a090000\u20114821\u202c", "+5511900004821"),
        ("whatsapp:+5511900004821", "+5511900004821"),
        ("5511900004821@s.whatsapp.net", "+5511900004821"),
        ("5511900004821:12@s.whatsapp.net", "+5511900004821"),
        ("5511900004821_1:12@c.us", "+5511900004821"),
        ("anything at all+5511900004821", "+5511900004821"),
        ("+1 415 555 2671", "+14155552671"),
        ("14155552671", "+14155552671"),
        ("+39 06 123 4567", "+39061234567"),
        ("0800 123 4567", "+558001234567"),
    ],
)
def test_every_usual_writing_of_a_phone_gives_one_key(written: str, external_id: str) -> None:
    assert canonical_key("whatsapp", written) == f"whatsapp:{external_id}"


@pytest.mark.req("ID-05")
@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        ("+551190000000", "+5511990000000", "whatsapp:+5511990000000"),
        ("+551180000000", "+5511980000000", "whatsapp:+5511980000000"),
        ("556199990000@s.whatsapp.net", "5561999990000", "whatsapp:+5561999990000"),
        ("+5215512345678", "+525512345678", "whatsapp:+525512345678"),
        ("5215512345678@s.whatsapp.net", "+52 55 1234 5678", "whatsapp:+525512345678"),
        ("+541123456789", "+5491123456789", "whatsapp:+5491123456789"),
        ("+55 11 6123-4567", "+5511961234567", "whatsapp:+5511961234567"),
        ("551161234567@s.whatsapp.net", "11 6123-4567", "whatsapp:+5511961234567"),
        ("+55 11 7123-4567", "+5511971234567", "whatsapp:+5511971234567"),
    ],
)
def test_national_variants_of_one_number_are_one_identity(one: str, other: str, key: str) -> None:
    assert canonical_key("WHATSAPP", one) == canonical_key("WHATSAPP", other) == key


def test_eight_digits_that_begin_with_nine_lack_their_ninth_digit() -> None:
    assert canonical_key("WHATSAPP", "+551190004821") == "whatsapp:+5511990004821"
    assert canonical_key("WHATSAPP", "+5511900004821") == "whatsapp:+5511900004821"


@pytest.mark.parametrize("landline", ["+551133334444", "1133334444", "+552125550000", "+555140000000"])
def test_a_brazilian_landline_never_gets_a_ninth_digit(landline: str) -> None:
    assert len(canonical_key("WHATSAPP", landline)) == len("whatsapp:+551133334444")


def test_a_number_without_country_belongs_to_the_region_of_the_organization() -> None:
    assert canonical_key("whatsapp", "5512345678", "MX") == "whatsapp:+525512345678"
    assert canonical_key("whatsapp", "912345678", "PT") == "whatsapp:+351912345678"
    assert canonical_key("whatsapp", "011 15 2345-6789", "AR") == "whatsapp:+5491123456789"
    assert canonical_key("whatsapp", "5511900004821", "US") == "whatsapp:+5511900004821"


def test_a_jid_is_international_whatever_the_region() -> None:
    # 34 would also be a Brazilian area code.
    assert canonical_key("whatsapp", "34912345678@s.whatsapp.net", "BR") == "whatsapp:+34912345678"
    assert canonical_key("whatsapp", "34912345678", "BR") == "whatsapp:+5534912345678"


@pytest.mark.req("ID-05")
@pytest.mark.parametrize(
    ("written", "kind", "key"),
    [
        ("198765432101234@lid", ExternalIdKind.LID, "whatsapp:lid:198765432101234"),
        ("198765432101234:7@lid", ExternalIdKind.LID, "whatsapp:lid:198765432101234"),
        ("lid:198765432101234", ExternalIdKind.LID, "whatsapp:lid:198765432101234"),
        ("BR.13491208655302741918", ExternalIdKind.BSUID, "whatsapp:bsuid:BR.13491208655302741918"),
        ("BR.ENT.11815799212886844830", ExternalIdKind.BSUID, "whatsapp:bsuid:BR.ENT.11815799212886844830"),
        ("whatsapp:US.1A2b3C", ExternalIdKind.BSUID, "whatsapp:bsuid:US.1A2b3C"),
        ("bsuid:US.1A2b3C", ExternalIdKind.BSUID, "whatsapp:bsuid:US.1A2b3C"),
    ],
)
def test_a_lid_or_business_scoped_id_is_valid_without_a_phone(written: str, kind: ExternalIdKind, key: str) -> None:
    identity = identify("WHATSAPP", written)
    assert (identity.kind, identity.key, identity.phone) == (kind, key, None)


def test_the_address_is_kept_exactly_as_the_provider_gave_it() -> None:
    identity = identify("WHATSAPP", "556199990000:3@s.whatsapp.net")
    assert identity.address == "556199990000:3@s.whatsapp.net"
    assert identity.phone == "+5561999990000"
    assert identity.source is Source.WHATSAPP


@pytest.mark.req("ID-05")
@pytest.mark.parametrize(
    "nothing",
    [
        *("", " ", "\x00", "undefined", "null", "None", "NaN", "unknown", "anonymous", "[object Object]"),
        *("Marina Teles", "Marina 2", "marina@exemplo.example", "instagram-7733100045600121@chat.local"),
        *("+123456", "123456", "+55", "+5511", "00000000000", "11111111111", "+99999999999", "+0011900004821"),
        *(
            "+491234567890123",
            "491234567890123",
        ),  # as long as a LID: possible by the plan of its country, but in no range
        *("+5510999990000", "+55119000048215", "120363041234567890@g.us", "status@broadcast", "120363@newsletter"),
        *("0f2b6c1e-5d84-4c1a-9a37-1b7c2f9e6d40", "+198765432101234", "lid:", "lid:x", "bsuid:", "bsuid:BR"),
        *("BR.undefined", "BR.null", "@lid", "@s.whatsapp.net", "5511900004821@example.com", "١١٩٩٩٩٩٠٠٠٠"),
        *("+5511900004821 / +5511900004822", "11 90000-4821 +5511900004822", "+55 11 90000-4821/22"),
        *("+5511900004821, 11 90000-4822", "11900004821;11900004822", "+49 30 123456/57", "+351912345678 912345679"),
        *("123456@s.whatsapp.net", "1234567890123456@s.whatsapp.net", "0123456789@s.whatsapp.net"),
        *("EvolutionAPI", "1-800-FLOWERS", "+" * 300, "5" * 300),
    ],
)
def test_what_is_no_whatsapp_identity_is_refused(nothing: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        canonical_key("whatsapp", nothing)
    assert refused.value.reason == "EXTERNAL_ID_INVALID"
    assert try_identify(Source.WHATSAPP, nothing) is None


@pytest.mark.req("ID-05")
@pytest.mark.parametrize(
    "nothing",
    ["", "unknown", "undefined", "marina.teles", "+5511900004821", "0123456789", "12", "1" * 26, "７７３３１"],
)
def test_what_is_no_instagram_scoped_id_is_refused(nothing: str) -> None:
    with pytest.raises(InvalidArgument, match="EXTERNAL_ID_INVALID"):
        canonical_key("instagram", nothing)


def test_an_instagram_scoped_id_is_its_own_external_id() -> None:
    assert canonical_key("INSTAGRAM", "7733100045600121") == "instagram:7733100045600121"
    assert canonical_key("instagram", "instagram:7733100045600121") == "instagram:7733100045600121"


@pytest.mark.parametrize("source", ["", "Whatsapp", "telegram", "unknown"])
def test_a_source_we_do_not_know_is_refused(source: str) -> None:
    with pytest.raises(InvalidArgument, match="SOURCE_INVALID"):
        canonical_key(source, "+5511900004821")


def test_a_key_is_taken_apart_at_its_first_colon_only() -> None:
    assert split_key("whatsapp:lid:198765432101234") == (Source.WHATSAPP, "lid:198765432101234")
    with pytest.raises(InvalidArgument):
        split_key("whatsapp:Marina")


def test_a_phone_that_is_none_says_what_to_write() -> None:
    with pytest.raises(InvalidArgument, match="with its country") as refused:
        normalize_phone("Marina")
    assert refused.value.reason == "PHONE_INVALID"


def test_a_business_scoped_id_is_recognised_by_its_form() -> None:
    assert is_bsuid("BR.13491208655302741918")
    assert not is_bsuid("br.13491208655302741918")
    assert not is_bsuid("BR.null")


@pytest.mark.req("ID-05")
@settings(max_examples=SEEDS_MAX, deadline=None, database=None)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_any_of_ten_thousand_texts_gives_a_key_that_names_itself_again_or_is_refused(seed: int) -> None:
    for text in random_texts(seed):
        for source in Source:
            identity = try_identify(source, text)
            if identity is None:
                with pytest.raises(InvalidArgument, match="EXTERNAL_ID_INVALID"):
                    canonical_key(source, text)
                continue
            assert CANONICAL_KEY.fullmatch(identity.key), text
            assert split_key(identity.key) == (source, identity.external_id), text
            assert canonical_key(source, identity.key) == identity.key, text
            if "@" not in text:
                assert canonical_key(source, identity.external_id) == identity.key, text


@settings(max_examples=300, deadline=None, database=None)
@given(text=st.text(max_size=40))
def test_any_unicode_text_is_a_key_of_the_grammar_or_refused(text: str) -> None:
    for source in Source:
        identity = try_identify(source, text)
        assert identity is None or CANONICAL_KEY.fullmatch(identity.key)


@pytest.mark.parametrize(
    ("phone", "others"),
    [
        ("+5511988776655", ["+551188776655"]),
        ("+5511922223333", []),
        ("+551132223333", []),
        ("+525512345678", ["+5215512345678"]),
        ("+5491112345678", ["+541112345678"]),
        ("+351912345678", []),
    ],
)
def test_every_writing_of_a_phone_means_the_phone(phone: str, others: list[str]) -> None:
    assert list(phone_writings(phone)) == [phone, *others]
    assert {normalize_phone(writing) for writing in phone_writings(phone)} == {phone}


@pytest.mark.case("F10")
@pytest.mark.parametrize("digits", ["22507081910", "22997010203", "1234567", "123456789012345", "99999999999"])
def test_a_number_that_whatsapp_names_is_believed_and_one_that_people_type_is_judged(digits: str) -> None:
    for own in (f"{digits}@s.whatsapp.net", f"{digits}:7@c.us", f"whatsapp:+{digits}"):
        assert canonical_key("whatsapp", own) == f"whatsapp:+{digits}"
    for typed in (f"+{digits}", f"00{digits}", f"+{digits[:3]} {digits[3:]}"):
        assert try_identify(Source.WHATSAPP, typed) is None


@pytest.mark.case("F11")
@pytest.mark.parametrize(
    ("typed", "region", "home", "abroad"),
    [
        ("51987651101", "BR", "+5551987651101", "+51987651101"),
        ("4591231101", "BR", "+5545991231101", "+4591231101"),
        ("6591231101", "BR", "+5565991231101", "+6591231101"),
        ("34912341101", "BR", "+5534912341101", "+34912341101"),
        ("51 987 651 101", "BR", "+5551987651101", "+51987651101"),
        ("15123456789", "DE", "+4915123456789", "+15123456789"),
    ],
)
def test_bare_digits_that_are_a_number_at_home_and_abroad_are_refused_with_both(
    typed: str, region: str, home: str, abroad: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        identify_typed("whatsapp", typed, region)
    assert refused.value.reason == "EXTERNAL_ID_AMBIGUOUS"
    assert f"whatsapp:{home}" in refused.value.message
    assert f"whatsapp:{abroad}" in refused.value.message
    assert identify_typed("whatsapp", home, region).external_id == home
    assert identify_typed("whatsapp", abroad, region).external_id == abroad
    # Where it says what it is, or in a field that is read in the region first, it is the region's.
    assert identify("whatsapp", typed, region).external_id == home


@pytest.mark.case("F11")
@pytest.mark.parametrize(
    ("typed", "region", "external_id"),
    [
        ("11999990000", "BR", "+5511999990000"),
        ("(51) 98765-1101", "BR", "+5551987651101"),
        ("051 98765-1101", "BR", "+5551987651101"),
        ("14155552671", "BR", "+14155552671"),
        ("5511900004821", "BR", "+5511900004821"),
        ("81 8345 6789", "MX", "+528183456789"),
        ("5215512345678", "MX", "+525512345678"),
        ("4915123456789", "DE", "+4915123456789"),
    ],
)
def test_bare_digits_that_are_a_number_one_way_only_are_taken_that_way(
    typed: str, region: str, external_id: str
) -> None:
    assert identify_typed("whatsapp", typed, region).external_id == external_id


@given(
    digits=st.from_regex(r"[1-9][0-9]{6,13}", fullmatch=True), region=st.sampled_from(["BR", "MX", "AR", "PT", "US"])
)
@settings(max_examples=300, deadline=None, database=None)
def test_typed_digits_are_never_guessed(digits: str, region: str) -> None:
    meanings = readings(digits, region)
    if len(meanings) == 1:
        assert identify_typed("whatsapp", digits, region).external_id == meanings[0]
        return
    with pytest.raises(InvalidArgument) as refused:
        identify_typed("whatsapp", digits, region)
    assert refused.value.reason == ("EXTERNAL_ID_AMBIGUOUS" if meanings else "EXTERNAL_ID_INVALID")


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("81 8345 6789", True),
        ("whatsapp:8183456789", True),
        ("tel:8183456789", True),
        ("(11) 90000-4821", True),
        ("+5511900004821", False),
        ("0055 11 90000-4821", False),
        ("5511900004821@s.whatsapp.net", False),
        ("Ana", False),
        ("", False),
    ],
)
def test_only_a_number_without_its_country_needs_the_region(text: str, lacks: bool) -> None:
    assert lacks_country(text) is lacks
