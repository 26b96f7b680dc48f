"""QR codes as pictures."""

from __future__ import annotations

import io


def qr_svg(text: str) -> str:
    """A text as a QR code, dark on light in any theme. Error level L: codes of WhatsApp are long, and are read off a
    screen."""
    import segno  # Most processes never draw one.

    drawn = io.BytesIO()
    segno.make(text, error="l", micro=False).save(
        drawn, kind="svg", scale=4, border=4, dark="#000", light="#fff", xmldecl=False, nl=False
    )
    return drawn.getvalue().decode()
