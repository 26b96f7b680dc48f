"""Bugs about lists of contacts and the files that fill them."""

from __future__ import annotations

from tests.mutants.table import Mutant

READING = "services/outreach/lists/csv_reading.py"
SERVICER = "services/outreach/lists/servicer.py"
STORE = "services/outreach/lists/list_store.py"
OF_IMPORTS = "tests/integration/outreach/test_imports.py"
OF_LIMITS = "tests/integration/outreach/test_import_limits.py"
OF_LISTS = "tests/integration/outreach/test_long_lists.py"
OF_READING = "tests/unit/outreach/test_csv_reading.py"

MUTANTS = (
    Mutant(
        "a page of a list reads the whole list",
        STORE,
        "  and contact_id = any (%(contact_ids)b::uuid[])\n",
        "  and (contact_id = any (%(contact_ids)b::uuid[]) or true)\n",
        (f"{OF_LISTS}::test_a_page_costs_what_it_shows_however_long_the_list_is",),
    ),
    Mutant(
        "the one of merged contacts that was added first stands for all",
        STORE,
        "max(latest)",
        "min(latest)",
        (
            f"{OF_LISTS}::test_merged_contacts_show_once_on_whatever_page_they_are",
            f"{OF_IMPORTS}::test_of_merged_contacts_a_list_shows_the_survivor_once",
        ),
    ),
    Mutant(
        "one row that cannot be kept ends the import",
        READING,
        '_UNREAD.sub("?", block[0].rstrip("\\r\\n")).replace(_NUL, "")',
        'block[0].rstrip("\\r\\n")',
        (
            f"{OF_READING}::test_what_a_row_at_fault_shows_can_be_kept_and_sent",
            f"{OF_IMPORTS}::test_a_row_that_cannot_be_read_takes_no_other_with_it",
        ),
    ),
    Mutant(
        "half a letter at the end of a file is waited for",
        READING,
        "    if whole and place == len(lines):\n",
        "    if not data:\n",
        (
            f"{OF_READING}::test_a_lone_last_byte_of_utf_16_is_read",
            f"{OF_IMPORTS}::test_a_file_of_utf_16_with_half_a_letter_at_its_end_is_read_to_its_end",
        ),
    ),
    Mutant(
        "one foreign byte decides the encoding of a file",
        READING,
        "letters > strays or not strays",
        "not strays",
        (f"{OF_READING}::test_a_foreign_byte_makes_no_other_row_of_a_file_of_utf_8_unreadable",),
    ),
    Mutant(
        "a formula begins after a semicolon",
        "gateway/routes/contact_imports.py",
        "    begins = found.start() == 0 or not _PARTING.isdisjoint(before)\n",
        "    begins = found.start() == 0\n",
        (f"{OF_IMPORTS}::test_no_cell_of_the_errors_is_worked_out_wherever_a_spreadsheet_parts_it",),
    ),
    Mutant(
        "imports, files and lists are counted by several at once",
        STORE,
        "select pg_advisory_xact_lock(hashtextextended('outreach.lists:' || %(id)s::text, 0))",
        "select hashtextextended('outreach.lists:' || %(id)s::text, 0)",
        (
            f"{OF_LIMITS}::test_files_that_are_uploaded_at_once_pass_the_limit_together_no_more_than_alone",
            f"{OF_LIMITS}::test_imports_that_are_begun_at_once_pass_the_limit_together_no_more_than_alone",
            f"{OF_LIMITS}::test_lists_that_are_made_at_once_pass_the_limit_together_no_more_than_alone",
        ),
    ),
    Mutant(
        "the files of imports that were only tried count for nothing",
        SERVICER,
        "await import_store.count_file_bytes(tx, organization_id) + len(request.part)",
        "len(request.part)",
        (f"{OF_LIMITS}::test_the_files_of_imports_that_were_only_tried_count",),
    ),
)
