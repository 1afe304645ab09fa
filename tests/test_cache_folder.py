"""Files of data in the cache folder: whole or not there, bounded, owner-only; no folder is no cache."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from accelc.cache_folder import DataFolder, content_key


def test_what_is_written_is_read(tmp_path: Path) -> None:
    files = DataFolder("encodings", tmp_path / "new")
    assert files.read("a") is None
    files.write("a", b"one")
    files.write("a", b"two")
    assert files.read("a") == b"two"
    assert files.stats() == (1, 3)
    assert [path.name for path in (tmp_path / "new" / "encodings").iterdir()] == ["a.json"]
    assert (tmp_path / "new" / "encodings").stat().st_mode & 0o077 == 0


def test_the_oldest_files_go_first(tmp_path: Path) -> None:
    files = DataFolder("circuits", tmp_path, limit_bytes=10)
    for age, key in ((30, "a"), (20, "b"), (10, "c")):
        files.write(key, b"1234")
        os.utime(tmp_path / "circuits" / f"{key}.npz", (1e9 - age, 1e9 - age))
    files.write("d", b"12")
    assert [files.read(key) for key in "abcd"] == [None, b"1234", b"1234", b"12"]
    assert files.clear() == 3
    assert files.stats() == (0, 0)


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for files in (DataFolder("circuits", False), DataFolder("circuits", blocked)):
        files.write("a", b"1")
        assert files.read("a") is None
        assert (files.stats(), files.clear()) == ((0, 0), 0)


def test_the_key_depends_on_settings_and_content() -> None:
    array = np.arange(6.0)
    keys = {content_key(settings, each) for settings in ([1], [2]) for each in (array, array + 1)}
    assert len(keys) == 4
    assert content_key([1], array) == content_key([1], array.astype(">f8"))
