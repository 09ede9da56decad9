"""HTTP as a package index needs it: certificates, proxies, credentials, ranges; no logging of them.

Standard library only, because neither pip nor a particular HTTP library need be installed.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import importlib
import importlib.util
import io
import netrc
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from meetscribe.models.cache import BLOCK_BYTES, write
from meetscribe.models.pip_settings import IndexSettings
from meetscribe.version import __version__

_TAIL_BYTES = 1 << 16
_TRIES = 3
_BUSY = {429, 500, 502, 503, 504}
_PAUSES_S = (0.5, 2.0)


class _PassingError(OSError):
    """A server that may answer better when asked again."""


class Web:
    """Opens http and https addresses as the settings say.

    Credentials stand in the addresses given (``https://user:secret@host/``) or in the user's
    netrc file; they go to their own host only, after a redirect too.
    """

    def __init__(self, settings: IndexSettings) -> None:
        self._timeout_s = settings.timeout_s
        proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else None
        self._credentials = _Credentials()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), _Https(settings), self._credentials
        )

    @contextlib.contextmanager
    def open(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Open an address for reading.

        Raises
        ------
        OSError
            If it cannot be reached or does not give the page; the text has no credentials.
        """
        response = self.request(url, headers)
        try:
            yield response
        except http.client.HTTPException as error:
            raise OSError(f"broken answer ({type(error).__name__})") from error
        finally:
            response.close()

    def request(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """Open an address; the caller closes the answer. Raises as ``open`` does."""
        plain = self._credentials.take_from(url)
        if not is_remote(plain):
            raise OSError("not an http or https address")
        sent = {"User-Agent": f"meetscribe/{__version__}", "Accept-Encoding": "identity"}
        for pause_s in _PAUSES_S:
            try:
                return self._ask(plain, {**sent, **(headers or {})})
            except _PassingError:
                time.sleep(pause_s)
        return self._ask(plain, {**sent, **(headers or {})})

    def _ask(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        # a new one each time: urllib writes its proxy into the request
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), checked above
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            kind = _PassingError if error.code in _BUSY else OSError
            raise kind(f"HTTP {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise OSError(f"no connection: {error.reason}") from error
        except (http.client.HTTPException, ConnectionError) as error:
            raise _PassingError(f"broken answer ({type(error).__name__})") from error
        return response

    def download(self, url: str, out: BinaryIO, progress: Callable[[float], None]) -> None:
        """Copy what an address gives into a file, reporting the share that is done.

        Raises
        ------
        OSError
            If it cannot be had whole.
        OutputError
            If the disk is full.
        """
        with self.open(url) as response:
            expected = int(response.headers.get("Content-Length") or 0)
            done = 0
            while block := response.read(BLOCK_BYTES):
                write(out, block)
                done += len(block)
                progress(min(done / expected, 1.0) if expected else 0.0)
        if expected and done != expected:
            raise OSError(f"the connection broke off after {done} of {expected} bytes")


class RangeFile(io.RawIOBase):
    """A file on a server, read where it is needed: the end first, then from any place on.

    Raises
    ------
    OSError
        If the server gives whole files only, or cannot be reached.
    """

    def __init__(self, web: Web, url: str) -> None:
        super().__init__()
        self._web, self._url = web, url
        self._place = 0
        self._stream: http.client.HTTPResponse | None = None
        self._stream_place = -1
        with web.open(url, {"Range": f"bytes=-{_TAIL_BYTES}"}) as response:
            self._tail_start, self._size = _content_range(response)
            self._tail = response.read()
        if self._tail_start + len(self._tail) != self._size:
            raise OSError("the server sent another range than asked for")

    def readable(self) -> bool:
        """Give True."""
        return True

    def seekable(self) -> bool:
        """Give True."""
        return True

    def tell(self) -> int:
        """Give the place in bytes."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is read until then."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(start + offset, 0)
        return self._place

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Read up to the buffer's length at the present place."""
        wanted = min(len(buffer), self._size - self._place)
        if wanted <= 0:
            return 0
        if self._place >= self._tail_start:
            begin = self._place - self._tail_start
            block = self._tail[begin : begin + wanted]
        else:
            block = self._read(wanted)
        buffer[: len(block)] = block
        self._place += len(block)
        return len(block)

    def close(self) -> None:
        """Drop the connection."""
        self._drop()
        super().close()

    def _read(self, wanted: int) -> bytes:
        """Read from the running answer, asking again from here where it broke off."""
        problem = OSError("the connection broke off")
        for _ in range(_TRIES):
            try:
                if self._stream is None or self._stream_place != self._place:
                    self._drop()
                    self._stream = self._ask()
                block = self._stream.read(wanted)
            except (OSError, http.client.HTTPException) as error:
                problem = OSError(f"the connection broke off: {error}")
                block = b""
            if block:
                self._stream_place = self._place + len(block)
                return block
            self._drop()
        raise problem

    def _ask(self) -> http.client.HTTPResponse:
        headers = {"Range": f"bytes={self._place}-{self._size - 1}"}
        response = self._web.request(self._url, headers)
        found = None
        try:
            found = _content_range(response)
        finally:
            if found != (self._place, self._size):
                response.close()
        if found != (self._place, self._size):
            raise OSError("the server sent another range than asked for")
        return response

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None


class _Https(urllib.request.HTTPSHandler):
    """Checks certificates, except of hosts that the user trusts without."""

    def __init__(self, settings: IndexSettings) -> None:
        super().__init__()
        self._checked = _tls_context(settings)
        self._unchecked = ssl._create_unverified_context()  # noqa: S323, SLF001 - the user's own setting
        self._trusted = settings.trusted_hosts

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open with the right checks; called for redirects too."""
        # not req.host, which is the proxy where there is one
        parts = urllib.parse.urlsplit(req.full_url)
        trusted = parts.netloc in self._trusted or parts.hostname in self._trusted
        context = self._unchecked if trusted else self._checked
        return self.do_open(http.client.HTTPSConnection, req, context=context)


class _Credentials(urllib.request.BaseHandler):
    """Adds the name and password that belong to a host; urllib itself reads none from addresses."""

    def __init__(self) -> None:
        self._by_host: dict[tuple[str, str], str] = {}

    def take_from(self, url: str) -> str:
        """Remember the credentials in an address and give it without them."""
        parts = urllib.parse.urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        if user:
            name, _, secret = user.partition(":")
            pair = f"{urllib.parse.unquote(name)}:{urllib.parse.unquote(secret)}"
            self._by_host[parts.scheme, host] = pair
        return urllib.parse.urlunsplit(parts._replace(netloc=host))

    def http_request(self, req: urllib.request.Request) -> urllib.request.Request:
        """Add them to a request, also to one that a redirect made."""
        host = req.host or ""
        pair = self._by_host.get((req.type, host)) or _from_netrc(host.rsplit(":", 1)[0])
        if pair:
            # "unredirected": urllib must not carry them on to another host
            token = base64.b64encode(pair.encode()).decode()
            req.add_unredirected_header("Authorization", f"Basic {token}")
        return req

    https_request = http_request


def redact(url: str) -> str:
    """Give an address without name, password and query, fit to be shown.

    >>> redact("https://me:secret@host.example/simple/?key=1")
    'https://host.example/simple/'
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "an address that is not valid"
    netloc = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def is_remote(url: str) -> bool:
    """Tell whether reading an address needs the network."""
    return url.lower().startswith(("http://", "https://"))


def _from_netrc(host: str) -> str:
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError, RuntimeError):
        return ""
    return f"{found[0]}:{found[2]}" if found else ""


def _tls_context(settings: IndexSettings) -> ssl.SSLContext:
    given = settings.cert or next(
        (
            os.environ[key]
            for key in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
            if os.environ.get(key)
        ),
        "",
    )
    try:
        if given:
            folder = Path(given).is_dir()
            context = ssl.create_default_context(
                cafile=None if folder else given, capath=given if folder else None
            )
        else:
            context = ssl.create_default_context()
            if importlib.util.find_spec("certifi"):
                # Python from python.org on a Mac knows no certificates by itself
                context.load_verify_locations(importlib.import_module("certifi").where())
        if settings.client_cert:
            context.load_cert_chain(settings.client_cert)
    except OSError as error:
        raise OSError(f"certificates {given or settings.client_cert}: {error}") from error
    return context


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int]:
    """Give first byte and whole size of a partial answer."""
    text = response.headers.get("Content-Range", "")
    place, _, size = text.removeprefix("bytes ").partition("/")
    first = place.partition("-")[0]
    if response.status != http.HTTPStatus.PARTIAL_CONTENT or not (first + size).isdigit():
        raise OSError("the server gives whole files only")
    return int(first), int(size)
