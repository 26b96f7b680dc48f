"""Contacts imported from a CSV file over REST: rows at fault, repeats, crashes, and what spreadsheets do."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from prosa.identity.v1.events_pb2 import ContactCreated
from prosa.outreach.v1.events_pb2 import ContactImportChanged
from services.outreach.lists import importing
from services.outreach.lists.limits import BATCH_ROWS
from tests.integration.identity.cast import given_organization
from tests.world import AGENT, VIEWER, World

TARGETS = ("identity", "outreach", "gateway")


class Clerk:
    """Somebody of one organization at the REST interface."""

    def __init__(self, world: World, organization_id: UUID, role: int = AGENT) -> None:
        token, _ = world.host.signer("identity").person_token(
            kind="user", principal=f"user:{uuid4()}", organization_id=organization_id, role=role, name="ana@example.com"
        )
        self._headers = {"Authorization": f"Bearer {token}"}
        self._url = f"http://127.0.0.1:{world.host.http_port}/api/v1"

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status and the answer."""
        async with (
            aiohttp.ClientSession(headers=self._headers | (headers or {})) as session,
            session.request(method, self._url + path, json=body, data=data) as response,
        ):
            is_json = "json" in response.content_type
            return response.status, await (response.json() if is_json else response.text())

    async def new_list(self, name: str = "Clientes") -> str:
        """A new list's id."""
        status, made = await self.call("POST", "/contact-lists", {"name": name})
        assert status == 200, made
        list_id: str = made["contact_list_id"]
        return list_id

    async def new_import(self, list_id: str, data: bytes, **fields: Any) -> str:
        """The id of an import whose file is uploaded."""
        status, made = await self.call("POST", "/contact-imports", {"contact_list_id": list_id, **fields})
        assert (status, made["state"]) == (200, "UPLOADING"), made
        import_id: str = made["contact_import_id"]
        status, kept = await self.call("PUT", f"/contact-imports/{import_id}/file", data=data)
        assert (status, kept["file_size"]) == (200, len(data)), kept
        return import_id

    async def run(self, world: World, import_id: str, **fields: Any) -> dict[str, Any]:
        """The import when it has ended."""
        status, begun = await self.call("POST", f"/contact-imports/{import_id}:start", fields)
        assert status == 200, begun
        await world.until(
            "select 1 from outreach.contact_imports where id = %s and state not in ('UPLOADING', 'RUNNING')", import_id
        )
        _, ended = await self.call("GET", f"/contact-imports/{import_id}")
        found: dict[str, Any] = ended
        return found


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """An organization that no other test knows."""
    return await given_organization(world)


@pytest.fixture
def clerk(world: World, organization_id: UUID) -> Clerk:
    """An agent of it."""
    return Clerk(world, organization_id)


def rows(count: int, first: int = 1) -> bytes:
    """A file with the names of its columns and so many good rows."""
    lines = [f"Pessoa {number},+55119{number:08d},p{number}@example.com" for number in range(first, first + count)]
    return "\n".join(["nome,telefone,email", *lines, ""]).encode()


def counts(kept: dict[str, Any]) -> tuple[int, int, int, int]:
    """Processed, created, existing, at fault."""
    names = ("processed_count", "created_count", "existing_count", "error_count")
    return tuple(int(kept[name]) for name in names)  # type: ignore[return-value]


async def test_a_name_with_signs_that_nobody_sees_is_at_fault_and_shown_without_them(
    world: World, clerk: Clerk
) -> None:
    names = ["Ana\u202egpj.exe", "Bia\x1b[2J", "Zoë 👩‍👧", "محمد"]
    lines = [f"{name},+551193000{place:04d}" for place, name in enumerate(names)]
    list_id = await clerk.new_list()
    import_id = await clerk.new_import(list_id, "\n".join(["nome,telefone", *lines, ""]).encode())
    ended = await clerk.run(world, import_id)
    assert counts(ended) == (4, 2, 0, 2)
    _, found = await clerk.call("GET", f"/contact-imports/{import_id}/errors")
    assert [(error["line"], error["column"], error["value"]) for error in found["errors"]] == [
        (2, "nome", "Ana\ufffdgpj.exe"),
        (3, "nome", "Bia\ufffd[2J"),
    ]
    assert "U+202E" in found["errors"][0]["message"]
    _, members = await clerk.call("GET", f"/contact-lists/{list_id}/members")
    assert {member["name"] for member in members["members"]} == set(names[2:])


async def test_a_thousand_rows_three_of_them_bad(world: World, organization_id: UUID, clerk: Clerk) -> None:
    data = rows(997, first=1001) + "Sem número,,sem@example.com\nCurta,123,\n=cmd(),+551199999999,x\n".encode()
    list_id = await clerk.new_list()
    import_id = await clerk.new_import(list_id, data, file_name="clientes.csv")
    ended = await clerk.run(world, import_id)
    assert (ended["state"], ended["encoding"], ended["delimiter"]) == ("DONE", "utf-8", ",")
    assert ended["columns"] == {"name": "nome", "phone": "telefone", "email": "email", "external_id": "", "tags": ""}
    assert counts(ended) == (1000, 997, 0, 3)
    assert ended["row_count"] == 1000
    status, found = await clerk.call("GET", f"/contact-imports/{import_id}/errors")
    assert status == 200
    assert [(error["line"], error["column"], error["reason"]) for error in found["errors"]] == [
        (999, "telefone", "IDENTITY_MISSING"),
        (1000, "telefone", "PHONE_INVALID"),
        (1001, "email", "EMAIL_INVALID"),
    ]
    _, kept = await clerk.call("GET", f"/contact-lists/{list_id}")
    assert kept["member_count"] == 997
    assert len(await world.announced(ContactCreated, organization_id)) == 997
    # The file is not kept any longer than it is needed.
    assert not await world.rows("select 1 from outreach.import_parts where contact_import_id = %s", import_id)
    told = await world.announced(ContactImportChanged, organization_id)
    assert told[-1].contact_import.end_time.seconds
    # The same file once more makes nobody.
    again = await clerk.run(world, await clerk.new_import(list_id, data))
    assert counts(again) == (1000, 0, 997, 3)
    assert len(await world.announced(ContactCreated, organization_id)) == 997
    assert (await clerk.call("GET", f"/contact-lists/{list_id}"))[1]["member_count"] == 997


async def test_a_dry_run_takes_in_nobody_and_the_same_file_is_started_for_good(
    world: World, organization_id: UUID, clerk: Clerk
) -> None:
    list_id = await clerk.new_list()
    import_id = await clerk.new_import(list_id, rows(3) + b"x,1,\nninguem,+5511900000000,\n")
    tried = await clerk.run(world, import_id, dry_run=True)
    assert (tried["state"], tried["dry_run"], counts(tried)) == ("DONE", True, (5, 4, 0, 1))
    assert await world.announced(ContactCreated, organization_id) == []
    assert (await clerk.call("GET", f"/contact-lists/{list_id}"))[1]["member_count"] == 0
    done = await clerk.run(world, import_id)
    assert (done["dry_run"], counts(done)) == (False, (5, 3, 0, 2))
    # Which numbers are nobody's is identity's to know.
    _, found = await clerk.call("GET", f"/contact-imports/{import_id}/errors")
    assert [error["reason"] for error in found["errors"]] == ["PHONE_INVALID", "VALUE_BLOCKED"]
    status, refused = await clerk.call("POST", f"/contact-imports/{import_id}:start", {})
    assert (status, refused["reason"]) == (400, "IMPORT_BEGUN")


async def test_an_import_goes_on_at_the_row_where_it_was_cut_off(
    world: World, organization_id: UUID, clerk: Clerk
) -> None:
    """As after a crash between identity's answer and the commit: identity knows more than was counted."""
    list_id = await clerk.new_list()
    import_id = await clerk.new_import(list_id, rows(250))
    async with await world.admin() as blocker, blocker.transaction(force_rollback=True):
        await blocker.execute("lock table outreach.contact_list_members in exclusive mode")
        status, _ = await clerk.call("POST", f"/contact-imports/{import_id}:start", {})
        assert status == 200
        await world.until_waiting_on_locks(1)
        cut = await world.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
        assert len(cut) == 1
        (kept,) = await world.rows("select processed_count from outreach.contact_imports where id = %s", import_id)
        assert kept["processed_count"] == 0
    await world.until("select 1 from outreach.contact_imports where id = %s and state = 'DONE'", import_id)
    _, ended = await clerk.call("GET", f"/contact-imports/{import_id}")
    assert counts(ended) == (250, 150, 100, 0)
    assert len(await world.announced(ContactCreated, organization_id)) == 250
    assert (await clerk.call("GET", f"/contact-lists/{list_id}"))[1]["member_count"] == 250


async def test_what_is_uploaded_twice_is_kept_once_and_what_broke_off_goes_on(world: World, clerk: Clerk) -> None:
    list_id = await clerk.new_list()
    data = rows(5)
    import_id = await clerk.new_import(list_id, data)
    path = f"/contact-imports/{import_id}/file"
    assert (await clerk.call("PUT", path, data=data))[1]["file_size"] == len(data)
    more = b"Mais,+5511900009999,\n"
    cut = {"Content-Range": f"bytes {len(data)}-{len(data) + len(more) - 1}/*"}
    assert (await clerk.call("PUT", path, data=more, headers=cut))[1]["file_size"] == len(data) + len(more)
    for body, headers in ((b"another file", {}), (more, {"Content-Range": f"bytes {len(data) + 7}-999/*"})):
        status, refused = await clerk.call("PUT", path, data=body, headers=headers)
        assert (status, refused["reason"]) == (400, "OFFSET_INVALID")
        assert refused["metadata"]["offset"] == str(len(data) + len(more))
    status, refused = await clerk.call("PUT", path, data=more, headers={"Content-Range": "from here"})
    assert (status, refused["reason"]) == (400, "FIELD_INVALID")
    assert counts(await clerk.run(world, import_id)) == (6, 6, 0, 0)
    status, refused = await clerk.call("PUT", path, data=data)
    assert (status, refused["reason"]) == (400, "IMPORT_BEGUN")


@pytest.mark.parametrize(
    "bad", [b'"Jos\xe9;+5511900001009\n', b"Jos\xe9;+5511900001009\n"], ids=["a quotation mark", "a letter"]
)
@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""], ids=["marked", "guessed"])
async def test_a_row_that_cannot_be_read_takes_no_other_with_it(
    world: World, clerk: Clerk, mark: bytes, bad: bytes
) -> None:
    data = mark + "nome;telefone\nJosé;+5511900001001\nÂngela;+5511900001002\n".encode() + bad + b"Ana;+5511900001003\n"
    import_id = await clerk.new_import(await clerk.new_list(), data)
    ended = await clerk.run(world, import_id)
    assert (ended["state"], ended["encoding"], counts(ended)) == ("DONE", "utf-8", (4, 3, 0, 1)), ended
    _, found = await clerk.call("GET", f"/contact-imports/{import_id}/errors")
    assert [(error["line"], error["reason"], error["value"]) for error in found["errors"]] == [
        (4, "ROW_MALFORMED", bad.decode("ascii", "replace").replace("\ufffd", "?").strip())
    ]


async def test_a_file_of_utf_16_with_half_a_letter_at_its_end_is_read_to_its_end(world: World, clerk: Clerk) -> None:
    data = b"\xff\xfe" + "nome;telefone\nJosé;+5511900001001\n".encode("utf-16-le") + b"\n"
    ended = await clerk.run(world, await clerk.new_import(await clerk.new_list(), data))
    assert (ended["state"], ended["explanation"], counts(ended)) == ("DONE", "", (1, 1, 0, 0))


async def test_cells_that_a_spreadsheet_would_work_out_are_none_in_the_errors(world: World, clerk: Clerk) -> None:
    data = b'nome,telefone\nx,"=HYPERLINK(""http://x"")"\ny,@SUM(1)\nz,-1\nw,12\n'
    import_id = await clerk.new_import(await clerk.new_list(), data)
    await clerk.run(world, import_id)
    status, text = await clerk.call("GET", f"/contact-imports/{import_id}/errors.csv")
    assert status == 200
    lines = text.lstrip("\ufeff").splitlines()
    assert lines[0] == "line,column,value,reason,message"
    assert [line.split(",")[2] for line in lines[1:]] == ['"\'=HYPERLINK(""http://x"")"', "'@SUM(1)", "'-1", "12"]


WORKED_OUT = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet works out, after blanks and quotation marks that it leaves out."""


@pytest.mark.parametrize("separator", [",", ";", "\t"])
async def test_no_cell_of_the_errors_is_worked_out_wherever_a_spreadsheet_parts_it(
    world: World, clerk: Clerk, separator: str
) -> None:
    """Excel parts a line at semicolons where the comma is the sign of decimals: no quotation mark holds a cell then."""
    values = [
        '1;=HYPERLINK(""http://x"")',
        "1; +1",
        '1;""=1+1""',
        "1;'=1",
        "1;;@SUM(1)",
        " =1",
        "1;\uff1d1",
    ]
    # Too many cells: such a row is shown as it stands, and so are the names of columns.
    malformed = ['y,1,";=1"', 'y,1,"\t-1"', "y,1,z\t@1", "y,1,z; \t =1"]
    phone = "telefone\n=1;-1\r\n+1"
    bad = [*(f'x,"{value}"' for value in values), *malformed]
    data = "\n".join([f'nome,"{phone}"', *bad, ""])
    import_id = await clerk.new_import(await clerk.new_list(), data.encode(), columns={"phone": phone})
    ended = await clerk.run(world, import_id)
    assert counts(ended) == (len(bad), 0, 0, len(bad))
    _, text = await clerk.call("GET", f"/contact-imports/{import_id}/errors.csv")
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        parted = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=separator, quoting=quoting)
        cells = [cell for line in parted for cell in line]
        assert len(cells) >= len(bad)
        assert [cell for cell in cells if cell.strip(' \t\r\n"').startswith((*WORKED_OUT, "\uff1d"))] == []


async def test_what_cannot_be_read_or_names_nobody_is_refused_before_it_runs(clerk: Clerk) -> None:
    list_id = await clerk.new_list()
    for data, reason in ((b"PK\x03\x04xlsx", "FILE_UNREADABLE"), (b"nome,cidade\nAna,SP\n", "COLUMNS_INVALID")):
        import_id = await clerk.new_import(list_id, data)
        status, refused = await clerk.call("POST", f"/contact-imports/{import_id}:start", {})
        assert (status, refused["reason"]) == (400, reason)
    assert '"cidade"' in refused["metadata"]["columns"]
    _, made = await clerk.call("POST", "/contact-imports", {"contact_list_id": list_id})
    status, refused = await clerk.call("POST", f"/contact-imports/{made['contact_import_id']}:start", {})
    assert (status, refused["reason"]) == (400, "FILE_MISSING")


async def test_lists_are_known_by_name_and_their_contacts_are_paged(world: World, clerk: Clerk) -> None:
    list_id = await clerk.new_list("Bairro")
    status, refused = await clerk.call("POST", "/contact-lists", {"name": "bairro"})
    assert (status, refused["reason"]) == (409, "NAME_TAKEN")
    status, refused = await clerk.call("POST", "/contact-lists", {"name": "  "})
    assert (status, refused["reason"]) == (400, "FIELD_INVALID")
    await clerk.new_list("Ateliê")
    _, first = await clerk.call("GET", "/contact-lists?page_size=1")
    _, second = await clerk.call("GET", f"/contact-lists?page_size=1&page_token={first['next_page_token']}")
    assert [kept["name"] for kept in first["contact_lists"] + second["contact_lists"]] == ["Ateliê", "Bairro"]
    await clerk.run(world, await clerk.new_import(list_id, rows(3)))
    await clerk.call("POST", "/suppressions", {"source": "WHATSAPP", "external_id": "+5511900000001"})
    path = f"/contact-lists/{list_id}/members?page_size=2"
    _, one = await clerk.call("GET", path)
    _, two = await clerk.call("GET", f"{path}&page_token={one['next_page_token']}")
    shown = [(member["name"], member["suppressed"]) for member in one["members"] + two["members"]]
    assert shown == [("Pessoa 3", False), ("Pessoa 2", False), ("Pessoa 1", True)]
    assert one["members"][0]["conversation_key"] == "whatsapp:+5511900000003"


async def test_of_merged_contacts_a_list_shows_the_survivor_once(
    world: World, organization_id: UUID, clerk: Clerk
) -> None:
    list_id = await clerk.new_list()
    await clerk.run(world, await clerk.new_import(list_id, rows(3)))
    path = f"/contact-lists/{list_id}/members"
    members = (await clerk.call("GET", path))[1]["members"]
    loser, survivor = members[0]["contact_id"], members[2]["contact_id"]
    await world.rows(
        "insert into outreach.contact_redirects values (%s, %s, %s, 1) returning 1", organization_id, loser, survivor
    )
    shown = [member["contact_id"] for member in (await clerk.call("GET", path))[1]["members"]]
    assert shown == [survivor, members[1]["contact_id"]]


async def test_nobody_else_sees_or_fills_them(world: World, clerk: Clerk, organization_id: UUID) -> None:
    list_id = await clerk.new_list()
    import_id = await clerk.new_import(list_id, rows(1))
    stranger, viewer = Clerk(world, await given_organization(world)), Clerk(world, organization_id, VIEWER)
    for path in (f"/contact-imports/{import_id}", f"/contact-imports/{import_id}/errors.csv"):
        assert (await stranger.call("GET", path))[1]["reason"] == "CONTACT_IMPORT_NOT_FOUND"
    assert (await stranger.call("PUT", f"/contact-imports/{import_id}/file", data=b"x"))[0] == 404
    assert (await viewer.call("PUT", f"/contact-imports/{import_id}/file", data=b"x"))[1]["reason"] == "ROLE_TOO_LOW"
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{world.host.http_port}/api/v1/contact-imports/{import_id}"
        for call in (session.put(f"{url}/file", data=b"x"), session.get(f"{url}/errors.csv")):
            async with call as response:
                assert response.status == 401
    assert await asyncio.gather(*(clerk.new_list(f"L{place}") for place in range(2)))


async def test_long_imports_of_one_organization_keep_no_other_one_waiting(
    world: World, clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of one batch each.
    monkeypatch.setattr(importing, "IMPORT_TURN_SECONDS", 0.0)
    long = [await clerk.new_import(await clerk.new_list(f"L{place}"), rows(20 * BATCH_ROWS)) for place in range(3)]
    other = Clerk(world, await given_organization(world))
    short = await other.new_import(await other.new_list(), rows(1))
    for import_id in long:
        status, begun = await clerk.call("POST", f"/contact-imports/{import_id}:start", {"dry_run": True})
        assert status == 200, begun
    assert counts(await other.run(world, short)) == (1, 1, 0, 0)
    ended = await world.until(
        "select array_agg(id::text order by end_time) as ids from outreach.contact_imports"
        " where id = any (%s::text[]::uuid[]) and state = 'DONE' having count(*) = 4",
        [*long, short],
    )
    assert ended[0]["ids"][0] == short
