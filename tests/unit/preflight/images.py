"""Images as docker save and skopeo write them, made in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Entry = tuple[str, bytes | tuple[bytes, str]]
"""A name with the content of a file, or with (type, target) of a link or a folder."""
SYMLINK, HARD_LINK, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def tar(entries: Iterable[Entry]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, what in entries:
            info = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                info.size = len(what)
                archive.addfile(info, io.BytesIO(what))
            else:
                info.type, info.linkname = what
                archive.addfile(info)
    return file.getvalue()


def plain(data: bytes) -> bytes:
    return data


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zstandard(data: bytes) -> bytes:
    from backports import zstd

    return zstd.compress(data)


Pack = Callable[[bytes], bytes]


def docker_save(
    layers: Sequence[bytes], config: dict[str, Any], tag: str = "example.com/web:1"
) -> bytes:
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": names}]
    return tar(
        [
            *zip(names, layers, strict=True),
            ("config.json", json.dumps({"config": config}).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ]
    )


def oci_layout(layers: Sequence[bytes], config: dict[str, Any]) -> bytes:
    """With an index of one platform and an attestation, as buildx writes it."""
    blobs: dict[str, bytes] = {}

    def put(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    manifest = {
        "config": put(json.dumps({"config": config}).encode()),
        "layers": [put(layer) for layer in layers],
    }
    image = put(json.dumps(manifest).encode())
    image["platform"] = {"os": "linux", "architecture": "amd64"}
    proof = put(b'{"layers": []}') | {"platform": {"os": "unknown", "architecture": "unknown"}}
    inner = put(json.dumps({"manifests": [image, proof]}).encode())
    inner["annotations"] = {"org.opencontainers.image.ref.name": "web:2"}
    index = json.dumps({"manifests": [inner]}).encode()
    return tar([("oci-layout", b"{}"), ("index.json", index), *blobs.items()])


def written(folder: Path, data: bytes) -> Path:
    path = folder / "image.tar"
    path.write_bytes(data)
    return path
