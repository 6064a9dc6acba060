"""Opens data files wherever they are, compressed or not: on disk, on the Hub (``hf://``), behind a URL.

``datasets`` 5 no longer installs what fsspec needs for ``https://``, so a URL is read with ``requests``,
which psyctl has anyway. What a file may be called is ``datasets``' own list of suffixes.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

FORMATS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
    ".arrow": "arrow",
}  # fmt: skip
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".lz4")
READABLE = f"{', '.join(FORMATS)}, plain or compressed ({', '.join(COMPRESSIONS)})"

TIMEOUT_SECONDS = 30


def is_remote(path: str) -> bool:
    """Whether a path names something that is not on this machine."""
    return "://" in path


_HARMLESS = {
    "config", "dl", "download", "export", "file", "filename", "format", "id", "name", "path", "raw", "ref", "rev",
    "revision", "split", "v", "version",
}  # fmt: skip
"""What an address may ask for without it being a key: everything else may be a signature or a token."""


def shown(path: str) -> str:
    """A path or address without what opens it: no password, no signature, no token.

    Args:
        path: As the user gave it.
    """
    if not is_remote(path):
        return path
    try:
        parts = urlsplit(path)
        asked = urlencode([pair for pair in parse_qsl(parts.query) if pair[0].lower() in _HARMLESS])
    except ValueError:
        return path.partition("://")[0] + "://..."
    place = parts.netloc
    if "@" in place and parts.scheme != "hf":  # hf://datasets/NAME@REVISION has no place of its own
        place = place.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path, asked, ""))


def without_secrets(text: str, paths: Iterable[str]) -> str:
    """A message about these paths with none of their passwords and signatures in it."""
    for path in paths:
        if is_remote(path) and shown(path) != path:
            parts = urlsplit(path)
            text = text.replace(path, shown(path))
            for secret in filter(None, (parts.query, parts.password, parts.netloc.rpartition("@")[0])):
                text = text.replace(secret, "...")
    return text


def format_of(path: str) -> str:
    """One of :data:`FORMATS`' values by the file's suffix, compression aside; "" for any other file."""
    name = PurePosixPath(urlsplit(path).path if is_remote(path) else Path(path).name)
    suffixes = [suffix.lower() for suffix in name.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return FORMATS.get(suffixes[-1], "") if suffixes else ""


@contextlib.contextmanager
def open_file(path: str, *, anywhere: bool = False) -> Iterator[IO[bytes]]:
    """A file's bytes, decompressed by its suffix, for as long as the block runs.

    Args:
        path: On disk, ``hf://...``, ``https://...``, or whatever else fsspec knows.
        anywhere: Reads jump about, as in Parquet; otherwise the file is read once from its beginning.
    """
    with _opened(path, anywhere) as file, _decompressed(file, path) as plain:
        yield plain


_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


def as_utf8(file: IO[bytes]) -> IO[bytes]:
    """A text file's bytes in UTF-8, also where it begins with the mark of UTF-16 or UTF-32, as Windows writes it."""
    head = file.read(4)
    encoding = next((encoding for mark, encoding in _BOMS if head.startswith(mark)), "")
    whole = joined(head, file)
    return io.BufferedReader(_Recoded(whole, encoding), 1 << 16) if encoding else whole


def joined(head: bytes, rest: IO[bytes]) -> io.BufferedReader:
    """What was read of a file already, and then the rest of it."""
    return io.BufferedReader(_Joined(head, rest), 1 << 16)


class _Joined(io.RawIOBase):
    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


class _Recoded(io.RawIOBase):
    """A file of another encoding, in UTF-8."""

    def __init__(self, file: io.BufferedReader, encoding: str) -> None:
        self._file, self._decoder, self._ready = file, codecs.getincrementaldecoder(encoding)("replace"), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._file.read(1 << 16)
            text = self._decoder.decode(data, final=not data)
            self._ready = text.encode("utf-8", "replace")
            if not data:
                break
        piece, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _opened(path: str, anywhere: bool) -> IO[bytes]:
    if not is_remote(path):
        return Path(path).open("rb")
    if path.startswith("hf://"):
        from huggingface_hub import HfFileSystem

        # Without a cache, each read asks for exactly its bytes; block size 0 streams from the beginning.
        if anywhere:
            return cast("IO[bytes]", HfFileSystem().open(path, "rb", cache_type="none"))
        return io.BufferedReader(cast("io.RawIOBase", HfFileSystem().open(path, "rb", block_size=0)), 1 << 16)
    if path.startswith(("http://", "https://")):
        return io.BufferedReader(UrlFile(path), 1 if anywhere else 1 << 16)
    import fsspec  # type: ignore[import-untyped]

    return io.BufferedReader(fsspec.open(path, "rb").open(), 1 if anywhere else 1 << 16)


def _decompressed(file: IO[bytes], path: str) -> IO[bytes]:
    suffix = PurePosixPath(urlsplit(path).path if is_remote(path) else path).suffix.lower()
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if suffix == ".bz2":
        return cast("IO[bytes]", bz2.BZ2File(file))
    if suffix == ".xz":
        return cast("IO[bytes]", lzma.LZMAFile(file))
    if suffix in (".zst", ".lz4"):
        import pyarrow as pa  # type: ignore[import-untyped]

        stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), {".zst": "zstd", ".lz4": "lz4"}[suffix])
        return cast("IO[bytes]", io.BufferedReader(stream))
    return file


class UrlFile(io.RawIOBase):
    """A file behind a URL, read as it comes; after a jump it is asked for from there on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._at = 0
        self._response: Any = None
        self._size: int | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, where the server answers byte ranges."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on from here."""
        if self._size is not None and self._at >= self._size:
            return 0
        if self._response is None:
            self._response = self._ask()
        data: bytes = self._response.raw.read(len(buffer), decode_content=False)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Jump; nothing is asked until the next read, but the size for a jump from the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: 0}[whence]
        target = offset + (self._length() if whence == io.SEEK_END else base)
        if target != self._at:
            self._drop()
            self._at = target
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def close(self) -> None:
        """Let the connection go."""
        self._drop()
        super().close()

    def _ask(self) -> Any:
        import requests

        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={self._at}-"} if self._at else {})
        response = requests.get(self._url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        if self._at and response.status_code != 206:
            raise OSError("the server answers no byte ranges; download the file and give its path")
        return response

    def _length(self) -> int:
        if self._size is None:
            self._size = int(url_info(self._url)["size"])
        return self._size

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def url_info(url: str) -> dict[str, str]:
    """What a server says about a file: its size, and its ETag or date where it has one."""
    import requests

    response = requests.head(
        url, headers={"Accept-Encoding": "identity"}, allow_redirects=True, timeout=TIMEOUT_SECONDS
    )
    response.raise_for_status()
    headers = response.headers
    version = headers.get("ETag") or headers.get("Last-Modified", "")
    return {"size": headers.get("Content-Length", "0"), "version": version}
