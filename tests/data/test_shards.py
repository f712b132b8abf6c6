"""Samples of tar shards: found by the headers, read in place, whatever else the tar holds or however it is damaged."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import signal
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from helicon.data.entries import DataError, Entry
from helicon.data.files import scan
from helicon.data.reading import Reader
from helicon.data.shards import COMPRESSED, Member, read_shard
from helicon.demos.composer import write_folder
from helicon.formats.read_report import ReadReport
from helicon.modalities.base import Modality
from helicon.modalities.music import MUSIC
from helicon.modalities.text import TEXT

PICTURE = Modality(
    name="picture",
    suffixes=(".png", ".jpg"),
    read_file=lambda path: (path.read_bytes(), ReadReport()),
    write=lambda m, p: None,
    slots={},
)


def write_tar(path: Path, files: Sequence[str | tarfile.TarInfo], layout: int = tarfile.USTAR_FORMAT) -> Path:
    """A tar of files whose content is their name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=layout) as tar:
        for file in files:
            data = (file if isinstance(file, str) else file.name).encode("utf-8", "surrogateescape")
            info = tarfile.TarInfo(file) if isinstance(file, str) else file
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def content(file: object) -> bytes:
    assert isinstance(file, Member)
    with file.unpacked() as path:
        return path.read_bytes()


def names(entry: Entry) -> dict[str, str]:
    return {modality: Path(str(file)).name for modality, file in entry.files.items()}


def test_samples_are_members_of_one_key(tmp_path):
    shard = write_tar(
        tmp_path / "s.tar",
        [
            "a.png",
            "b.png",
            "x/a.jpg",
            "a.txt",
            "x/a.v1.txt",
            "x/a.json",
            "c.txt",
            "x.y/a.JPG",
            "x.y/a.txt",
            "__index__",
        ],
    )
    found = scan(tmp_path, [TEXT, PICTURE])
    assert [entry.name for entry in found.entries] == ["s/a", "s/x.y/a", "s/x/a"]
    assert [(content(e.files["text"]), content(e.files["picture"])) for e in found.entries] == [
        (b"a.txt", b"a.png"), (b"x.y/a.txt", b"x.y/a.JPG"), (b"x/a.v1.txt", b"x/a.jpg"),
    ]  # fmt: skip
    assert found.skipped == {
        f"{shard}:b.png": "no text file of the same stem", f"{shard}:c.txt": "no picture file of the same stem",
    }  # fmt: skip


def test_of_several_files_for_a_modality_the_plainest_is_used(tmp_path):
    shard = write_tar(tmp_path / "s.tar", ["a.jpg", "a.depth.png", "a.png", "a.txt"])
    found = scan(shard, [TEXT, PICTURE])
    assert [content(entry.files["picture"]) for entry in found.entries] == [b"a.png"]
    assert found.skipped == {
        f"{shard}:a.jpg": "the .png file of the same stem is used",
        f"{shard}:a.depth.png": "the .png file of the same stem is used",
    }


def test_shards_and_files_stand_side_by_side_and_do_not_clash(tmp_path):
    write_tar(tmp_path / "s1.tar", ["a.png"])
    write_tar(tmp_path / "s2.tar", ["./a.png", "cats/b.png"])
    write_tar(tmp_path / "dogs" / "s1.TAR", ["a.png", "x/b.png"])
    write_tar(tmp_path / ".hidden" / "s1.tar", ["a.png"])
    (tmp_path / "a.png").write_bytes(b"")
    found = scan(tmp_path, [PICTURE])
    assert [(entry.name, entry.label) for entry in found.entries] == [
        ("a.png", None), ("dogs/s1/a", "dogs"), ("dogs/s1/x/b", "dogs"), ("s1/a", None), ("s2/a", None),
        ("s2/cats/b", "cats"),
    ]  # fmt: skip
    assert [entry.name for entry in scan(tmp_path / "s2.tar", [PICTURE]).entries] == ["s2/a", "s2/cats/b"]


LONG = "very-" * 40 + "/" + "long-" * 30


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_pythons_reader_finds_the_same(tmp_path, layout):
    long = LONG if layout != tarfile.USTAR_FORMAT else "very-" * 20 + "/" + "long-" * 15
    files = ["a.png", "é😀/ü.png", f"{long}.png", f"{long}.é.txt", os.fsdecode(b"\xff.png"), "b b.txt", "c"]
    big = special("big.bin", tarfile.REGTYPE)
    shard = write_tar(tmp_path / "s.tar", [*files, special("d", tarfile.DIRTYPE), big, "last.png"], layout)
    with tarfile.open(shard, "r:") as tar:
        expected = [(m.name, m.offset_data, m.size) for m in tar if m.isreg()]
    found, skipped = read_shard(shard)
    assert [(m.name, m.offset, m.size) for m in found] == expected
    assert [m.name for m in found] == [*files, "big.bin", "last.png"]
    assert all(content(m) == m.name.encode("utf-8", "surrogateescape") for m in found)
    assert skipped == {}


def test_a_member_is_a_file_only_while_it_is_read(tmp_path):
    (member,), _ = read_shard(write_tar(tmp_path / "s.tar", ["x/a.v2.PNG"]))
    with member.unpacked() as path:
        assert (path.suffix, path.read_bytes()) == (".png", b"x/a.v2.PNG")
    assert not path.exists()
    with pytest.raises(ValueError, match="no picture"), member.unpacked() as path:
        raise ValueError("no picture")
    assert not path.exists()


READ_IT = """
import os, signal, sys
from pathlib import Path
from helicon.data.shards import read_shard
(member,), _ = read_shard(Path(sys.argv[1]))
with member.unpacked() as path:
    print(path)
    assert os.name == "nt" or path.stat().st_mode & 0o77 == 0
    if "killed" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="there they are known by their age")
def test_what_a_killed_process_was_reading_is_removed_by_the_next(tmp_path):
    shard, folder = write_tar(tmp_path / "s.tar", ["x/a.png"]), tmp_path / "temporary"
    folder.mkdir()
    command = [sys.executable, "-c", READ_IT, str(shard)]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([*command, "killed"], env=environment, check=False).returncode == -signal.SIGKILL
    assert [path.suffix for path in folder.iterdir()] == [".png"]
    subprocess.run(command, env=environment, check=True)
    assert not list(folder.iterdir())


def test_what_the_cache_depends_on(tmp_path):
    shard = write_tar(tmp_path / "s.tar", ["a.png", "b.png"])
    first = [entry.stamps for entry in scan(tmp_path, [PICTURE]).entries]
    assert first == [entry.stamps for entry in scan(tmp_path, [PICTURE]).entries]
    assert first[0] != first[1]
    os.utime(shard, (1, 1))
    assert all(a != b for a, b in zip(first, [entry.stamps for entry in scan(tmp_path, [PICTURE]).entries]))


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "pyd", "pth", "pt", "PKL", "mask.pkl"])
def test_a_pickle_is_never_read(tmp_path, suffix):
    shard = write_tar(tmp_path / "s.tar", [f"a.{suffix}", "a.png", f"b.{suffix}", "a.txt"])
    takes_all = Modality(
        name="thing",
        suffixes=(".pkl", ".pickle", ".pyd", ".pth", ".pt"),
        read_file=pickle.load,
        write=lambda m, p: None,
        slots={},
    )
    found = scan(shard, [TEXT, PICTURE])
    assert [names(entry) for entry in found.entries] == [{"text": "s.tar:a.txt", "picture": "s.tar:a.png"}]
    refused = {f"{shard}:{key}.{suffix}": "pickle in a shard: refused" for key in "ab"}
    assert found.skipped == refused
    with pytest.raises(DataError, match="pickle in a shard: refused"):
        scan(shard, [takes_all])


def test_links_devices_and_names_that_lead_out_are_refused(tmp_path):
    kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "block": tarfile.BLKTYPE,
             "pipe": tarfile.FIFOTYPE, "sparse": tarfile.GNUTYPE_SPARSE}  # fmt: skip
    out = ["/etc/a.png", "../a.png", "x/../../a.png"]
    shard = write_tar(
        tmp_path / "s.tar",
        [special("folder.png", tarfile.DIRTYPE), *(special(f"{n}.png", k, "/etc/passwd") for n, k in kinds.items()),
         *out, ".hidden.png", "x/._a.png", ".x/a.png", "a\nb.png", "good.png"],
    )  # fmt: skip
    found = scan(tmp_path, [PICTURE])
    assert [entry.name for entry in found.entries] == ["s/a\nb", "s/good"]
    assert found.skipped == {
        **{f"{shard}:{name}.png": "not a plain file in a shard: refused" for name in kinds},
        **{f"{shard}:{name}": "name that leads out of its shard: refused" for name in out},
    }
    assert str(found.entries[0].files["picture"]) == rf"{shard}:a\nb.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.tar"]


def test_of_a_tar_that_is_cut_off_the_whole_samples_are_used(tmp_path):
    shard = write_tar(tmp_path / "s.tar", [f"{key}.{kind}" for key in "abc" for kind in ("png", "txt")])
    whole = shard.read_bytes()
    for length in range(0, 6 * 1024, 100):  # a header and a block of content a file
        shard.write_bytes(whole[:length])
        members, skipped = read_shard(shard)
        count = max(0, length - 512 - 5 + 1024) // 1024
        assert [content(m) for m in members] == [f"{k}.{s}".encode() for k in "abc" for s in ("png", "txt")][:count]
        between = length % 1024 == 0 or length % 1024 >= 512 + 5  # no file has begun that does not end
        assert (skipped == {}) == bool(length and between)
    shard.write_bytes(whole[: 5120 + 512 + 4])
    found = scan(shard, [TEXT, PICTURE])
    assert [entry.name for entry in found.entries] == ["s/a", "s/b"]
    assert found.skipped == {
        str(shard): "cut off or damaged: the file at byte 5120 is not whole; the 5 files before that are used",
        f"{shard}:c.png": "no text file of the same stem",
    }


def test_a_damaged_header_ends_a_shard(tmp_path):
    shard = write_tar(tmp_path / "s.tar", ["a.png", "b.png", "c.png"])
    data = bytearray(shard.read_bytes())
    data[1024 + 3] ^= 1
    shard.write_bytes(data)
    found = scan(tmp_path, [PICTURE])
    assert [entry.name for entry in found.entries] == ["s/a"]
    assert found.skipped == {
        str(shard): "cut off or damaged: no tar header at byte 1024; the 1 files before that are used"
    }


def test_mutated_shards_give_members_that_are_inside_them(tmp_path):
    rng = random.Random(0)
    shard = write_tar(tmp_path / "s.tar", ["a.png", f"{LONG}.é.png", "b.txt"], tarfile.PAX_FORMAT)
    whole, faults = shard.read_bytes()[:8192], 0
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for block in range(0, len(data), 512):  # with its sum put right, the rest of a header is looked at too
            if rng.random() < 0.5:
                data[block + 148 : block + 156] = b"%06o\0 " % (sum(data[block : block + 512]) + 256
                                                                - sum(data[block + 148 : block + 156]))  # fmt: skip
        shard.write_bytes(data)
        members, skipped = read_shard(shard)
        faults += bool(skipped)
        assert all(0 <= m.offset <= m.offset + m.size <= len(data) for m in members)
        assert all(str(m).isprintable() or "\n" not in str(m) for m in members)
        assert all("\n" not in line for line in [*skipped, *skipped.values()])
    assert faults > 200


def extended(records: bytes, claimed: int | None = None) -> bytes:
    """An extended header of pax and a file after it."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(records) if claimed is None else claimed
    file = tarfile.TarInfo("a.png").tobuf(tarfile.USTAR_FORMAT)
    return info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(-(-len(records) // 512) * 512, b"\0") + file + bytes(1024)


@pytest.mark.parametrize(
    "records",
    [b"x", b"5", b" ", b"0 a=b\n", b"-6 a=b\n", b"7 a=b\n", b"99999999 a=b\n", b"9" * 600, b"12 size=-5\n",
     b"16 size=1000000\n", b"29 size=99999999999999999999\n", b"13 size=\xc2\xb2\n"],
)  # fmt: skip
def test_extended_headers_that_are_nonsense_end_a_shard(tmp_path, records):
    (tmp_path / "s.tar").write_bytes(extended(records))
    members, skipped = read_shard(tmp_path / "s.tar")
    assert members == []
    assert "damaged" in skipped[str(tmp_path / "s.tar")]


def test_a_header_that_claims_much_is_not_believed(tmp_path):
    shard = tmp_path / "s.tar"
    for data in (extended(b"", 1 << 32), extended(b"6 a=b\n" * (1 << 19))):
        shard.write_bytes(data)
        tracemalloc.start()
        members, skipped = read_shard(shard)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert members == []
        assert "damaged" in skipped[str(shard)]
        assert peak < 1 << 20


def test_many_extended_headers_are_no_deep_recursion(tmp_path):
    shard = tmp_path / "s.tar"
    one = extended(b"14 path=b.png\n")
    shard.write_bytes(one[:1024] * 3000 + one[1024:])
    members, skipped = read_shard(shard)
    assert [member.name for member in members] == ["b.png"]
    assert skipped == {}


@pytest.mark.parametrize("name", ["s.tar.gz", "s.tgz", "s.tar.zst", "s.TAR.XZ"])
def test_compressed_shards_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "a.png").write_bytes(b"")
    assert scan(tmp_path, [PICTURE]).skipped == {str(tmp_path / name): COMPRESSED}
    with pytest.raises(DataError, match=r"no files to train on; .*: compressed shard: refused, .* store it as plain"):
        scan(tmp_path / name, [PICTURE])


def test_what_is_no_tar_is_named(tmp_path):
    good = write_tar(tmp_path / "good.tar", ["a.png"])
    (tmp_path / "gzip.tar").write_bytes(gzip.compress(good.read_bytes()))
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "noise.tar").write_bytes(b"noise" * 1000)
    (tmp_path / "nothing-in-it.tar").write_bytes(bytes(10240))
    (tmp_path / "folder.tar").mkdir()
    found = scan(tmp_path, [PICTURE])
    assert [entry.name for entry in found.entries] == ["good/a"]
    assert {Path(name).name: reason for name, reason in found.skipped.items()} == {
        "gzip.tar": COMPRESSED, "empty.tar": "not a tar file", "noise.tar": "not a tar file",
    }  # fmt: skip


def test_samples_are_read_as_files_are(tmp_path):
    write_folder(tmp_path / "pieces", 3, seed=1)
    files = sorted((tmp_path / "pieces").rglob("*.mid"))
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for i, file in enumerate(files):
            tar.add(file, f"bach/{i}.mid")
            text = tarfile.TarInfo(f"bach/{i}.txt")
            text.size = 7
            tar.addfile(text, io.BytesIO(b"piece %d" % i))
        broken = tarfile.TarInfo("bach/x.mid")
        tar.addfile(broken)
        text = tarfile.TarInfo("bach/x.txt")
        text.size = 5
        tar.addfile(text, io.BytesIO(b"piece"))
    reader = Reader(scan(tmp_path / "s.tar", [TEXT, MUSIC]).entries, [TEXT, MUSIC], {})
    read = list(reader.read("reading"))
    assert [entry.name for entry, _ in read] == ["s/bach/0", "s/bach/1", "s/bach/2"]
    assert [media["text"] for _, media in read] == ["piece 0", "piece 1", "piece 2"]
    for (_, media), file in zip(read, files):
        assert media["music"].onset_s.tolist() == MUSIC.read(file)[0].onset_s.tolist()
    assert list(reader.skipped) == [f"{tmp_path / 's.tar'}:bach/x.mid"]


def test_a_shard_that_shrinks_while_it_is_read_costs_what_is_gone(tmp_path):
    shard = write_tar(tmp_path / "s.tar", ["a.txt", "b.txt"])
    reader = Reader(scan(shard, [TEXT]).entries, [TEXT], {})
    with shard.open("r+b") as file:
        file.truncate(1024)
    assert [media for _, media in reader.read("reading")] == [{"text": "a.txt"}]
    assert reader.skipped == {f"{shard}:b.txt": f"{shard}: shorter than when it was searched"}
