"""Text from a model, made safe for a page: names may hold anything."""

from __future__ import annotations

import json
from html import escape
from typing import Any

MOST_CHARACTERS = 240


def clean(text: str, most: int = MOST_CHARACTERS) -> str:
    """Without control characters, and short: what is cut is said."""
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


def html(text: object, most: int = MOST_CHARACTERS) -> str:
    """For the text and the quoted attributes of HTML and SVG."""
    return escape(clean(str(text), most))


def embedded_json(value: Any) -> str:
    """JSON for a ``script`` element: nothing in it can end the element or begin a comment."""
    text = json.dumps(_cleaned(value), ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _cleaned(value: Any) -> Any:
    """Every string of shallow data cleaned; its depth is ours."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value
