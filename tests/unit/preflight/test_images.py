"""Go programs of images: layers on each other, entry points, and hostile tars."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.errors import ParseError
from gotax.linux.elf import BytesReader, FileReader
from gotax.preflight.archive import Budget, members, opened
from gotax.preflight.image import Image, read_images
from gotax.preflight.layers import Tree
from gotax.preflight.reading import read_program

from .images import (
    FOLDER,
    HARD_LINK,
    SYMLINK,
    Entry,
    Pack,
    docker_save,
    oci_layout,
    plain,
    tar,
    written,
    zipped,
    zstandard,
)

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def web(go_binary: Callable[..., Path]) -> bytes:
    return go_binary("container-1.24", "1.27.3", "stripped").read_bytes()


@pytest.fixture(scope="module")
def old(go_binary: Callable[..., Path]) -> bytes:
    return go_binary("gomaxprocs", "1.24.13", "stripped").read_bytes()


def images(folder: Path, data: bytes) -> tuple[Image, ...]:
    with FileReader(written(folder, data)) as reader:
        return read_images(reader)


def found(image: Image) -> dict[str, str]:
    return {program.path: program.build.version for program in image.programs}


PACKS: tuple[Pack, ...] = (plain, zipped, zstandard)


@pytest.mark.parametrize("write", [docker_save, oci_layout])
@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("whole", PACKS)
def test_both_formats_with_every_compression(
    tmp_path: Path, web: bytes, write: Callable[..., bytes], pack: Pack, whole: Pack
) -> None:
    layers = [pack(tar([("usr/bin/web", web), ("etc/passwd", b"x" * 20_000)]))]
    (image,) = images(tmp_path, whole(write(layers, {"Entrypoint": ["web"]})))
    assert found(image) == {"/usr/bin/web": "go1.27.3"}
    assert image.entry == "/usr/bin/web"
    assert image.name == ("example.com/web:1" if write is docker_save else "web:2 linux/amd64")


def stacked(folder: Path, *layers: list[Entry]) -> dict[str, str]:
    (image,) = images(folder, docker_save([tar(layer) for layer in layers], {}))
    return found(image)


def test_upper_layers_replace_and_remove(tmp_path: Path, web: bytes, old: bytes) -> None:
    lower: list[Entry] = [(f"bin/{name}", web) for name in "abcde"]
    upper: list[Entry] = [
        ("bin/a", old),  # another program
        ("bin/b", b"#!/bin/sh\n"),  # a script
        ("bin/.wh.c", b""),
        ("bin/d", (SYMLINK, "e")),
    ]
    assert stacked(tmp_path, lower, upper) == {"/bin/a": "go1.24.13", "/bin/e": "go1.27.3"}


@pytest.mark.parametrize(
    "upper",
    [
        [(".wh.opt", b"")],
        [("opt/.wh..wh..opq", b"")],
        [("opt/x", b""), ("opt/app/.wh..wh..opq", b"")],
        [("opt", b"a file")],
        [("opt/app", (SYMLINK, "/srv"))],
        [("opt/app/web", (FOLDER, ""))],
    ],
)
def test_a_folder_can_go_with_all_in_it(tmp_path: Path, web: bytes, upper: list[Entry]) -> None:
    assert stacked(tmp_path, [("opt/app/web", web), ("srv/web", web)], upper) == {
        "/srv/web": "go1.27.3"
    }


def test_a_removal_is_for_lower_layers_only(tmp_path: Path, web: bytes) -> None:
    """Whatever comes first in the tar of a layer."""
    opaque: list[Entry] = [("a/.wh..wh..opq", b""), ("a/w", web)]
    removed: list[Entry] = [("a/w", web), ("a/.wh.w", b"")]
    for upper in (opaque, removed):
        assert stacked(tmp_path, [("a/v", web)] if "opq" in upper[0][0] else [], upper) == {
            "/a/w": "go1.27.3"
        }


def test_hard_links_within_a_layer_and_to_a_lower_one(tmp_path: Path, web: bytes) -> None:
    lower: list[Entry] = [("./a", web), ("./b", (HARD_LINK, "./a"))]
    upper: list[Entry] = [("c", (HARD_LINK, "b")), ("d", (HARD_LINK, "missing"))]
    assert sorted(stacked(tmp_path, lower, upper)) == ["/a", "/b", "/c"]


@pytest.mark.parametrize(
    ("config", "entry"),
    [
        ({"Entrypoint": ["/usr/bin/web", "serve"]}, "/usr/bin/web"),
        ({"Cmd": ["web"], "Env": ["PATH=/nowhere:/usr/bin"]}, "/usr/bin/web"),
        ({"Cmd": ["web"], "Env": ["PATH=/nowhere"]}, ""),
        ({"Entrypoint": ["./web"], "WorkingDir": "/usr/bin"}, "/usr/bin/web"),
        ({"Entrypoint": ["/sbin/tini", "--"], "Cmd": ["/app"]}, "/usr/bin/web"),  # a symlink
        ({"Entrypoint": ["/loop"]}, ""),
        ({"Entrypoint": ["/bin/sh", "-c", "web"], "Env": ["PATH=/bin"]}, ""),
        ({"Entrypoint": ["/link/web"]}, "/usr/bin/web"),
        ({"Entrypoint": ["../../../usr/./bin/web"]}, "/usr/bin/web"),
        ({}, ""),
    ],
)
def test_the_entry_point(tmp_path: Path, web: bytes, config: dict[str, object], entry: str) -> None:
    layer: list[Entry] = [
        ("usr/bin/web", web),
        ("app", (SYMLINK, "link/web")),
        ("link", (SYMLINK, "/usr/../usr/bin")),
        ("loop", (SYMLINK, "/loop")),
    ]
    (image,) = images(tmp_path, docker_save([tar(layer)], config))
    assert image.entry == entry


def test_kubernetes_replaces_what_it_starts(tmp_path: Path, web: bytes, old: bytes) -> None:
    layer: list[Entry] = [("web", web), ("old", old)]
    (image,) = images(tmp_path, docker_save([tar(layer)], {"Entrypoint": ["/web"], "Cmd": ["x"]}))
    assert image.started_by((), ()) == "/web"
    assert image.started_by(("/old",), ()) == "/old"
    assert image.started_by((), ("/old",)) == "/web"


def test_a_packed_or_broken_program_is_named(tmp_path: Path, web: bytes) -> None:
    """It is neither left out nor taken for another language."""
    cut = web[: len(web) // 2]
    (image,) = images(tmp_path, docker_save([tar([("a", cut), ("b", web)])], {}))
    assert sorted(p.path for p in image.programs) in (["/b"], ["/a", "/b"])
    short = web[:20_000]
    (image,) = images(tmp_path, docker_save([tar([("a", short)])], {}))
    assert [(u.path, bool(u.reason)) for u in image.unreadable] == [("/a", True)]


def test_several_images_of_one_tar_share_layers(tmp_path: Path, web: bytes) -> None:
    layer = tar([("web", web)])
    config = json.dumps({"config": {"Entrypoint": ["/web"]}}).encode()
    manifest = [{"Config": "c", "RepoTags": [t], "Layers": ["l"]} for t in ("a:1", "b:2")]
    data = tar([("l", layer), ("c", config), ("manifest.json", json.dumps(manifest).encode())])
    assert [image.name for image in images(tmp_path, data)] == ["a:1", "b:2"]


def hostile_header(**fields: object) -> bytes:
    """A tar of one member whose header says something else than there is."""
    info = tarfile.TarInfo("a")
    info.size = 4
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT) + b"data".ljust(512, b"\0") + bytes(1024)


def long_name(size: int) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(size)


def pax(records: bytes) -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    padded = records.ljust(-(-len(records) // 512) * 512, b"\0")
    return info.tobuf(tarfile.USTAR_FORMAT) + padded + hostile_header()


HOSTILE = {
    "a name of 4 MiB": long_name(4 << 20),
    "a member that goes back": hostile_header(size=-1024),
    "attributes that go back": pax(b"15 size=-10240\n"),
    "attributes of 4 MiB": pax(b"%d a=" % (4 << 20) + b"x" * (4 << 20)),
    "a member beyond the end": hostile_header(size=1 << 40),
    "a checksum": hostile_header()[:100] + b"1" + hostile_header()[101:],
    "half a header": hostile_header()[:300],
    "nothing": b"",
    "noise": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_layer_is_refused(pack: Pack, case: str) -> None:
    """It uses little memory, and ends."""
    with pytest.raises(ParseError, match="tar-malformed"):
        Tree().add(BytesReader(pack(HOSTILE[case])), Budget())


@pytest.mark.parametrize("pack", [zipped, zstandard])
def test_a_bomb_is_refused(pack: Pack) -> None:
    """64 MiB of zeros in some KiB, against a budget of one MiB."""
    bomb = pack(tar([("zeros", bytes(64 << 20))]))
    assert len(bomb) < 1 << 17
    with pytest.raises(ParseError, match="image-too-large"):
        Tree().add(BytesReader(bomb), Budget(inflated_bytes=1 << 20))


def test_members_are_counted() -> None:
    data = tar([(f"file{number}", b"") for number in range(50)])
    with pytest.raises(ParseError, match="image-too-large"):
        Tree().add(BytesReader(data), Budget(members=49))


def test_kept_bytes_are_counted(web: bytes) -> None:
    with pytest.raises(ParseError, match="image-too-large"):
        Tree().add(BytesReader(zipped(tar([("web", web)]))), Budget(kept_bytes=1 << 20))


@pytest.mark.parametrize("cut", [100, 5000, 100_000])
@pytest.mark.parametrize("pack", [zipped, zstandard])
def test_a_truncated_layer_is_refused(web: bytes, pack: Pack, cut: int) -> None:
    """Half of a program is not taken for one without build info."""
    data = pack(tar([("a", b"x"), ("web", web)]))
    with pytest.raises(ParseError, match="tar-malformed"):
        Tree().add(BytesReader(data[:cut]), Budget())


def test_a_zstd_window_is_bounded() -> None:
    """A frame that asks for a window of 2 GiB."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(ParseError, match="tar-malformed"):
        Tree().add(BytesReader(frame), Budget())


@pytest.mark.parametrize(
    "entries",
    [
        [("manifest.json", b"[]")],
        [("manifest.json", b"{")],
        [("manifest.json", b"[" * 100_000)],
        [("manifest.json", b"[1]")],
        [("manifest.json", b'[{"Config": "c", "Layers": ["l"]}]')],
        [("manifest.json", b'[{"Config": "../../etc/passwd"}]')],
        [("manifest.json", (SYMLINK, "manifest.json"))],
        [("manifest.json", b" " * (5 << 20))],
        [("index.json", b'{"manifests": [{"digest": "sha256:0"}]}')],
        [("index.json", b'{"manifests": [{"digest": 5, "platform": 7}]}')],
        [("index.json", b'{"manifests": 5}')],
        [("other", b"")],
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    with pytest.raises(ParseError, match="image-malformed"):
        images(tmp_path, tar(entries))


def test_an_index_in_itself_ends(tmp_path: Path) -> None:
    inner = b'{"manifests": [{"digest": "sha256:self"}]}'
    with pytest.raises(ParseError, match="indexes"):
        images(tmp_path, tar([("index.json", inner), ("blobs/sha256/self", inner)]))


def test_a_large_binary_is_read_in_parts(
    go_binary: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 250 MB gotax reads less than one: in the file, and in an image without compression."""
    path = tmp_path / "large"
    path.write_bytes(go_binary("container", "1.27.3").read_bytes())
    with path.open("r+b") as file:
        file.truncate(250_000_000)
    read: list[int] = []
    pread = FileReader._pread

    def counted(self: FileReader, offset: int, length: int) -> bytes:
        read.append(length)
        return pread(self, offset, length)

    monkeypatch.setattr(FileReader, "_pread", counted)
    with FileReader(path) as reader:
        assert read_program(reader, "/large") is not None
    assert sum(read) < 1 << 20
    info = tarfile.TarInfo("large")
    info.size = 250_000_000
    layer = tmp_path / "layer.tar"
    with layer.open("wb") as archived:
        archived.write(info.tobuf())
        archived.write(path.read_bytes()[: 8 << 20])
        archived.truncate(-(-info.size // 512) * 512 + 512 + 1024)
    read.clear()
    tree = Tree()
    with FileReader(layer) as reader:
        tree.add(reader, Budget())
    assert list(tree.programs) == ["large"]
    assert sum(read) < 1 << 20


def test_the_stream_of_a_compressed_tar_goes_forwards_only() -> None:
    stream = opened(BytesReader(zipped(tar([("a", b"1"), ("b", b"2" * 600)]))), Budget())
    assert [member.name for member in members(stream, Budget())] == ["a", "b"]
    with pytest.raises(ParseError, match="back"):
        stream.seek(0)
