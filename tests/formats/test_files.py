import json
import os
import stat

import pytest

from helicon.formats.files import atomic_write, default_cache, write_json, write_text
from helicon.formats.private import NotPrivateError


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "two\nlines\n")
    assert path.read_bytes() == b"two\nlines\n"
    assert os.listdir(path.parent) == ["a.txt"]


def test_the_temporary_file_lies_beside_the_target_and_keeps_its_suffix(tmp_path):
    with atomic_write(tmp_path / "a.wav") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".wav")
        temporary.write_bytes(b"x")


def test_after_an_error_the_old_file_stands_and_nothing_is_left_behind(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text(f"half{1 / 0}")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_json_is_sorted_and_refuses_what_json_cannot_say(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": "é", "b": 1}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_new_file_has_the_mode_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "atomic", "")
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_a_cache_that_is_a_file_is_told_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "file"))
    with pytest.raises(NotPrivateError, match=r"/file: is no folder; set HELICON_CACHE to a folder of yours$"):
        default_cache()
