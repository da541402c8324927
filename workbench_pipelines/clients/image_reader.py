"""Images: looked through whole, so that a broken one is found before it is sent; runs in the process of the reader."""

from __future__ import annotations

import io

from workbench_pipelines.clients.readers import Unreadable

# What the providers of vision models take, by the names that Pillow has for them.
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
MAX_BYTES = 20 * 1024 * 1024  # the largest that any of them takes


def check_image(data: bytes) -> None:
    """Decodes an image once.

    Raises:
        Unreadable: for what is no image of a known format, is broken or too large to send.
    """
    from PIL import Image

    if len(data) > MAX_BYTES:
        raise Unreadable("too_large", f"the image has {len(data):,} bytes; {MAX_BYTES:,} are the most a provider takes")
    try:
        with Image.open(io.BytesIO(data)) as image:
            found = image.format
            if found in FORMATS:
                image.load()
    except Image.DecompressionBombError:
        raise Unreadable("too_large", "the image has more points than an image has") from None
    except Image.UnidentifiedImageError:
        raise Unreadable("unknown_format", f"the file is no image; known: {', '.join(FORMATS)}") from None
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable("broken_file", f"the image can not be read: {type(error).__name__}") from None
    if found not in FORMATS:
        raise Unreadable("unknown_format", f"images of format {found} are not sent; known: {', '.join(FORMATS)}")


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height of an image that was looked through, in pixels, as it is shown."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        # A camera that was held upright writes the image lying, and says so.
        return (height, width) if image.getexif().get(0x0112, 1) >= 5 else (width, height)
