"""A small Hugging Face Hub on loopback: what ``datasets`` and ``huggingface_hub`` ask of it, from files in memory.

It needs nothing but the standard library. Clients find it through ``HF_ENDPOINT``, which they read when they
are imported: start them with :meth:`Hub.environment`.

    with Hub([Repository("me/chats", {"data/train.jsonl": b"..."})]) as hub:
        subprocess.run([...], env=hub.environment(home))
        hub.served["me/chats/data/train.jsonl"]  # bytes

A repository may be public, gated, private, or have revisions such as ``refs/convert/parquet``. Refusals carry
the real Hub's status and ``X-Error-Code``: a stranger gets 401 for what is missing and for what is private.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_loopback"
PIECE = 1 << 16


@dataclass(frozen=True)
class Repository:
    """A data set repository.

    Attributes:
        name: Such as ``owner/name``.
        files: Content by path, in memory or in a file on disk, on the branch ``main``.
        revisions: Likewise for other revisions.
        gated: Whether files are refused without the token.
        private: Whether anything is refused without the token.
    """

    name: str
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    revisions: Mapping[str, Mapping[str, bytes | Path]] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, revision: str) -> str:
        """The commit that a branch or a commit names, or "" where there is none."""
        commits = {name: hashlib.sha1(f"{self.name}@{name}".encode()).hexdigest() for name in ("main", *self.revisions)}
        return commits.get(revision, revision if revision in commits.values() else "")

    def at(self, commit: str) -> Mapping[str, bytes | Path]:
        """The files of a commit."""
        return next(
            files for name, files in {"main": self.files, **self.revisions}.items() if self.commit(name) == commit
        )


class Hub:
    """The server; ``served`` counts the bytes of content by ``repository/path``, ``asked`` lists requests.

    Args:
        repositories: What it has.
        moved: New names by old ones, which are led on from as the real Hub does.
        handler: What answers, where this one is not enough.
    """

    def __init__(
        self,
        repositories: Sequence[Repository],
        moved: Mapping[str, str] | None = None,
        handler: type[Handler] | None = None,
    ) -> None:
        self.moved = dict(moved or {})
        self.repositories = {repository.name: repository for repository in repositories}
        self.served: Counter[str] = Counter()
        self.asked: list[str] = []
        hub = self

        class Ours(handler or Handler):
            def __init__(self, *arguments: Any) -> None:
                self.hub = hub
                super().__init__(*arguments)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Ours)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path, token: str = "") -> dict[str, str]:
        """The environment of a process that shall take this for the Hub, with a home of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        mine = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
        return {**kept, **mine, **({"HF_TOKEN": token} if token else {})}


class Handler(BaseHTTPRequestHandler):
    """Answers one request after the other."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a small body would wait until its header is acknowledged

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append(f"{self.command} {self.path}")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._route(unquote(urlsplit(self.path).path), body)

    def _route(self, path: str, body: bytes) -> None:
        old = next((old for old in self.hub.moved if re.match(rf"(/api)?/datasets/{re.escape(old)}(/|$)", path)), "")
        if old:
            self._headers(307, {"Location": self.path.replace(old, self.hub.moved[old], 1), "Content-Length": "0"})
        elif path == "/api/datasets":
            self._search(parse_qs(urlsplit(self.path).query))
        elif match := re.fullmatch(r"/api/datasets/(.+?)(?:/(revision|tree|paths-info|auth-check)(?:/(.*))?)?", path):
            self._api(match[1], match[2] or "revision", match[3] or "main", body)
        elif match := re.fullmatch(r"/datasets/(.+?)/resolve/(.+)", path):
            self._resolve(match[1], match[2])
        else:
            self._refuse(404, "")

    def _search(self, query: Mapping[str, list[str]]) -> None:
        author, search = query.get("author", [""])[0], query.get("search", [""])[0]
        names = [r.name for r in self.hub.repositories.values() if not r.private]
        found = [n for n in names if n.startswith(f"{author}/" if author else "") and search.lower() in n.lower()]
        self._json([{"id": name} for name in found])

    def _repository(self, name: str) -> Repository | None:
        """The repository, or None after refusing what a stranger may not see."""
        repository = self.hub.repositories.get(name)
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not known):
            self._refuse(404 if known else 401, "RepoNotFound")
            return None
        return repository

    def _allowed(self, repository: Repository) -> bool:
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
            return False
        return True

    def _parted(self, repository: Repository, rest: str) -> tuple[str, str]:
        """Commit and path of ``REVISION[/PATH]``; a revision may have slashes of its own."""
        for revision in sorted(repository.revisions, key=len, reverse=True):
            if rest == revision or rest.startswith(f"{revision}/"):
                return repository.commit(revision), rest[len(revision) + 1 :]
        revision, _, path = rest.partition("/")
        return repository.commit(revision), path

    def _api(self, name: str, what: str, rest: str, body: bytes) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        if what == "auth-check":
            if self._allowed(repository):
                self._json({})
            return
        commit, folder = self._parted(repository, rest)
        if not commit:
            self._refuse(404, "RevisionNotFound")
            return
        files = repository.at(commit)
        if what == "revision":
            gated = "auto" if repository.gated else False
            siblings = [{"rfilename": path} for path in files]
            self._json({"id": name, "sha": commit, "private": repository.private, "gated": gated, "siblings": siblings})
        elif what == "paths-info":
            asked = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode()).get("paths", [])
            self._json([entry for path in asked for entry in _entries(files, path.strip("/")) if entry["path"] == path])
        else:
            inside = [entry for entry in _entries(files, folder) if entry["path"] != folder]
            deep = "recursive=true" in self.path.lower() or "recursive=1" in self.path
            depth = folder.count("/") + (1 if folder else 0)
            entries = [entry for entry in inside if deep or entry["path"].count("/") == depth]
            self._json(entries) if entries else self._refuse(404, "EntryNotFound")

    def _resolve(self, name: str, rest: str) -> None:
        repository = self._repository(name)
        if repository is None or not self._allowed(repository):
            return
        commit, path = self._parted(repository, rest)
        if not commit:
            self._refuse(404, "RevisionNotFound")
        elif path not in repository.at(commit):
            self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        else:
            self._send_file(name, commit, path, repository.at(commit)[path])

    def _send_file(self, name: str, commit: str, path: str, content: bytes | Path) -> None:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        headers = {"ETag": f'"{_oid(path, size)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        first, last, status = 0, size - 1, 200
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and size:
            first = int(asked[1]) if asked[1] else size - int(asked[2])
            last = min(int(asked[2]), size - 1) if asked[1] and asked[2] else size - 1
            if first >= size:
                self._refuse(416, "")
                return
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._headers(status, {**headers, "Content-Length": str(last - first + 1), "X-Linked-Size": str(size)})
        if self.command == "HEAD":
            return
        with contextlib.ExitStack() as stack:
            file = None if isinstance(content, bytes) else stack.enter_context(content.open("rb"))
            at = first
            while at <= last:
                count = min(PIECE, last - at + 1)
                if file is None:
                    piece = content[at : at + count]
                else:
                    file.seek(at)
                    piece = file.read(count)
                self.wfile.write(piece)
                self.hub.served[f"{name}/{path}"] += len(piece)
                at += len(piece)

    def _json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self._headers(200, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        words = {401: "Invalid username or password.", 404: "Not found"}.get(status, "Refused")
        more = {"X-Error-Code": code, "X-Error-Message": words} if code else {}
        self._headers(status, {**more, **(headers or {}), "Content-Length": "0"})

    def _headers(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _entries(files: Mapping[str, bytes | Path], folder: str) -> list[dict[str, Any]]:
    """The files at or below a path, and the folders between, as the Hub lists them."""
    found: dict[str, dict[str, Any]] = {}
    for path, content in files.items():
        if folder and path != folder and not path.startswith(f"{folder}/"):
            continue
        for end, mark in enumerate(path):
            if mark == "/" and len(path[:end]) >= len(folder):
                found[path[:end]] = {"type": "directory", "path": path[:end], "size": 0, "oid": _oid(path[:end], 0)}
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        found[path] = {"type": "file", "path": path, "size": size, "oid": _oid(path, size)}
    return list(found.values())


def _oid(path: str, size: int) -> str:
    return hashlib.sha1(f"{path}:{size}".encode()).hexdigest()
