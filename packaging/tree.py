"""A tree of files in memory, and archives of it whose bytes follow from it alone: no clock, no owner, no order of a disk."""

import gzip
import io
import tarfile
from typing import NamedTuple


class Entry(NamedTuple):
    """A file, or a folder where `data` is None."""

    data: bytes | None
    mode: int


class Tree:
    """Entries by path, which begins without a slash. Folders above an entry are made."""

    def __init__(self, epoch: int):
        self.epoch = epoch
        self.entries: dict[str, Entry] = {}

    def folder(self, path: str, mode: int = 0o755) -> None:
        self._parents(path)
        self.entries[path] = Entry(None, mode)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._parents(path)
        self.entries[path] = Entry(data, mode)

    def gzipped(self, path: str, data: bytes) -> None:
        self.file(f"{path}.gz", gzip.compress(data, 9, mtime=0))

    def _parents(self, path: str) -> None:
        parts = path.split("/")[:-1]
        for end in range(1, len(parts) + 1):
            self.entries.setdefault("/".join(parts[:end]), Entry(None, 0o755))

    def tar(self, prefix: str = "") -> bytes:
        """As tar (ustar), owned by root, sorted by path."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path, entry in sorted(self.entries.items()):
                info = tarfile.TarInfo(prefix + path)
                info.mtime, info.mode = self.epoch, entry.mode
                info.uname = info.gname = "root"
                if entry.data is None:
                    info.type = tarfile.DIRTYPE
                    archive.addfile(info)
                else:
                    info.size = len(entry.data)
                    archive.addfile(info, io.BytesIO(entry.data))
        return out.getvalue()
