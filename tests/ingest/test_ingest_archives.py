"""Hostile and broken archives: nothing is written or followed, every member has a reason, good members are taken."""

import bz2
import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from pipeline.catalog.assets import read_inventory
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import ingest_dataset, unpack
from tests.ingest.same_set import encoded, write_files, write_tar, write_zip

GOOD = {f"good{number}.jpg": encoded(number) for number in range(4)}


def listed(source: Path, home: Path | None = None) -> pd.DataFrame:
    home = home or source.parent / "home"
    dataset = DatasetSettings(name="set", source=str(source))
    ingest_dataset(dataset, Workspace(home), WorkSettings(backend="serial", shard_size=16))
    return read_inventory(Workspace(home), "set")


def reasons(source: Path, home: Path | None = None) -> dict[str, str]:
    inventory = listed(source, home)
    rejected = inventory[inventory.status == "rejected"]
    assert list(inventory[inventory.status == "accepted"].key) == [f"good{number}" for number in range(4)]
    return dict(zip(rejected.file, rejected.reason, strict=True))


def member(
    name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **facts: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for field, value in facts.items():
        setattr(info, field, value)
    return info, data


def hostile_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    write_tar(path, GOOD)
    with tarfile.open(path, "a") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def test_members_of_a_tar_that_must_not_be_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(encoded(9))
    tar = hostile_tar(
        tmp_path / "a.tar",
        [
            member("../escape.jpg", data=encoded(5)),
            member("/etc/absolute.jpg", data=encoded(6)),
            member("sub/../../escape.jpg", data=encoded(7)),
            member("link.jpg", tarfile.SYMTYPE, linkname="../secret.jpg"),
            member("hard.jpg", tarfile.LNKTYPE, linkname="good0.jpg"),
            member("device.jpg", tarfile.CHRTYPE, devmajor=1, devminor=5),
            member("pipe.jpg", tarfile.FIFOTYPE),
            member("good0.jpg", data=encoded(8)),
            member("folder", tarfile.DIRTYPE),
            member("._good0.jpg", data=b"mac"),
        ],
    )
    before = sorted(path.name for path in tmp_path.iterdir())
    assert reasons(tar) == {
        "../escape.jpg": "PATH_OUTSIDE_SOURCE",
        "/etc/absolute.jpg": "PATH_OUTSIDE_SOURCE",
        "sub/../../escape.jpg": "PATH_OUTSIDE_SOURCE",
        "link.jpg": "LINK",
        "hard.jpg": "LINK",
        "device.jpg": "NOT_A_FILE",
        "pipe.jpg": "NOT_A_FILE",
        "good0.jpg": "DUPLICATE_MEMBER",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "home"])
    assert not (tmp_path.parent / "escape.jpg").exists() and not Path("/etc/absolute.jpg").exists()


def test_members_of_a_zip_that_must_not_be_followed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", GOOD | {"../escape.jpg": encoded(5), "..\\windows.jpg": encoded(6)})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        device = zipfile.ZipInfo("device.jpg")
        device.external_attr = 0o020666 << 16
        archive.writestr(device, b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("good1.jpg", encoded(7))
    data = bytearray(path.read_bytes())
    assert reasons(path) == {
        "../escape.jpg": "PATH_OUTSIDE_SOURCE",
        "..\\windows.jpg": "PATH_OUTSIDE_SOURCE",
        "link.jpg": "LINK",
        "device.jpg": "NOT_A_FILE",
        "good1.jpg": "DUPLICATE_MEMBER",
    }
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 8] |= 1  # the last member claims to be encrypted
    path.write_bytes(data)
    assert reasons(path)["good1.jpg"] in ("ENCRYPTED", "DUPLICATE_MEMBER")


def test_a_tar_that_ends_too_soon_gives_its_whole_members(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", GOOD | {"last.jpg": encoded(5, side=400)}).read_bytes()
    start = whole.index(encoded(5, side=400)[:200])
    (tmp_path / "cut.tar").write_bytes(whole[: start + 100])
    assert reasons(tmp_path / "cut.tar") == {"last.jpg": "TRUNCATED", "cut.tar": "ARCHIVE_TRUNCATED"}
    (tmp_path / "header.tar").write_bytes(whole[: start - 300])  # in the middle of a header
    assert reasons(tmp_path / "header.tar", tmp_path / "2") == {"header.tar": "ARCHIVE_TRUNCATED"}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_compressed_tar_that_ends_too_soon_gives_its_whole_members(tmp_path: Path, pack: object) -> None:
    import random

    noise = random.Random(0).randbytes(3_000_000)
    whole = pack(write_tar(tmp_path / "whole.tar", GOOD | {"noise.bin": noise}).read_bytes())  # type: ignore[operator]
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(whole[: len(whole) - 200_000])
    found = reasons(path)
    assert found["cut.tar.gz"] == "ARCHIVE_TRUNCATED" and found["noise.bin"] == "TRUNCATED"


def test_a_tar_that_is_damaged_in_the_middle_gives_what_is_before_and_behind(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {"good0.jpg": GOOD["good0.jpg"], "lost.jpg": encoded(5), **GOOD})
    data = bytearray(tar.read_bytes())
    with tarfile.open(tar) as archive:
        lost = archive.getmember("lost.jpg")
        first = archive.getmembers()[0]
    assert first.name == "good0.jpg"
    data[lost.offset : lost.offset + 100] = b"\xff" * 100
    tar.write_bytes(data)
    assert reasons(tar) == {"a.tar": "ARCHIVE_CORRUPT"}


def test_two_tars_in_one_file_are_both_read(tmp_path: Path) -> None:
    names = sorted(GOOD)
    halves = [write_tar(tmp_path / f"{n}.tar", {name: GOOD[name] for name in names[n::2]}) for n in range(2)]
    (tmp_path / "both.tar").write_bytes(b"".join(half.read_bytes() for half in halves))
    inventory = listed(tmp_path / "both.tar")
    assert sorted(inventory.key) == ["good0", "good1", "good2", "good3"] and set(inventory.status) == {"accepted"}


def test_a_tar_header_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", GOOD)
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 3 << 30
    end = tar.read_bytes().rstrip(b"\0")
    body = end + b"\0" * (-len(end) % 512) + info.tobuf(tarfile.GNU_FORMAT)
    tar.write_bytes(body + b"\0" * 10240)
    assert reasons(tar)["a.tar"] in ("ARCHIVE_CORRUPT", "ARCHIVE_TRUNCATED")


@pytest.mark.parametrize("cut", [0.99, 0.6])
def test_a_zip_without_its_directory_gives_its_whole_members(tmp_path: Path, cut: float) -> None:
    big = {"last.jpg": encoded(5, side=700)}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        whole = write_zip(tmp_path / "whole.zip", GOOD | big, method).read_bytes()
        (tmp_path / "cut.zip").write_bytes(
            whole[: whole.index(b"PK\x01\x02")] if cut > 0.9 else whole[: int(len(whole) * cut)]
        )
        found = reasons_of_all(tmp_path / "cut.zip", tmp_path / f"home-{method}")
        assert found.pop("cut.zip") == "ARCHIVE_TRUNCATED"
        assert found.pop("last.jpg") == ("" if cut > 0.9 else "TRUNCATED")
        assert found == dict.fromkeys(GOOD, "")


def reasons_of_all(source: Path, home: Path) -> dict[str, str]:
    inventory = listed(source, home)
    return dict(zip(inventory.file, inventory.reason, strict=True))


def test_a_zip_written_as_a_stream_is_read_without_its_directory_too(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name, data in GOOD.items():
            archive.writestr(name, data)
    (tmp_path / "a.zip").write_bytes(pipe.data[: pipe.data.index(b"PK\x01\x02")])
    assert reasons(tmp_path / "a.zip") == {"a.zip": "ARCHIVE_TRUNCATED"}


def test_bombs_are_refused_before_they_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = {"bomb.jpg": b"\xff\xd8" + b"\0" * 60_000_000}
    assert reasons(write_zip(tmp_path / "a.zip", GOOD | zeros)) == {"bomb.jpg": "FILE_TOO_LARGE"}
    lying = bytearray(write_zip(tmp_path / "b.zip", GOOD | {"bomb.jpg": b"\0" * 3_000_000}).read_bytes())
    place = lying.rindex(b"bomb.jpg") - 46
    lying[place + 24 : place + 28] = struct.pack("<I", 1000)  # the directory states another size than it unpacks to
    (tmp_path / "b.zip").write_bytes(lying)
    assert reasons(tmp_path / "b.zip", tmp_path / "2") == {"bomb.jpg": "CORRUPT"}
    monkeypatch.setattr(unpack, "_FREE", 1_000_000)
    tar = write_tar(tmp_path / "c.tar.gz", GOOD | {"zeros.bin": b"\0" * 40_000_000}, "w:gz")
    found = reasons(tar, tmp_path / "3")
    assert found["c.tar.gz"] == "ARCHIVE_BOMB"
    assert sum(path.stat().st_size for path in (tmp_path / "3/cache").rglob("*.tar")) < 5_000_000


def test_members_of_a_zip_that_share_their_bytes_are_a_bomb(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", GOOD | {"one.jpg": encoded(5), "two.jpg": encoded(6)})
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo("one.jpg")
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"two.jpg") - 46
    data[entry + 42 : entry + 46] = struct.pack("<I", first.header_offset)
    path.write_bytes(data)
    assert reasons_of_all(path, tmp_path / "home")["two.jpg"] == "ARCHIVE_BOMB"


def test_files_that_only_claim_to_be_archives(tmp_path: Path) -> None:
    write_files(tmp_path / "set", GOOD | {"a.zip": b"not a zip", "b.tar.gz": b"nor a tar", "c.parquet": b"PAR1x"})
    assert reasons(tmp_path / "set") == dict.fromkeys(("a.zip", "b.tar.gz", "c.parquet"), "ARCHIVE_CORRUPT")
    for name in ("a.zip", "b.tar.gz", "c.parquet"):
        with pytest.raises(ImprimaturError):
            listed(tmp_path / "set" / name, tmp_path / "other")


def test_archives_without_a_file_in_them_are_told(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "set", GOOD | {"zeros.tar": b"\0" * 10240})
    write_zip(folder / "empty.zip", {})
    with tarfile.open(folder / "folders.tar.gz", "w:gz") as archive:
        archive.addfile(member("folder", tarfile.DIRTYPE)[0])
    assert reasons(folder) == dict.fromkeys(("zeros.tar", "empty.zip", "folders.tar.gz"), "ARCHIVE_EMPTY")


def test_odd_names_pass_through(tmp_path: Path) -> None:
    names = [
        "\u00e9.jpg",
        "e\u0301.jpg",
        "-rf.jpg",
        "a\nb.jpg",
        "<b>.jpg",
        "=1+1.jpg",
        "a'b\".jpg",
        " x .jpg",
        "CON.jpg",
    ]
    files = {name: encoded(number) for number, name in enumerate(names)}
    for source in (
        write_files(tmp_path / "folder", files),
        write_tar(tmp_path / "a.tar", files),
        write_zip(tmp_path / "a.zip", files),
    ):
        inventory = listed(source, tmp_path / f"home-{source.name}")
        assert sorted(inventory.file) == sorted(names) and set(inventory.status) == {"accepted"}
    odd = hostile_tar(tmp_path / "odd.tar", [member("\udcff.jpg", data=encoded(9))])
    assert "\\xff.jpg" in set(listed(odd, tmp_path / "home-odd").file)
