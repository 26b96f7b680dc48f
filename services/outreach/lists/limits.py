"""What bounds lists and imports, by name."""

from __future__ import annotations

LISTS_MAX = 1_000
"""Of one organization."""
MEMBERS_READ_MAX = 1_000
"""Of a list, by one statement."""
AUDIENCE_COUNTED_MAX = 50_000
"""Of a list, looked through for a preview: those that were added last."""
FILE_BYTES_MAX = 256 * 1024 * 1024
FILES_BYTES_MAX = 8 * FILE_BYTES_MAX
"""Of one organization: all files that are kept, also of imports that were only tried."""
PART_BYTES_MAX = 4 * 1024 * 1024
ROWS_MAX = 1_000_000
ERRORS_LISTED_MAX = 100_000
"""Rows at fault beyond are counted, not listed."""
IMPORTS_OPEN_MAX = 20
"""Of one organization: files that are awaited, uploaded or read at a time."""
IMPORT_SLOTS = 2
"""Imports that a process reads at a time."""
IMPORT_TURN_SECONDS = 5.0
"""For so long one is read; then those that wait have their turn, whoever's they are."""
BATCH_ROWS = 100
"""As many as identity takes in a call."""
WINDOW_BYTES = 64 * 1024
"""Of the file read at a time."""
LINE_BYTES_MAX = 1024 * 1024
"""A line that is longer than that is no line of a table. More than the longest row takes."""
RECORD_LINES_MAX = 50
"""A quotation mark that nothing closes takes no more lines with it than that; then its own line is the fault."""
RECORD_LENGTH_MAX = 64 * 1024
"""Letters of a row."""
COLUMNS_MAX = 200
VALUE_SHOWN_MAX = 200
FILE_KEPT_DAYS = 7
"""Of a file that was not read to its end."""
ERRORS_KEPT_DAYS = 90
TELL_SECONDS = 1
"""A fact tells of an import at most so often, but for its end."""
