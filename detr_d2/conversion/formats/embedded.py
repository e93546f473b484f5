"""Files that an annotation file holds as text."""

import base64
import binascii
from typing import Any

from detr_d2.data.image_io import UnreadableError


def decode_base64(text: Any, where: str) -> bytes:
    """Decode a file that an annotation file holds as base64.

    Raises:
        UnreadableError: not base64; `where` names the place.
    """
    try:
        return base64.b64decode(text, validate=False)
    except (TypeError, ValueError, binascii.Error) as error:
        raise UnreadableError(f"{where}: embedded image cannot be decoded ({error})") from error
