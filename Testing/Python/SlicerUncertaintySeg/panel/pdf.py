"""What a PDF says, as a reader finds it there."""

from __future__ import annotations

import io
import unicodedata

import pypdf


def pages(content: bytes) -> list[str]:
    """The text of each page, in the order in which it was drawn; ligatures as their letters, as a search takes them."""
    found = pypdf.PdfReader(io.BytesIO(content)).pages
    return [unicodedata.normalize("NFKC", page.extract_text()) for page in found]


def squeezed(text: str) -> str:
    """A text without spaces and ends of lines: a PDF has words where they stand, and breaks lines where they end."""
    return "".join(text.split())
