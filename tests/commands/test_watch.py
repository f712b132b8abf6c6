"""What generating says of its speed."""

from __future__ import annotations

from types import SimpleNamespace

from tiny_bundles import text_bundle

from helicon.commands.generate import SamplingProgress


def test_the_wait_for_the_first_token_does_not_count_as_speed(monkeypatch, capsys):
    """4 s for a prompt, then 2 s for six tokens."""
    clock = SimpleNamespace(now=10.0)
    monkeypatch.setattr("helicon.commands.generate.time", SimpleNamespace(monotonic=lambda: clock.now))
    watch = SamplingProgress(text_bundle(), "text", stream=False, name="level 0: ")
    for clock.now, new_tokens in ((14.0, 1), (16.0, 2)):
        watch.on_step([SimpleNamespace(new_tokens=new_tokens)] * 3)  # type: ignore[list-item]
    watch.end()
    assert capsys.readouterr().err == "level 0: 6 tokens, the first after 4.00 s, then 3 a second\n"
