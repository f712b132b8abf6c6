"""A library in the cache is loaded only where nobody else can have put it there or changed it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import harness
import pytest

from helicon.formats.files import cache_path, default_cache
from helicon.gpt.native import build

pytestmark = [
    harness.posix,
    pytest.mark.skipif(build.compiler() is None, reason="no C compiler"),
]
STRANGER = 12345  # a user id that is not ours
needs_root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can give files away")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A whole cache, and a library that leaves a file RAN beside where it was compiled when it is loaded.

    For time's sake the compiler of these tests, `cc` beside it, copies what the real one made once.
    """
    folder, before, real = tmp_path_factory.mktemp("libraries"), os.environ.get("CC"), build.compiler()
    assert real is not None
    assert build.library() is not None
    (made,) = default_cache().glob("step-*.so")
    compiler = folder / "cc"
    compiler.write_text(f"""#!/bin/sh
echo "$TMPDIR" >> {folder}/told
while [ "$1" != -o ]; do shift; done
cp {made} "$2"
""")
    compiler.chmod(0o755)
    os.environ["CC"] = str(compiler)
    ended = harness.attempt(loaded, {"HELICON_CACHE": str(folder / "cache")})
    assert (ended.value, ended.err) == ("True", "")
    source = folder / "evil.c"
    ran = f'FILE *f = fopen("{folder}/RAN", "w"); if (f) fclose(f);'
    source.write_text(f"#include <stdio.h>\n__attribute__((constructor)) static void run(void) {{ {ran} }}\n")
    subprocess.run([*real, "-shared", "-fPIC", str(source), "-o", str(folder / "evil.so")], check=True)
    yield folder / "cache", folder / "evil.so"
    os.environ.pop("CC")
    if before is not None:
        os.environ["CC"] = before


def loaded(environment: dict[str, str], folder: Path | None = None) -> bool:
    """Whether there is a compiled step, as a fresh process finds it."""
    os.environ.update(environment)
    if folder:
        os.chdir(folder)
    build.library.cache_clear()
    return build.library() is not None


def planted(libraries: tuple[Path, Path], cache: Path) -> Path:
    """A copy of the cache with the stranger's library in place of ours."""
    ours, evil = libraries
    shutil.copytree(ours, cache)
    cache.chmod(0o700)
    (library,) = cache.glob("step-*.so")
    shutil.copyfile(evil, library)
    (evil.parent / "RAN").unlink(missing_ok=True)
    return library


def check(libraries: tuple[Path, Path], cache: Path, there: bool, *words: str) -> None:
    """Loads: nothing of the stranger's runs, one line says why it was not taken, and whether there is a step."""
    ended = harness.attempt(loaded, {"HELICON_CACHE": str(cache)})
    assert not (libraries[1].parent / "RAN").exists()
    assert ended.value == str(there), ended
    assert len(ended.err.splitlines()) == 1, ended.err
    for word in words:
        assert word in ended.err


@needs_root
def test_a_library_of_another_user_is_compiled_anew(libraries, tmp_path):
    library = planted(libraries, tmp_path / "cache")
    os.chown(library, STRANGER, STRANGER)
    check(libraries, tmp_path / "cache", True, str(STRANGER))
    assert library.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_library_that_others_can_write_to_is_compiled_anew(libraries, tmp_path, mode):
    library = planted(libraries, tmp_path / "cache")
    library.chmod(mode)
    check(libraries, tmp_path / "cache", True, "others")
    assert not library.stat().st_mode & 0o022


def test_a_link_is_no_library(libraries, tmp_path):
    library = planted(libraries, tmp_path / "cache")
    library.unlink()
    library.symlink_to(libraries[1])
    check(libraries, tmp_path / "cache", True, "link")
    assert not library.is_symlink()
    assert libraries[1].exists()


def test_something_else_than_a_file_does_not_hold_it_up(libraries, tmp_path):
    library = planted(libraries, tmp_path / "cache")
    library.unlink()
    os.mkfifo(library)
    check(libraries, tmp_path / "cache", True, "no file")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_a_folder_that_others_can_write_to_is_refused(libraries, tmp_path, mode):
    cache = planted(libraries, tmp_path / "cache").parent
    cache.chmod(mode)
    check(libraries, cache, False, "others", "chmod")


@needs_root
def test_a_folder_of_another_user_is_refused(libraries, tmp_path):
    cache = planted(libraries, tmp_path / "cache").parent
    os.chown(cache, STRANGER, STRANGER)
    check(libraries, cache, False, str(STRANGER))
    ended = harness.attempt(loaded, {"HELICON_CACHE": str(cache / "below")})  # made in there by us, so it is ours
    assert ended.value == "True"


def test_the_cache_is_made_for_oneself_alone(libraries, tmp_path):
    def run() -> bool:
        os.umask(0)
        return loaded({"HELICON_CACHE": str(tmp_path / "a" / "cache")})

    assert harness.attempt(run).value == "True"
    cache = tmp_path / "a" / "cache"
    (library,) = cache.glob("step-*.so")
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert not library.stat().st_mode & 0o077
    assert list(cache.iterdir()) == [library]


def test_nothing_is_compiled_through_a_folder_of_temporary_files_that_others_share(libraries, tmp_path):
    (tmp_path / "shared").mkdir()
    seen = libraries[0].parent / "told"
    seen.unlink()
    environment = {"TMPDIR": str(tmp_path / "shared"), "HELICON_CACHE": str(tmp_path / "cache")}
    assert harness.attempt(loaded, environment).value == "True"
    assert Path(seen.read_text().strip()).is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize("relative", [".", "below/it"])
def test_a_cache_may_be_named_from_the_current_folder(monkeypatch, libraries, tmp_path, relative):
    tmp_path.chmod(0o700)
    for _ in range(2):  # compiled, then only loaded
        ended = harness.attempt(loaded, {"HELICON_CACHE": relative}, tmp_path)
        assert (ended.value, ended.err) == ("True", "")
    assert len(list((tmp_path / relative).glob("step-*.so"))) == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HELICON_CACHE", relative)
    assert cache_path() == tmp_path / relative  # which is loaded where the system cannot name an open file


def test_an_empty_name_is_none(libraries, tmp_path):
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    environment = {"HELICON_CACHE": "", "XDG_CACHE_HOME": str(home), "LOCALAPPDATA": ""}
    assert harness.attempt(loaded, environment, here).value == "True"
    assert list(here.iterdir()) == []
    assert len(list((home / "helicon").glob("step-*.so"))) == 1


def test_what_compiles_but_does_not_load_is_compiled_with_fewer_flags(libraries, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fopenmp*) while [ "$1" != -o ]; do shift; done; echo x > "$2";;\n')
    with compiler.open("a") as script:
        script.write(f'*) exec {libraries[0].parent}/cc "$@";; esac\n')
    compiler.chmod(0o755)
    ended = harness.attempt(loaded, {"HELICON_CACHE": str(tmp_path / "cache"), "CC": str(compiler)})
    assert (ended.value, ended.err) == ("True", "")


def test_a_torn_library_is_compiled_anew(libraries, tmp_path):
    library = planted(libraries, tmp_path / "cache")
    library.write_bytes(library.read_bytes()[:10])
    ended = harness.attempt(loaded, {"HELICON_CACHE": str(tmp_path / "cache")})
    assert (ended.value, ended.err) == ("True", "")
    assert library.stat().st_size > 10
