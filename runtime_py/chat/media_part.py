"""Parts of a chat file that are pictures or sounds, in LiteRT-LM's form and in that of OpenAI's API.

Nothing is downloaded: an address must be a path or hold the content itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from exporter.bundle.engine_template import Json
from runtime_py.chat.media import Medium, blob_part, file_part

MEDIA_PARTS = ("image", "audio", "image_url", "input_audio")

FORMS = {
    "image": "{'type': 'image', 'path' or 'blob'}",
    "audio": "{'type': 'audio', 'path' or 'blob'}",
    "image_url": "{'type': 'image_url', 'image_url': {'url'}}",
    "input_audio": "{'type': 'input_audio', 'input_audio': {'data'}}",
}


def read_media_part(part: Json, folder: Path) -> Json:
    """A part whose ``type`` is one of :data:`MEDIA_PARTS`, as the engine wants it.

    Args:
        part: From a chat file.
        folder: What paths are relative to.

    Raises:
        ValueError: It has another form.
        MediaError: It holds or names no picture or sound that can be used.
    """
    kind = part["type"]
    if kind == "image_url":
        return _picture_at(_inner(part, "url"), folder)
    if kind == "input_audio":
        return blob_part(Medium.AUDIO, _inner(part, "data"))
    path, blob = part.get("path"), part.get("blob")
    if isinstance(path, str) and blob is None:
        return file_part(Medium(kind), folder / path)
    if isinstance(blob, str) and path is None:
        return blob_part(Medium(kind), blob)
    raise ValueError(f"expected {FORMS[kind]}")


def _inner(part: Json, key: str) -> str:
    """The text in an object under the part's own type; in place of the object there may be the text."""
    kind = part["type"]
    value = part.get(kind)
    text = value.get(key) if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise ValueError(f"expected {FORMS[kind]}")
    return text


def _picture_at(url: str, folder: Path) -> Json:
    """The picture at an address: ``data:...;base64,...``, ``file://...`` or a path."""
    if url.startswith("data:"):
        head, comma, content = url.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ValueError("expected an address data:image/...;base64,...")
        return blob_part(Medium.IMAGE, content)
    if url.startswith("file:"):
        return file_part(Medium.IMAGE, folder / unquote(urlsplit(url).path))
    if "://" in url:
        raise ValueError("expected a path or data:image/...;base64,...: nothing is downloaded")
    return file_part(Medium.IMAGE, folder / url)
