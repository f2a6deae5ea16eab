"""Text that others wrote commands no terminal, and breaks no page."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from dni_async.wire.foreign_text import html_of, legible

TEXTS = {
    "plain": ("stage 1: \u00fcber 50% \u2192 done\n\tnext", None),
    "a colour": ("\x1b[31mred", "\\x1b[31mred"),
    "a title of the window": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "one byte that begins a sequence": ("\x9b2J", "\\x9b2J"),
    "back over what was said": ("all is well\r\x08\x7f", "all is well\\r\\x08\\x7f"),
    "reading backwards": ("\u202egnp.exe", "\\u202egnp.exe"),
    "half a character": ("\ud800", "\\ud800"),
    "none in XML": ("\x00\uffff", "\\x00\\uffff"),
}


@pytest.mark.parametrize(("text", "shown"), TEXTS.values(), ids=TEXTS)
def test_what_is_shown_of(text: str, shown: str | None) -> None:
    assert legible(text) == (text if shown is None else shown)
    legible(text).encode()  # can be written


@pytest.mark.parametrize("text", [text for text, _ in TEXTS.values()] + ["<b a='\"'>&amp;</b>"])
def test_a_page_shows_it_as_text(text: str) -> None:
    page = ElementTree.fromstring(f'<p title="{html_of(text)}">{html_of(text)}</p>')
    assert page.text == legible(text)
    assert page.attrib["title"].split() == legible(text).split()  # line ends are spaces there
    assert len(page) == 0


def test_numbers_are_text_too() -> None:
    assert html_of(7) == "7"
