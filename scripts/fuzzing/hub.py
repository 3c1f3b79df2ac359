"""A stand-in for the hub: as much of its API as huggingface_hub asks for, with faults on demand.

Source: the hub's answers as huggingface_hub 2.4 reads them (``HfApi.repo_info``, ``list_repo_tree``,
``file_download``).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0de"
LARGE = ".safetensors"
"""End of the names of files that the hub keeps as large ones, by their SHA-256."""


@dataclass
class Repository:
    """A model, and what is wrong with it."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    status: HTTPStatus | None = None
    """Answered to every request, with ``error_code`` as the hub's own reason."""
    error_code: str = ""
    cut: int = 0
    """So many of the next downloads of large files end half way."""
    flipped: bool = False
    """Whether a byte of large files differs from what their checksum is of."""
    sums_of: Mapping[str, bytes] | None = None
    """What the checksums are of, if not the files."""
    shorter: int = 0
    """Bytes that large files lack, of those that are listed."""
    moved: str | None = None
    """The present name of a model that was renamed."""
    elsewhere: bool = False
    """Whether files lie at another address, to which one is redirected."""
    mirrored: bool = False
    """Whether files are named by the SHA-1 of their content, as some mirrors do."""
    listed: Any = None
    """Answered in place of the list of files."""
    described: Any = None
    """Answered in place of the description with the commit."""

    @property
    def named(self) -> Mapping[str, bytes]:
        """Files as the hub's checksums have them."""
        return self.files if self.sums_of is None else self.sums_of


def of_folder(folder: Path) -> dict[str, bytes]:
    """The files of a checkpoint's folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Hub(ThreadingHTTPServer):
    """Repositories by name; requests are noted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path and range of each."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer requests while the block runs."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield
        finally:
            self.shutdown()

    @staticmethod
    def entries(repository: Repository) -> list[dict[str, Any]]:
        """The list of files, as the hub answers it."""
        return [_entry(file, content) for file, content in repository.named.items()]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that ends the connection."""


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers while the block runs."""
    with Hub() as hub, hub.running():
        yield hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        parts = path.strip("/").removeprefix("api/models/").split("/")
        name, rest = "/".join(parts[:2]), parts[2:]
        repository = self.server.repositories.get(name)
        if repository is None:
            self._refuse(HTTPStatus.NOT_FOUND, "RepoNotFound")
        elif repository.status is not None:
            self._refuse(repository.status, repository.error_code)
        elif repository.moved is not None:
            place = self.path.replace(name, repository.moved, 1)
            self._send(HTTPStatus.TEMPORARY_REDIRECT, b"", {"Location": place})
        elif path.startswith("/api/models/"):
            self._describe(repository, rest)
        elif rest[0] == "resolve":
            self._file(repository, name, "/".join(rest[2:]))
        else:  # where files lie that are elsewhere
            self._content(repository, "/".join(rest[1:]), {})

    def _describe(self, repository: Repository, rest: list[str]) -> None:
        if rest[:1] == ["tree"]:
            listed = repository.listed
            self._json(self.server.entries(repository) if listed is None else listed)
        elif rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT):
            self._refuse(HTTPStatus.NOT_FOUND, "RevisionNotFound")
        else:
            found = {
                "id": "x/y",
                "sha": COMMIT,
                "siblings": [{"rfilename": f} for f in repository.files],
            }
            self._json(found if repository.described is None else repository.described)

    def _file(self, repository: Repository, name: str, file: str) -> None:
        if file not in repository.files:
            self._refuse(HTTPStatus.NOT_FOUND, "EntryNotFound")
            return
        content = repository.named[file]
        digest = _sha1(content) if repository.mirrored else _digest(file, content)
        known = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"'}
        if file.endswith(LARGE):
            known |= {"X-Linked-Etag": known["ETag"], "X-Linked-Size": str(len(content))}
        if repository.elsewhere and file.endswith(LARGE):
            known["Location"] = f"{self.server.address}/{name}/content/{file}".replace(
                "127.0.0.1", "localhost"
            )
            self._send(HTTPStatus.FOUND, b"", known)
        else:
            self._content(repository, file, known)

    def _content(self, repository: Repository, file: str, known: Mapping[str, str]) -> None:
        content, large = repository.files[file], file.endswith(LARGE)
        if large and repository.flipped:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if large and repository.shorter:
            content = content[: -repository.shorter]
        begin, status, headers = 0, HTTPStatus.OK, dict(known)
        if (wanted := self.headers.get("Range")) is not None:
            begin, status = (
                int(wanted.removeprefix("bytes=").partition("-")[0]),
                HTTPStatus.PARTIAL_CONTENT,
            )
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        cut = large and repository.cut > 0 and self.command == "GET"
        repository.cut -= cut
        self._send(status, content[begin:], headers, half=cut)

    def _json(self, value: Any) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._send(HTTPStatus.OK, content, {"Content-Type": "application/json"})

    def _refuse(self, status: HTTPStatus, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code} if code else {})

    def _send(
        self, status: HTTPStatus, content: bytes, headers: Mapping[str, str], *, half: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if half else content)
        if half:
            self.close_connection = True


def _entry(file: str, content: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": file, "size": len(content), "oid": _git_sum(content)}
    if file.endswith(LARGE):
        entry["lfs"] = {"oid": _digest(file, content), "size": len(content), "pointerSize": 134}
    return entry


def _digest(file: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if file.endswith(LARGE) else _git_sum(content)


def _git_sum(content: bytes) -> str:
    return _sha1(b"blob %d\0%s" % (len(content), content))


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
