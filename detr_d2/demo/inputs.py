"""The inputs of a run as files on disk: paths, patterns, and URLs, which are fetched first."""

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence

from detr_d2.visualization.video import IMAGES, VIDEOS, Source, find_sources

SECONDS_TO_WAIT = 20
LARGEST_DOWNLOAD = 2**30
CHUNK = 2**20


def collect_inputs(inputs: Sequence[str], downloads: str | os.PathLike[str]) -> list[Source]:
    """Find all images and videos of the inputs.

    Args:
        inputs: files, folders, patterns like "a/*.jpg", and http(s) URLs of images or videos.
        downloads: an existing folder for what is fetched.

    Raises:
        ValueError: an input gives nothing, a URL cannot be fetched, or see `find_sources`.
    """
    return find_sources([fetch(text, downloads) if is_url(text) else text for text in inputs])


def is_url(text: str) -> bool:
    """Whether an input is to be fetched."""
    return text.startswith(("http://", "https://"))


def fetch(url: str, folder: str | os.PathLike[str]) -> str:
    """Fetch a file.

    Returns:
        Its path in `folder`, by the last part of the URL.

    Raises:
        ValueError: it names no image or video, is too large, or there is no network; in a line.
    """
    name = os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    if os.path.splitext(name)[1].lower() not in IMAGES | VIDEOS:
        kinds = " ".join(sorted(IMAGES | VIDEOS))
        raise ValueError(f"{url}: its path ends in none of {kinds}")
    path, size = os.path.join(folder, name), 0
    try:
        with (
            urllib.request.urlopen(url, timeout=SECONDS_TO_WAIT) as answer,
            open(path, "wb") as file,
        ):
            while chunk := answer.read(CHUNK):
                size += len(chunk)
                if size > LARGEST_DOWNLOAD:
                    raise ValueError(f"{url}: larger than {LARGEST_DOWNLOAD >> 20} MiB")
                file.write(chunk)
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ValueError(
            f"{url}: cannot be fetched ({reason}); download it, give its path"
        ) from None
    return path


def reject_videos(sources: Iterable[Source], option: str) -> None:
    """Raise ValueError if there is a video, whose frames are no files to annotate."""
    videos = [str(source.path) for source in sources if source.is_video]
    if videos:
        raise ValueError(
            f"{option} needs images, {videos[0]} is a video; save its frames as images first"
        )
