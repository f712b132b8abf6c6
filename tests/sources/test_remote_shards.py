"""Shards of a server: listed without being brought, and on this disk only while they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from helicon.data.streaming.shards import find_shards, units_of
from helicon.sources.places import SourceError
from helicon.sources.shards import remote_shards

pytest.importorskip("aiohttp")
from file_server import Server

FILES = {f"/data/{i}.tar": bytes([i]) * (1000 + i) for i in range(4)}


@pytest.fixture(autouse=True)
def _asked_anew():
    remote_shards.cache_clear()


def test_shards_are_listed_with_their_sizes_and_brought_one_at_a_time(tmp_path):
    with Server(dict(FILES)) as server:
        shards, notes = find_shards(f"{server.url}/data/{{0..3}}.tar", tmp_path)
        assert sorted((shard.name, shard.size) for shard in shards) == [(f"{i}.tar", 1000 + i) for i in range(4)]
        assert notes == []
        assert len(units_of(shards)) == 1
        for shard in shards:
            with shard.local() as path:
                assert path.read_bytes() == FILES[f"/data/{shard.name}"]
                assert len(list(tmp_path.iterdir())) == 1
            assert list(tmp_path.iterdir()) == []


def test_a_shard_that_changes_has_another_key(tmp_path):
    with Server(dict(FILES)) as server:
        place, keys = f"{server.url}/data/0.tar", []
        for tag in ('"1"', '"2"'):
            server.tags["/data/0.tar"] = tag
            remote_shards.cache_clear()
            (unit,) = units_of(find_shards(place, tmp_path)[0])
            keys.append((unit.name, unit.key))
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_shards_that_are_not_there_are_passed_over(tmp_path):
    with Server(dict(FILES)) as server:
        shards, notes = find_shards(f"{server.url}/data/{{2..5}}.tar", tmp_path)
        assert len(shards) == 2
        assert notes == ["passed over: 2 shards, such as 4.tar: not found"]
        with pytest.raises(SourceError, match=r"none of 2 shards could be had, 7\.tar: not found"):
            find_shards(f"{server.url}/data/{{7..8}}.tar", tmp_path)


def test_a_shard_that_goes_away_is_an_error_of_reading(tmp_path):
    with Server(dict(FILES)) as server:
        (shard,), _ = find_shards(f"{server.url}/data/1.tar", tmp_path)
        del server.files["/data/1.tar"]
        with pytest.raises(OSError, match="not found"), shard.local():
            pass
    assert list(Path(tmp_path).iterdir()) == []
