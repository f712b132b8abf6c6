"""Only regular files are opened, and only up to a size; nothing waits for a pipe."""

from __future__ import annotations

import json
import os
import socket

import pytest

from helicon.formats.files import json_text, open_regular, read_regular, write_json

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")


def test_a_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"some\r\nbytes")
    assert read_regular(tmp_path / "a", 20) == b"some\r\nbytes"
    with open_regular(str(tmp_path / "a")) as file:
        assert file.read(4) == b"some"


@posix
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("pipe", tmp_path / "link-to-pipe")
    os.symlink("/dev/zero", tmp_path / "link-to-device")
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in ("pipe", "link-to-pipe", "link-to-device", "socket", "/dev/zero"):
            with pytest.raises(OSError, match="only regular files") as caught:
                open_regular(name)
            assert caught.value.filename == name
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


@posix
def test_links_are_followed_only_where_they_may_be(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    os.symlink("a", tmp_path / "link")
    assert read_regular(tmp_path / "link", 1) == b"a"
    with pytest.raises(OSError, match="a symbolic link, only regular files"):
        open_regular(tmp_path / "link", links=False)


def test_a_large_file_is_not_read(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    with pytest.raises(OSError, match="3 bytes; at most 2 are read") as caught:
        read_regular(tmp_path / "a", 2)
    assert caught.value.filename == str(tmp_path / "a")


def test_json_shows_what_a_terminal_would_obey(tmp_path):
    text = "é \u202e \x1b[31m \x7f \x9b \u2028 \ud800 \U0001f600 \U000e0001"
    shown = json_text({"a": text})
    assert shown.replace("\n", "").isprintable()
    assert all(part in shown for part in ("é", "\U0001f600", "\\u202e", "\\u001b"))
    assert json.loads(shown) == {"a": text}
    write_json(tmp_path / "a.json", {"a": text})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": text}
