"""Places that are elsewhere are brought to the cache once, whole or not at all."""

import threading
from pathlib import Path

import fsspec
import pytest
from file_server import Server

from helicon.sources.local import is_brought, local_path, source_notes
from helicon.sources.places import SourceError
from helicon.sources.record import folder_of

SIZE = 8 << 20  # bytes: more than lies in buffers when a transfer breaks off


def brought(place: str, cache: Path) -> tuple[Path, list[str]]:
    lines: list[str] = []
    path = local_path(place, cache, lines.append)
    return path, [*lines, *source_notes(place, cache)]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_path_is_itself(tmp_path: Path) -> None:
    assert local_path(str(tmp_path), tmp_path) == tmp_path
    assert local_path(tmp_path.as_uri(), tmp_path) == tmp_path


def test_a_file_comes_once(server: Server, tmp_path: Path) -> None:
    server.files["/a%20b.tar"] = b"shard" * 1000
    path, _ = brought(f"{server.url}/a%20b.tar", tmp_path)
    assert path.name == "a b.tar"
    assert path.read_bytes() == b"shard" * 1000
    assert brought(f"{server.url}/a%20b.tar", tmp_path)[0] == path
    assert server.asked["/a%20b.tar"] == 1


def test_braces_name_shards_and_missing_ones_are_counted(server: Server, tmp_path: Path) -> None:
    server.files |= {f"/t-{i:03d}.tar": bytes(10 + i) for i in (0, 1, 3)}
    server.status["/t-003.tar"] = 403
    folder, lines = brought(f"{server.url}/t-{{000..003}}.tar", tmp_path)
    assert names(folder) == ["t-000.tar", "t-001.tar"]
    assert any("passed over: 2 files that could not be had, such as t-00" in line for line in lines)
    assert server.asked["/t-002.tar"] == server.asked["/t-003.tar"] == 1  # no try would help
    assert brought(f"{server.url}/t-{{000..003}}.tar", tmp_path)[1][-2:] == lines[-2:]


def test_a_folder_that_lists_its_files(server: Server, tmp_path: Path) -> None:
    server.pages["/d/"] = (
        '<a href="?C=N;O=D">Name</a> <a href="/">up</a> <a href="../x.mid">x</a> <a href="jazz/">jazz</a>'
        '<a href="a.mid">a</a> <a href="%2e%2e%2f%2e%2e%2fescape.mid">e</a> <a href="z.zip">z</a>'
        '<a href="http://elsewhere.invalid/b.mid">b</a> <a href=".hidden.mid">h</a>'
    )
    server.pages["/d/jazz/"] = '<a href="c.mid">c</a> <a href="/d/jazz/">itself</a>'
    server.files |= {"/d/a.mid": b"a", "/d/jazz/c.mid": b"c"}
    folder, lines = brought(f"{server.url}/d/", tmp_path)
    assert names(folder) == ["a.mid", "jazz/c.mid"]
    assert any("1 .zip" in line and "that lead out of the folder" in line for line in lines)
    assert not list(tmp_path.rglob("escape*"))


def test_a_store_of_objects(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for name in ("bucket/x/1.tar", "bucket/x/deep/2.tar", "bucket/y/3.tar"):
        store.pipe(f"/{name}", name.encode())
    assert names(brought("memory://bucket/x", tmp_path)[0]) == ["1.tar", "deep/2.tar"]
    assert brought("memory://bucket/y/3.tar", tmp_path)[0].read_bytes() == b"bucket/y/3.tar"


@pytest.mark.parametrize("ranges", [True, False])
def test_what_breaks_off_goes_on(tmp_path: Path, ranges: bool) -> None:
    data = bytes(range(256)) * (SIZE // 256)
    with Server({"/a.tar": data}, ranges) as server:
        server.cuts["/a.tar"] = [SIZE // 2, SIZE // 4] if ranges else [SIZE // 2]
        assert brought(f"{server.url}/a.tar", tmp_path)[0].read_bytes() == data
        starts = [start for _, start in server.starts]
    assert starts[0] == 0
    assert all(starts[1:]) is ranges
    assert len(starts) == (3 if ranges else 2)


def test_what_breaks_off_again_and_again_is_named_and_kept(server: Server, tmp_path: Path) -> None:
    data = bytes(range(256)) * (SIZE // 256)
    server.files["/a.tar"], server.cuts["/a.tar"] = data, [SIZE // 2, 0, 0, 0]
    with pytest.raises(SourceError, match=r"/a\.tar: broke off: .*the same command goes on from here"):
        brought(f"{server.url}/a.tar", tmp_path)
    assert not is_brought(f"{server.url}/a.tar", tmp_path)
    assert "a.tar" not in {path.name for path in tmp_path.rglob("*")}
    server.cuts.clear()
    assert brought(f"{server.url}/a.tar", tmp_path)[0].read_bytes() == data
    assert server.starts[-1][1] > 0


def test_a_file_that_changed_meanwhile_begins_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar"], server.cuts["/a.tar"] = b"1" * SIZE, [SIZE // 2, 0, 0, 0]
    with pytest.raises(SourceError):
        brought(f"{server.url}/a.tar", tmp_path)
    server.files["/a.tar"], server.cuts["/a.tar"], server.tags["/a.tar"] = b"2" * SIZE, [], '"2"'
    assert brought(f"{server.url}/a.tar", tmp_path)[0].read_bytes() == b"2" * SIZE


def test_a_file_that_is_shorter_by_now_begins_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar"], server.cuts["/a.tar"] = bytes(SIZE), [SIZE // 2, 0, 0, 0]
    with pytest.raises(SourceError):
        brought(f"{server.url}/a.tar", tmp_path)
    server.files["/a.tar"], server.cuts["/a.tar"] = b"short", []
    assert brought(f"{server.url}/a.tar", tmp_path)[0].read_bytes() == b"short"


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar"], server.status["/a.tar"] = b"a", 503
    with pytest.raises(SourceError, match="503"):
        brought(f"{server.url}/a.tar", tmp_path)
    assert server.asked["/a.tar"] == 4


def test_times_of_modification_are_the_servers(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar"] = b"a"
    times = [brought(f"{server.url}/a.tar", tmp_path / name)[0].stat().st_mtime_ns for name in "xy"]
    assert times[0] == times[1]  # so that the cache of what is prepared holds


def test_what_is_missing_in_the_cache_comes_again(server: Server, tmp_path: Path) -> None:
    server.files |= {"/0.tar": b"0", "/1.tar": b"1"}
    folder, _ = brought(f"{server.url}/{{0..1}}.tar", tmp_path)
    (folder / "1.tar").unlink()
    assert names(brought(f"{server.url}/{{0..1}}.tar", tmp_path)[0]) == ["0.tar", "1.tar"]
    assert server.asked["/0.tar"] == 1


def test_two_at_once_bring_it_once(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helicon.sources.local.POLL_S", 0.01)
    server.files["/a.tar"] = bytes(3_000_000)
    threads = [threading.Thread(target=brought, args=(f"{server.url}/a.tar", tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked["/a.tar"] == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{url}/none.tar", "none.tar: not found"),
        ("{url}/no.tar", "403"),
        ("{url}/page", "no list of files there; accepted are .tar"),
        ("{url}/login.tar", "a web page instead of the file"),
        ("{url}/x.tar.gz", "compressed shard: refused"),
        ("{url}/{{0..3}}.tar", "none of 4 files could be had, 0.tar: not found"),
        ("{url}/{{3..0}}.tar", "a range such as"),
        ("{url}/{{0..99999999999}}.tar", "a range such as"),
        ("{url}/{{0..999}}{{0..9999}}.tar", "10,000,000 files, at most"),
        ("{url}/{{a,../../b}}.tar", "may lead elsewhere"),
        ("nothing://host/a.tar", "no place that can be read; accepted are https://"),
        ("zip://a.tar::{url}/a.zip", "no place that can be read"),
        ("http://127.0.0.1:1/a.tar", "broke off: Cannot connect"),
        ("memory://nowhere/", "not found"),
    ],
)
def test_faults_are_one_line(server: Server, tmp_path: Path, place: str, message: str) -> None:
    server.status["/no.tar"] = 403
    server.pages |= {"/page": "<p>hello</p>", "/login.tar": "<p>who are you?</p>"}
    with pytest.raises(SourceError, match=r"^[^\n]*$") as error:
        brought(place.format(url=server.url), tmp_path)
    assert message in str(error.value)


def test_secrets_of_a_url_are_not_shown(server: Server, tmp_path: Path) -> None:
    place = f"{server.url.replace('//', '//me:secret@')}/none.tar?token=secret"
    with pytest.raises(SourceError) as error:
        brought(place, tmp_path)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("place", "extra"), [("s3://bucket/a.tar", "s3"), ("gs://bucket/a.tar", "gs")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, extra: str
) -> None:  # fmt: skip
    def missing(scheme: str, **options: object) -> None:
        raise ImportError("Install it to access it")

    monkeypatch.setattr("fsspec.filesystem", missing)
    with pytest.raises(SourceError, match=rf'pip install "helicon-gpt\[{extra}\]"'):
        brought(place, tmp_path)


def test_a_full_disk_is_not_the_servers_fault(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/a.tar"] = b"a"
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        brought(f"{server.url}/a.tar", tmp_path)
    assert server.asked["/a.tar"] <= 1
    assert not (folder_of(f"{server.url}/a.tar", tmp_path) / "files" / "a.tar").exists()
