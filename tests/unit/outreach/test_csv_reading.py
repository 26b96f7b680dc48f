"""CSV as spreadsheets write it, read in windows of any size."""

from __future__ import annotations

import pytest

from chassis.canonical import Source
from chassis.errors import InvalidArgument
from services.outreach.lists.csv_reading import Record, detect, read_rows
from services.outreach.lists.domain import Columns, RowError
from services.outreach.lists.rows import Row, find_columns, places_of, read_row

HEADER = ("nome", "telefone")
TEXT = 'nome;telefone\r\n"Ana; a ""Nana""";+5511900001001\r\n\r\n"José\r\nda Silva";+5511900001002\r\n'
ROWS = [('Ana; a "Nana"', "+5511900001001"), ("José\r\nda Silva", "+5511900001002")]


def _all(data: bytes, window: int) -> list[Record]:
    form = detect(data, whole=True)
    position, line = form.rows_from, form.line
    found: list[Record] = []
    while position < len(data):
        size = window
        while True:
            part = data[position : position + size]
            read = read_rows(
                part,
                form.encoding,
                form.delimiter,
                position=position,
                line=line,
                count=2,
                whole=position + len(part) >= len(data),
            )
            if read.position > position:
                break
            size *= 2
        found += read.records
        position, line = read.position, read.line
    return found


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "utf-8"),
        (TEXT.encode("windows-1252"), "windows-1252"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), "utf-16-le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16-be"),
    ],
)
@pytest.mark.parametrize("window", [64, 4096])
def test_rows_are_the_same_in_every_encoding_and_window(data: bytes, encoding: str, window: int) -> None:
    form = detect(data, whole=True)
    assert (form.encoding, form.delimiter, form.header) == (encoding, ";", HEADER)
    found = _all(data, window)
    assert [record.values for record in found] == ROWS
    assert [record.line for record in found] == [2, 4]


@pytest.mark.parametrize(
    ("text", "delimiter"), [("a,b\n", ","), ("a;b\n", ";"), ("a\tb\n", "\t"), ('"a,b,c";d\n', ";"), ("a\n", ",")]
)
def test_the_delimiter_is_that_of_the_names(text: str, delimiter: str) -> None:
    assert detect(text.encode(), whole=True).delimiter == delimiter


def test_a_quotation_mark_that_nothing_closes_is_the_fault_of_its_own_line() -> None:
    data = b'nome,telefone\nAna,1\n"Bia,2\nCaio,3\n' + b"x,4\n" * 60
    found = _all(data, 1 << 16)
    assert len(found) == 63
    assert [record.line for record in found if record.values is None] == [3]
    assert found[2].values == ("Caio", "3")


def test_bytes_of_another_encoding_are_the_fault_of_their_own_line() -> None:
    # So much of it is in UTF-8 that nobody looks further when the file is begun.
    names = ("José," + "x" * 95 + "\n").encode() * 20
    start = b"nome,telefone\n" + names
    assert detect(start, whole=False).encoding == "utf-8"
    window = read_rows(
        names + "José,2\n".encode("windows-1252") + b"Ana,3\n",
        "utf-8",
        ",",
        position=14,
        line=2,
        count=100,
        whole=True,
    )
    assert [record.line for record in window.records if record.values is None] == [22]
    assert window.records[-1].values == ("Ana", "3")
    assert window.position == 14 + len(names) + 7 + 6


@pytest.mark.parametrize(
    ("encoding", "bad", "shown"),
    [
        ("utf-8", b'"Jos\xe9\x00,2\n', '"Jos?,2'),
        ("utf-8", b"Jos\xe9\x00,2\n", "Jos?,2"),
        ("utf-8", b"Jos\xe9" + b"x" * 70_000 + b"\n", "Jos?" + "x" * 70_000),
        ("windows-1252", b'"Jos\x81\x00,2\n', '"Jos?,2'),
        ("utf-16-le", '"Jos\ud83d\x00,2\n'.encode("utf-16-le", "surrogatepass"), '"Jos?,2'),
    ],
)
def test_what_a_row_at_fault_shows_can_be_kept_and_sent(encoding: str, bad: bytes, shown: str) -> None:
    good = "Ana,3\n".encode(encoding)
    window = read_rows(bad + good, encoding, ",", position=0, line=2, count=100, whole=True)
    fault, after = window.records
    assert (fault.line, fault.values, fault.text) == (2, None, shown)
    assert fault.explanation
    assert after.values == ("Ana", "3")


@pytest.mark.parametrize("last", ["Ana,3\n", "Ana,3"])
def test_a_lone_last_byte_of_utf_16_is_read(last: str) -> None:
    data = b"\xff\xfe" + f"nome,telefone\n{last}".encode("utf-16-le") + b"\n"
    form = detect(data, whole=True)
    window = read_rows(
        data[form.rows_from :], form.encoding, form.delimiter, position=form.rows_from, line=2, count=9, whole=True
    )
    assert [record.values for record in window.records] == [("Ana", "3")]
    assert window.position == len(data)
    assert detect(data[: form.rows_from] + b"\n", whole=True).rows_from == form.rows_from + 1


def test_a_foreign_byte_makes_no_other_row_of_a_file_of_utf_8_unreadable() -> None:
    found = _all("nome,telefone\nJosé,1\nÂngela,2\n".encode() + b"Jo\xe3o,3\nAna,4\n", 4096)
    assert [record.values for record in found] == [("José", "1"), ("Ângela", "2"), None, ("Ana", "4")]
    assert (found[2].line, found[2].text) == (4, "Jo?o,3")


@pytest.mark.parametrize(
    ("start", "encoding"),
    [
        (b"nome\nAna\n", "utf-8"),
        (b"nome\nJos\xe9\n", "windows-1252"),
        # As many of either: nothing speaks for UTF-8.
        (b"nome\nJos\xe9 \xc3\xa9\n", "windows-1252"),
        ("nome\nÉ, ".encode("windows-1252") + "Ângela, ção\n".encode(), "utf-8"),
        # What a spreadsheet for Windows writes of these happens to hold one letter of UTF-8.
        ("nome\nSÃ³nia, João, José, Íris\n".encode("windows-1252"), "windows-1252"),
    ],
)
def test_the_encoding_is_that_of_most_letters(start: bytes, encoding: str) -> None:
    assert detect(start, whole=True).encoding == encoding


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_letter_that_is_cut_speaks_for_no_encoding(cut: int) -> None:
    start = "nome\nAna 🥖".encode()[:-cut]
    assert detect(start, whole=False).encoding == "utf-8"


def test_a_row_that_may_go_on_waits_for_what_follows() -> None:
    data = b'Ana,1\n"Bia\nda Silva'
    first = read_rows(data, "utf-8", ",", position=100, line=7, count=10, whole=False)
    assert [record.values for record in first.records] == [("Ana", "1")]
    assert (first.position, first.line) == (106, 8)


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04" + b"x" * 100, b"\x00\x01\x02 no text", b"\n\n", b'"never closed\n', b"a," * 300 + b"\n"]
)
def test_what_is_no_csv_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument) as refused:
        detect(data, whole=True)
    assert refused.value.reason == "FILE_UNREADABLE"


def test_columns_are_found_by_their_usual_names_or_by_those_given() -> None:
    header = ("Código", "NOME", "E-mail", "Telefone")
    assert find_columns(header, Columns()) == Columns(name="NOME", email="E-mail", phone="Telefone")
    assert find_columns(header, Columns(phone="telefone")) == Columns(phone="Telefone")
    for unknown, wanted in ((("Nome",), Columns()), (header, Columns(phone="Fax")), (header, Columns(name="NOME"))):
        with pytest.raises(InvalidArgument) as refused:
            find_columns(unknown, wanted)
        assert refused.value.reason == "COLUMNS_INVALID"
        assert refused.value.metadata["columns"].startswith("[")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (("Ana", "(11) 90000-1001", ""), Row(2, "+5511900001001", "Ana", "+5511900001001", "")),
        (
            ("Ana", "+5511900001001", " ANA@Example.com"),
            Row(2, "+5511900001001", "Ana", "+5511900001001", "ana@example.com"),
        ),
        (("Ana", "123", ""), "PHONE_INVALID"),
        (("Ana", "", "ana@example.com"), "IDENTITY_MISSING"),
        (("Ana",), "IDENTITY_MISSING"),
        (("Ana", "+5511900001001", "ana"), "EMAIL_INVALID"),
        (("Ana", "+5511900001001", "", "mais"), "ROW_MALFORMED"),
        (("A" * 1025, "+5511900001001", ""), "ROW_MALFORMED"),
        (("Ana\u202egpj.exe", "+5511900001001", ""), "ROW_MALFORMED"),
        (("Ana\x1b[2J", "+5511900001001", ""), "ROW_MALFORMED"),
        (("Ana\x00", "+5511900001001", ""), "ROW_MALFORMED"),
    ],
)
def test_a_row_names_a_person_or_says_why_not(values: tuple[str, ...], found: Row | str) -> None:
    header = ("nome", "telefone", "email")
    places = places_of(header, find_columns(header, Columns()))
    read = read_row(Record(2, values, ",".join(values)), header, places, Source.WHATSAPP, "BR")
    assert (read.reason if isinstance(read, RowError) else read) == found
