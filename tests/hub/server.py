"""A Hub on loopback that takes uploads: what ``huggingface_hub`` asks to make a repository and a commit in it.

It reads as ``tests/sources/hub.py`` does, and misbehaves on demand: ``faults`` answers a step with a status once, and
``hold`` keeps a step waiting until the test has killed whoever asked. A commit is applied whole, or not at all.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

READING = Path(__file__).resolve().parents[1] / "sources" / "hub.py"
_spec = importlib.util.spec_from_file_location("psyctl_hub_read", READING)
reading = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = reading
_spec.loader.exec_module(reading)

WRITER = reading.TOKEN
READER = "hf_loopback_reader"
OWNER = "me"
LICENCES = ("cc-by-4.0", "apache-2.0", "unknown")
NEW = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}


@dataclass(frozen=True)
class Stored(reading.Repository):
    """A repository with a history: its commits are numbered."""

    number: int = 1

    def commit(self, revision: str) -> str:
        commit = hashlib.sha1(f"{self.name}@{self.number}".encode()).hexdigest()
        return commit if revision in ("main", commit) else ""

    @property
    def content(self) -> dict[str, bytes]:
        """Its files but for those that the Hub makes."""
        return {path: content for path, content in self.files.items() if path not in NEW}


class Uploads(reading.Hub):
    """The server.

    Args:
        repositories: What it has.
        lfs_above: Files of more bytes are kept apart, by SHA-256.
        moved: New names by old ones.
    """

    def __init__(
        self, repositories: Sequence[Stored] = (), lfs_above: int = 10 << 20, moved: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(repositories, moved, _Uploading)
        self.lfs_above = lfs_above
        self.blobs: dict[str, bytes] = {}
        self.apart: set[str] = set()
        self.faults: dict[str, tuple[int, str]] = {}
        self.hold = ""
        self.reached, self.release = threading.Event(), threading.Event()

    def steps(self) -> list[str]:
        """What was asked, in short."""
        return [step for step in map(step_of, self.asked) if step]


def step_of(asked: str) -> str:
    """What a request is a step of."""
    method, _, path = asked.partition(" ")
    path = urlsplit(path).path
    forms = {
        "create": r"POST /api/repos/create",
        "validate": r"POST /api/validate-yaml",
        "preupload": r"POST /api/datasets/[^/]+/[^/]+/preupload/main",
        "batch": r"POST /datasets/.+\.git/info/lfs/objects/batch",
        "upload": r"PUT /upload/\w+",
        "verify": r"POST /verify",
        "commit": r"POST /api/datasets/[^/]+/[^/]+/commit/main",
        "look": r"GET /api/datasets/[^/]+/[^/]+",
    }
    return next((name for name, form in forms.items() if re.fullmatch(form, f"{method} {path}")), "")


class _Uploading(reading.Handler):
    def do_PUT(self) -> None:  # noqa: N802 - http.server calls it so
        self._answer()

    def _route(self, path: str, body: bytes) -> None:
        hub, step = self.hub, step_of(f"{self.command} {self.path}")
        if step and step == hub.hold:
            hub.reached.set()
            hub.release.wait(60)
        authorization = self.headers.get("Authorization", "")
        if authorization and authorization.removeprefix("Bearer ") not in (WRITER, READER):
            self._deny(401, "Invalid credentials in Authorization header")
        elif step in hub.faults:
            self._deny(*hub.faults.pop(step))
        elif step in ("", "look"):
            super()._route(path, body)
        elif step in ("upload", "verify"):
            if step == "upload":
                hub.blobs[path.rpartition("/")[2]] = body
            self._json({})
        elif not authorization:
            self._deny(401, "Invalid username or password.")
        elif step == "validate":
            self._validate(json.loads(body)["content"])
        elif step == "create":
            self._create(json.loads(body))
        elif authorization.endswith(READER):
            self._deny(403, "you must use a write token to upload to a repository")
        else:
            name = re.match(r"(?:/api)?/datasets/([^/]+/[^/]+?)(?:\.git)?/", path)[1]
            getattr(self, f"_{step}")(hub.repositories[name], body)

    def _api(self, name: str, what: str, rest: str, body: bytes) -> None:
        if what != "revision":
            super()._api(name, what, rest, body)
        elif repository := self._repository(name):
            commit = repository.commit("main")
            siblings = [
                {"rfilename": path, **_entry(content, path in self.hub.apart)}
                for path, content in repository.files.items()
            ]
            self._json({"id": name, "sha": commit, "private": repository.private, "gated": False, "siblings": siblings})

    def _repository(self, name: str) -> Stored | None:
        repository = self.hub.repositories.get(name)
        authorization = self.headers.get("Authorization", "")
        if repository is None or (repository.private and not authorization.endswith(WRITER)):
            self._refuse(404 if authorization else 401, "RepoNotFound")
            return None
        return repository

    def _validate(self, content: str) -> None:
        licence = re.search(r"^license: (.+)$", content, re.MULTILINE)
        if licence and licence[1] not in LICENCES:
            self._json({"errors": [{"message": '"license" must be one of [apache-2.0, ...]'}]}, 400)
        else:
            self._json({"errors": [], "warnings": []})

    def _create(self, asked: Mapping[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != OWNER or self.headers["Authorization"].endswith(READER):
            words = f'You don\'t have the rights to create a dataset under the namespace "{asked["organization"]}"'
            self._deny(403, words)
        elif name in self.hub.repositories:
            self._deny(409, "You already created this dataset repo")
        else:
            private = asked.get("private", asked.get("visibility") == "private")
            self.hub.repositories[name] = Stored(name, NEW, private=private)
            self._json({"url": f"{self.hub.url}/datasets/{name}"})

    def _preupload(self, repository: Stored, body: bytes) -> None:
        files = json.loads(body)["files"]
        modes = {each["path"]: "lfs" if each["size"] > self.hub.lfs_above else "regular" for each in files}
        self._json({"files": [{"path": path, "uploadMode": modes[path], "shouldIgnore": False} for path in modes]})

    def _batch(self, repository: Stored, body: bytes) -> None:
        objects = [
            {
                **each,
                "actions": {
                    "upload": {"href": f"{self.hub.url}/upload/{each['oid']}"},
                    "verify": {"href": f"{self.hub.url}/verify"},
                },
            }
            for each in json.loads(body)["objects"]
        ]
        self._json({"objects": objects})

    def _commit(self, repository: Stored, body: bytes) -> None:
        header, *operations = [json.loads(line) for line in body.splitlines()]
        if header["value"].get("parentCommit") != repository.commit("main"):
            self._deny(412, "A commit has happened since. Please refresh and try again.")
            return
        files = dict(repository.files)
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "deletedFile":
                del files[value["path"]]
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
                self.hub.apart.add(value["path"])
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        new = replace(repository, files=files, number=repository.number + 1)
        self.hub.repositories[repository.name] = new
        address = f"{self.hub.url}/datasets/{repository.name}/commit/{new.commit('main')}"
        self._json({"success": True, "commitOid": new.commit("main"), "commitUrl": address})

    def _json(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self._headers(status, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        if self.command != "HEAD":
            self.wfile.write(data)

    def _deny(self, status: int, words: str) -> None:
        data = json.dumps({"error": words}).encode()
        headers = {"X-Error-Message": words, "Content-Type": "application/json", "Content-Length": str(len(data))}
        self._headers(status, headers)
        self.wfile.write(data)


def _entry(content: bytes, apart: bool) -> dict[str, Any]:
    """A file as the Hub lists it; one that is kept apart has a pointer in git."""
    if apart:
        sha = hashlib.sha256(content).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(content)}\n".encode()
        lfs = {"sha256": sha, "oid": sha, "size": len(content), "pointerSize": len(pointer)}
        return {"blobId": _blob(pointer), "size": len(content), "lfs": lfs}
    return {"blobId": _blob(content), "size": len(content)}


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
