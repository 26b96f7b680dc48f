"""Secrets leave a raw body; every other byte stays."""

import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.providers.blanking import BLANK, EVOLUTION_SECRETS, blank_secrets

SECRET = b"S3CRET"
# Hypothesis also draws words it has read in the sources: "token" inside an innocent field would be a secret.
PLAIN_NAMES = st.text(alphabet='ab"\\\x00é{}[]:,\n', max_size=6)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"pubsub_token":"S3CRET","id":1}', b'{"pubsub_token":"[blanked]","id":1}'),
        (b'{ "hmac_token" :\n "S3CRET" }', b'{ "hmac_token" :\n "[blanked]" }'),
        (b'{"secret":"a\\"S3CRET\\\\","b":"c"}', b'{"secret":"[blanked]","b":"c"}'),
        (b'{"webhook_secret":"S3CRET"}', b'{"webhook_secret":"[blanked]"}'),
        (b'{"page_access_token":"S3CRET"}', b'{"page_access_token":"[blanked]"}'),
        (b'{"accessToken":"S3CRET","API_KEY":"S3CRET"}', b'{"accessToken":"[blanked]","API_KEY":"[blanked]"}'),
        (b'{"apikey":"S3CRET"}', b'{"apikey":"[blanked]"}'),
        (b'{"imap_password":"S3CRET"}', b'{"imap_password":"[blanked]"}'),
        (b'{"provider_config":{"api_key":"S3CRET","x":["}"]},"a":2}', b'{"provider_config":"[blanked]","a":2}'),
        (b'{"provider_config":[[1,"S3CRET"],[2]],"a":2}', b'{"provider_config":"[blanked]","a":2}'),
        (b'{"secret":12345,"a":[1]}', b'{"secret":"[blanked]","a":[1]}'),
        (b'{"token":"S3CRET","token":"S3CRET"}', b'{"token":"[blanked]","token":"[blanked]"}'),
        (b'{"pubsub\\u005ftoken":"S3CRET"}', b'{"pubsub\\u005ftoken":"[blanked]"}'),
        (b'{"\\u0073ecret":"S3CRET","a":"\\u003cb"}', b'{"\\u0073ecret":"[blanked]","a":"\\u003cb"}'),
        (b'{"provider_connection":{"qr":"S3CRET"},"a":2}', b'{"provider_connection":"[blanked]","a":2}'),
        (b'{"Authorization":"Bearer S3CRET","id":7}', b'{"Authorization":"[blanked]","id":7}'),
        (b'{"jwt":"S3CRET","jwtKey":"S3CRET"}', b'{"jwt":"[blanked]","jwtKey":"[blanked]"}'),
        (b'{"access_key":"S3CRET","AccessKey":"S3CRET"}', b'{"access_key":"[blanked]","AccessKey":"[blanked]"}'),
        (b'{"aws_secret_key":"S3CRET","Cookie":"S3CRET"}', b'{"aws_secret_key":"[blanked]","Cookie":"[blanked]"}'),
        (b'{"google_credentials":{"a":"S3CRET"}}', b'{"google_credentials":"[blanked]"}'),
        (b'{"u":"see https://me:S3CRET@h/p?q=a@b"}', b'{"u":"see https://[blanked]@h/p?q=a@b"}'),
        (b'{"u":"redis:\\/\\/:S3C\\u0026RET@h:1\\/0"}', b'{"u":"redis:\\/\\/[blanked]@h:1\\/0"}'),
        (b'{"u":"https://S3CRET\\u0040h"}', b'{"u":"https://[blanked]\\u0040h"}'),
        (b'{"u":"https://me:S3@CRET@h/"}', b'{"u":"https://[blanked]@h/"}'),
        (
            b'{"pass":"S3CRET","db_pass":"S3CRET","auth":"S3CRET"}',
            b'{"pass":"[blanked]","db_pass":"[blanked]","auth":"[blanked]"}',
        ),
        (b'{"api_keys":["S3CRET"],"secrets":["S3CRET"]}', b'{"api_keys":"[blanked]","secrets":"[blanked]"}'),
        (b'[{"name":"api_key","value":"S3CRET"}]', b'[{"name":"api_key","value":"[blanked]"}]'),
        (b'[{"key": "X-Auth-Token" , "value" : "S3CRET"}]', b'[{"key": "X-Auth-Token" , "value" : "[blanked]"}]'),
        (b'{"u":"https://h/p?a=1&access_token=S3CRET&b=2"}', b'{"u":"https://h/p?a=1&access_token=[blanked]&b=2"}'),
        (b'{"u":"https://h/p?api_key=S3CRET"}', b'{"u":"https://h/p?api_key=[blanked]"}'),
        (b'{"u":"https://h/p?a=1\\u0026token=S3CRET"}', b'{"u":"https://h/p?a=1\\u0026token=[blanked]"}'),
        (b'{"t":"use Bearer S3CRET-0123456789abc now"}', b'{"t":"use Bearer [blanked] now"}'),
        (b'{"t":"see //me:S3CRET@h/p"}', b'{"t":"see //[blanked]@h/p"}'),
        (
            b'{"t":"{\\"pubsub_token\\":\\"S3CRET\\",\\"a\\":1}"}',
            b'{"t":"{\\"pubsub_token\\":\\"[blanked]\\",\\"a\\":1}"}',
        ),
        (b'[{"x":{"api_access_token":"S3CRET"}}]', b'[{"x":{"api_access_token":"[blanked]"}}]'),
    ],
)
def test_the_value_of_a_secret_field_is_replaced_and_nothing_else(before: bytes, after: bytes) -> None:
    assert blank_secrets(before) == after
    orjson.loads(after)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"content":"ol\xc3\xa1 \\u003cb\\u003e \\ud83d\\ude0a","id":1.50}',
        b'{"content":"my token is 5, my secret: cake","token_count":3}',
        b'{"content":"the bearer responsibilities of a bearer token","bypass":1,"compass":"N","author":"Ana"}',
        b'{"content":"is it token=? or a key = b, and //ana@casa","name":"Ana","value":"7","total_tokens":7}',
        b'{"data_url":"https://s3.example/a?X-Amz-Signature=0a1b&X-Amz-Expires=60","session":{"id":"3"}}',
        b'{"pubsub_token":null,"secret":"","apikey" : null}',
        b'{"key":{"id":"3EB0","remoteJid":"5511900004821@s.whatsapp.net"}}',
        b'["token","secret"]',
        b'{"email":"ana@example.com","u":"https://example.com/@ana","t":"a // b@c","k":"https://[::1]:80/a@b"}',
        b'{"conversation_key":"whatsapp:+5511900004821","key":"a","attribute_key":"b"}',
    ],
)
def test_a_body_without_secrets_is_returned_as_it_is(body: bytes) -> None:
    assert blank_secrets(body) is body


@pytest.mark.parametrize(
    "body",
    [
        b'{"pubsub_token":"S3CRET',
        b'{"pubsub_token":"S3CRET\\',
        b'{"provider_config":{"api_key":"S3CRET"',
        b'{"provider_config":{"a":"b',
        b"pubsub_token=S3CRET&event=x",
        b"event=x\npubsub_token: S3CRET\n",
        b"{'pubsub_token': 'S3CRET'}",
        b"{pubsub_token: S3CRET}",
        b"Authorization: S3CRET\nx",
        b"{'jwt': 'S3CRET', 'access_key': 'S3CRET'}",
        b"{'u': 'https://me:S3CRET@h'}",
        b'<token="S3CRET">',
        b'{"a":1}{"secret":"S3CRET"}',
        b'"{\\"pubsub_token\\":\\"S3CRET\\"}',
        b'\xff\xfe{"secret":"S3CRET"}',
    ],
)
def test_a_broken_body_is_blanked_coarsely(body: bytes) -> None:
    assert SECRET not in blank_secrets(body)


def test_key_material_of_an_evolution_account_is_blanked() -> None:
    body = b'{"appStateSyncKeyShare":{"keys":[{"keyData":"S3CRET"}]},"apikey":"S3CRET","key":{"id":"3EB0"}}'
    expected = b'{"appStateSyncKeyShare":"[blanked]","apikey":"[blanked]","key":{"id":"3EB0"}}'
    assert blank_secrets(body, EVOLUTION_SECRETS) == expected


@settings(max_examples=300, deadline=None, database=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN_NAMES, inner, max_size=3),
        max_leaves=12,
    ),
    field=st.sampled_from(["pubsub_token", "apikey", "secret", "provider_config"]),
)
def test_whatever_a_secret_field_holds_the_rest_of_the_object_stays(value: object, field: str) -> None:
    body = orjson.dumps({"before": value, field: value, "after": [value]})
    blanked = blank_secrets(body)
    found = orjson.loads(blanked)
    assert found[field] in (None, "", BLANK.decode().strip('"'))
    assert (found["before"], found["after"]) == (value, [value])
    assert blank_secrets(blanked) == blanked


@pytest.mark.parametrize(
    "piece",
    [
        *(b"\\u00", b'"token":', b'{"a_token":{', b'"', b'ey"', b"\\", b"token=", b'api_key"\\', b'a\\"', b"token  "),
        *(b"://", b"://a@", rb":\/\/a", b"token='", b"https://" + b"a" * 600),
        *(b"&token", b"?a-token=", b"bearer a", b'\\"token', b'"name":"a","value":', b"//a:", b'"auth'),
    ],
)
@pytest.mark.parametrize("start", [b"", b'{"a":"', b'{"token":{"', b'{"a\\u0041":"'])
def test_the_time_grows_no_faster_than_the_body(start: bytes, piece: bytes) -> None:
    body = start + piece * (400_000 // len(piece))
    begin = time.process_time()
    blank_secrets(body)
    assert time.process_time() - begin < 5, "some 0.1 s; a quadratic scan takes minutes"


@pytest.mark.parametrize("end", [b"", b'"}', b'":1}'])
def test_a_text_that_is_full_of_names_takes_no_longer_than_another(end: bytes) -> None:
    body = b'{"a":"' + b"key" * 700_000 + end
    begin = time.process_time()
    blank_secrets(body, readable=True)
    assert time.process_time() - begin < 3, "some milliseconds; to look for the text's end at every name takes 10 s"
