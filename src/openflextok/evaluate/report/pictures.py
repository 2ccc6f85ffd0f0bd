"""The pictures of results, inside the page."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from openflextok.evaluate.report.reading import Measured

MIME = {"PNG": "image/png", "WEBP": "image/webp", "JPEG": "image/jpeg"}


def picture(one: Measured) -> str:
    """A result's picture with its caption, or a line that says why it is missing; nothing where it has none."""
    name = one.result.pictures
    if not name:
        return ""
    about = f"<b>{escape(one.name)}</b> {escape(one.settings)}"
    try:
        source, (width, height) = data_uri(one.path, name)
    except (OSError, ValueError, SyntaxError) as error:
        return f'<p class="none">{about}: pictures left out ({escape(str(error))})</p>'
    image = f'<img src="{source}" width="{width}" height="{height}" alt="Pictures of {escape(one.name)}">'
    return f'<figure class="pictures">{image}<figcaption>{about}</figcaption></figure>'


def data_uri(result: Path, name: str) -> tuple[str, tuple[int, int]]:
    """A picture beside a results file as a data URI, and its size; ValueError or OSError where it cannot be had."""
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not a file beside {result.name}")
    path = result.with_name(name)
    if not path.is_file():
        raise ValueError(f"there is no {name} beside {result.name}")
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=tuple(MIME)) as image:
            image.load()
            kind, size = MIME[str(image.format)], image.size
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture in one of {', '.join(MIME)}") from None
    return f"data:{kind};base64,{base64.b64encode(content).decode()}", size
