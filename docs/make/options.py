"""Options of the command line stay whole: a browser would end a line behind their dashes."""

from __future__ import annotations

import re

_CODE = re.compile(r"<code>([^<]*--[^<]*)</code>")
_OPTION = re.compile(r"--[^\s<]+")


def on_page_content(html: str, **_: object) -> str:
    return _CODE.sub(lambda code: _OPTION.sub(r'<span class="option">\g<0></span>', code[0]), html)
