"""CSV, JSONL and COCO-style JSON list files with labels and captions; what does not fit is named."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from helicon.data import manifest_rows
from helicon.data.entries import DataError, FolderScan
from helicon.data.files import scan
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


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def captioned(root: Path, manifest: str, content: str) -> FolderScan:
    """Pictures and texts of the files a.png, b.png, c.png and a manifest."""
    touch(root, "a.png", "b.png", "c.png")
    (root / manifest).write_text(content, encoding="utf-8")
    return scan(root, [TEXT, PICTURE], root / manifest)


def texts(found: FolderScan) -> dict[str, tuple[str, ...]]:
    return {entry.name: entry.texts for entry in found.entries}


def reasons(root: Path, found: FolderScan) -> dict[str, str]:
    return {name.removeprefix(f"{root}/"): reason for name, reason in found.skipped.items()}


CSV = "file,label,text\nb.mid,Bach,slow\na.mid,,\nno.mid,x,\nd.doc,x,\n"
JSONL = (
    '{"file": "b.mid", "label": "Bach", "text": "slow"}\n\n{"file": "a.mid"}\n{"file": "no.mid"}\n{"file": "d.doc"}\n'
)


@pytest.mark.parametrize(("name", "content"), [("m.csv", CSV), ("m.jsonl", JSONL)])
def test_a_manifest_lists_the_files(tmp_path, name, content):
    touch(tmp_path, "a.mid", "b.mid", "c.mid", "d.doc")
    (tmp_path / name).write_text(content)
    found = scan(tmp_path, [MUSIC], tmp_path / name)
    assert [(entry.name, entry.label) for entry in found.entries] == [("a.mid", None), ("b.mid", "Bach")]
    assert reasons(tmp_path, found) == {"no.mid": "not a file", "d.doc": "not of an accepted suffix"}
    captioned = scan(tmp_path, [TEXT, MUSIC], tmp_path / name)
    assert texts(captioned) == {"b.mid": ("slow",)}
    assert reasons(tmp_path, captioned)["a.mid"] == "no caption and no text file of the same stem"


def test_rows_of_other_suffixes_are_counted_and_suffixes_may_have_two_parts(tmp_path):
    touch(tmp_path, "a.mid.gz", "a.txt", "b.abc", "c.abc", "d.json")
    (tmp_path / "m.csv").write_text("file\na.mid.gz\nb.abc\nc.abc\nd.json\n")
    found = scan(tmp_path, [TEXT, MUSIC], tmp_path / "m.csv")
    (entry,) = found.entries
    assert entry.files == {"music": tmp_path / "a.mid.gz", "text": tmp_path / "a.txt"}
    assert found.passed == {".abc (export as .mid)": 2}
    assert len(found.skipped) == 3


ROWS = {
    "text.csv": "file,text\na.png,a cat\nb.png,a dog\n",
    "caption.csv": "\ufefffile,caption,licence\nb.png,a dog,MIT\na.png,a cat,\n",
    "text.jsonl": '{"file": "a.png", "text": "a cat"}\n{"file": "b.png", "text": ["a dog"]}\n',
    "caption.jsonl": '{"file": "b.png", "caption": "a dog"}\n{"file": "./a.png", "caption": ["a cat", ""]}\n',
}


@pytest.mark.parametrize("name", ROWS)
def test_captions_have_two_names(tmp_path, name):
    assert texts(captioned(tmp_path, name, ROWS[name])) == {"a.png": ("a cat",), "b.png": ("a dog",)}


SEVERAL = {
    "list.jsonl": '{"file": "a.png", "text": ["a cat", "it sleeps"]}\n{"file": "b.png", "text": "a dog"}\n',
    "rows.csv": 'file,caption\na.png,a cat\nb.png,a dog\na.png,"it sleeps"\n',
    "rows.jsonl": '{"file": "a.png", "text": "a cat"}\n{"file": "b.png", "text": "a dog"}\n'
    '{"file": "a.png", "text": "it sleeps"}\n',
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_file_may_have_several_captions(tmp_path, name):
    assert texts(captioned(tmp_path, name, SEVERAL[name])) == {"a.png": ("a cat", "it sleeps"), "b.png": ("a dog",)}


def test_the_first_label_of_several_rows_holds(tmp_path):
    touch(tmp_path, "a.mid")
    (tmp_path / "m.csv").write_text("file,label\na.mid,\na.mid,bach\na.mid,brahms\n")
    assert [entry.label for entry in scan(tmp_path, [MUSIC], tmp_path / "m.csv").entries] == ["bach"]


def test_a_caption_beside_the_file_does_where_the_manifest_has_none(tmp_path):
    touch(tmp_path, "a.txt", "a.md", "b.txt")
    found = captioned(tmp_path, "m.csv", "file,text\na.png,\nb.png,a dog\n")
    assert [sorted(entry.files) for entry in found.entries] == [["picture", "text"], ["picture"]]
    assert found.entries[0].files["text"] == tmp_path / "a.txt"
    assert texts(found) == {"a.png": (), "b.png": ("a dog",)}


COCO = {
    "images": [
        {"id": 7, "file_name": "b.png", "height": 4}, {"id": 3, "file_name": "a.png"}, {"id": 4, "file_name": "c.png"},
        {"id": 5, "file_name": "gone.png"},
    ],
    "annotations": [
        {"id": 12, "image_id": 3, "caption": "it sleeps"}, {"id": 11, "image_id": 7, "caption": "a dog"},
        {"id": 10, "image_id": 3, "caption": "a cat"}, {"id": 13, "image_id": 99, "caption": "nobody"},
        {"id": 14, "image_id": 4, "bbox": [0, 0, 1, 1]},
    ],
}  # fmt: skip


def test_coco_captions_are_in_order_of_their_ids(tmp_path):
    found = captioned(tmp_path, "m.json", json.dumps(COCO))
    assert texts(found) == {"a.png": ("a cat", "it sleeps"), "b.png": ("a dog",)}
    assert reasons(tmp_path, found) == {
        "c.png": "no caption and no text file of the same stem",
        "gone.png": "not a file",
        "m.json, annotations[3]": "a caption of no image: its image_id is not in the list",
    }


def test_coco_captions_without_ids_stay_as_they_are(tmp_path):
    annotations = [{"image_id": 3, "caption": "it sleeps"}, {"id": 1, "image_id": 3, "caption": "a cat"}]
    found = captioned(tmp_path, "m.json", json.dumps({**COCO, "annotations": annotations}))
    assert texts(found) == {"a.png": ("it sleeps", "a cat")}


def test_a_coco_list_of_pictures_needs_no_captions(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "m.json").write_text(json.dumps({**COCO, "annotations": []}))
    assert [entry.name for entry in scan(tmp_path, [PICTURE], tmp_path / "m.json").entries] == ["a.png"]


def test_coco_parts_that_do_not_fit_are_named(tmp_path):
    images = [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}, {"file_name": "c.png"}, "d.png",
              {"id": 2, "file_name": 5}]  # fmt: skip
    captions = ["a cat", "", None, 5, ["x"], "\ud800"]
    annotations = [*({"image_id": 1, "caption": caption} for caption in captions), "x", {"caption": "y"}]
    found = captioned(tmp_path, "m.json", json.dumps({"images": images, "annotations": annotations}))
    assert texts(found) == {"a.png": ("a cat",)}
    no_text = "its caption is not a string of Unicode characters"
    assert reasons(tmp_path, found) == {
        "m.json, images[1]": "its id is that of an image before it",
        "m.json, images[2]": "no id or no file_name",
        "m.json, images[3]": "no id or no file_name",
        "m.json, images[4]": "no id or no file_name",
        "m.json, annotations[1]": "its caption is empty",
        **{f"m.json, annotations[{i}]": no_text for i in range(2, 6)},
        "m.json, annotations[7]": "a caption of no image: its image_id is not in the list",
    }


@pytest.mark.parametrize("line", ["{", "[1]", '"a.mid"', "\ufffd", "[" * 100_000, "1" * 5000])
def test_a_manifest_line_that_is_no_object_is_named(tmp_path, line):
    touch(tmp_path, "a.mid")
    (tmp_path / "m.jsonl").write_text('{"file": "a.mid"}\n' + line, encoding="utf-8")
    with pytest.raises(DataError, match=r"^[^\n]*m\.jsonl, line 2: not[^\n]+$"):
        scan(tmp_path, [MUSIC], tmp_path / "m.jsonl")


def test_rows_that_do_not_fit_are_named(tmp_path):
    lines = [{"file": "a.png", "text": "ok"}, {"text": "x"}, {"file": 5, "text": "x"}, {"file": "b.png", "text": 5},
             {"file": "b.png", "text": ["x", 5]}, {"file": "b.png", "text": "\ud800"}, {"file": "x" * 5000 + ".png"},
             {"file": "a\0b.png"}, {"file": "a\ud800\n.png"}]  # fmt: skip
    found = captioned(tmp_path, "m.jsonl", "\n".join(map(json.dumps, lines)))
    assert texts(found) == {"a.png": ("ok",)}
    no_text = "its text is not a string of Unicode characters"
    long = next(name for name in found.skipped if "xxx" in name)
    assert found.skipped.pop(long) == "not a file"
    assert len(long) <= 200
    assert reasons(tmp_path, found) == {
        "m.jsonl, line 2": "no file is named", "m.jsonl, line 3": "no file is named",
        "m.jsonl, line 4": no_text, "m.jsonl, line 5": no_text, "m.jsonl, line 6": no_text,
        r"a\x00b.png": "not a file", r"a\ud800\n.png": "not a file",
    }  # fmt: skip


def test_a_text_with_commas_needs_quotes(tmp_path):
    found = captioned(tmp_path, "m.csv", 'file,text\na.png,"a cat, asleep"\nb.png,a dog, awake\n')
    assert texts(found) == {"a.png": ("a cat, asleep",)}
    assert reasons(tmp_path, found) == {
        "m.csv, line 3": "more values than columns; a text that has commas needs quotes"
    }


BAD = {
    ("m.json", b"{"): r"m\.json: not JSON as it is accepted \(",
    ("m.json", b'{\n"images": [],\n]'): r"m\.json: not JSON as it is accepted \(.* at line 3, column 1\)",
    ("m.json", b"[]"): r'm\.json: not COCO-style JSON such as \{"images": ',
    ("m.json", b'{"images": []}'): r"m\.json: not COCO-style JSON such as ",
    ("m.json", b"[" * 100_000): r"m\.json: not JSON as it is accepted: nested too deep",
    ("m.json", b"\xff\0"): r"m\.json: no text: neither UTF-8 nor another encoding that can be estimated; --data",
    ("m.csv", b"image,caption\na.png,x\n"): r"m\.csv: no column `file`, nor .* of pairs; there are: image, caption",
    ("m.csv", b""): r"m\.csv: no column `file`, nor .* of pairs; there are: none",
    ("m.csv", b"file,text\na.png,\xe9\0"): r"m\.csv: no text: neither UTF-8 ",
    ("m.csv", b"file,text\na.png," + b"x" * 200_000): r"m\.csv, line 2: field larger than field limit",
}  # fmt: skip


@pytest.mark.parametrize(("given", "message"), BAD.items(), ids=range(len(BAD)))
def test_a_manifest_that_cannot_be_read_is_named_in_a_line(tmp_path, given, message):
    name, content = given
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"^[^\n]*{message}[^\n]*$"):
        scan(tmp_path, [TEXT, PICTURE], tmp_path / name)


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1"])
def test_values_are_counted_before_any_is_made(tmp_path, value):
    """What takes a byte or two in a file takes fifty in memory."""
    coco = b'{"images":[],"annotations":[' + (value + b",") * 10_500_000 + b"1]}"
    row = b'{"file":"a.png","more":[' + (value + b",") * 2_600_000 + b"1]}"
    for name, content in {"m.json": coco, "m.jsonl": row}.items():
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        with pytest.raises(DataError, match=r"^\S+m\.json.*: not JSON as it is accepted \(of at most .* lists and obj"):
            scan(tmp_path, [PICTURE], tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(content) + (1 << 20)
        tracemalloc.stop()


def test_as_many_pictures_and_captions_as_are_accepted_fit_the_counts():
    picture = {"license": 5, "file_name": "a.jpg", "coco_url": "http://a", "height": 480, "width": 640,
               "date_captured": "2013-11-14 16:28:13", "flickr_url": "http://b", "id": 1}  # fmt: skip
    captions = [{"image_id": 1, "id": i, "caption": "A clean, well lit room"} for i in range(5)]
    content = json.dumps([picture, *captions])
    assert content.count(",") * manifest_rows.MAX_LINES <= manifest_rows.MAX_VALUES * 6
    assert content.count("{") * manifest_rows.MAX_LINES <= manifest_rows.MAX_CONTAINERS * 6


def test_there_must_be_a_manifest(tmp_path):
    with pytest.raises(
        DataError, match=r"m\.csv: no such manifest; a CSV or JSONL file .* or COCO-style JSON is needed"
    ):
        scan(tmp_path, [MUSIC], tmp_path / "m.csv")


def test_manifests_in_a_folder_are_not_read_by_themselves(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "m.json").write_text(json.dumps(COCO))
    (tmp_path / "m.jsonl").write_text('{"file": "a.png", "text": "a cat"}\n')
    assert [entry.name for entry in scan(tmp_path, [PICTURE]).entries] == ["a.png"]
    with pytest.raises(DataError, match="no files to train on as pairs of equal stem"):
        scan(tmp_path, [TEXT, PICTURE])


def test_captions_of_real_pictures(shared_data):
    found = scan(shared_data, [TEXT, PICTURE], shared_data / "pairs_metadata.csv")
    assert not found.skipped
    assert texts(found)["pairs/emoji/keycap.png"] == ("keycap #",)


def test_a_long_name_that_is_passed_over_is_told_in_short(tmp_path):
    touch(tmp_path, "a.png")
    (tmp_path / "m.jsonl").write_text(json.dumps({"file": f"b{'x' * 5000}.png"}))
    with pytest.raises(DataError, match=r"passed over: .*: not a file") as caught:
        scan(tmp_path, [PICTURE], tmp_path / "m.jsonl")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["text.csv", "text.jsonl"])
@pytest.mark.parametrize("codec", ["utf-16", "cp1252"])
def test_a_manifest_may_have_any_encoding_and_line_ends(tmp_path, name, codec):
    content = ROWS[name].replace("a dog", "un café à la crème").replace("\n", "\r\n")
    touch(tmp_path, "a.png", "b.png")
    (tmp_path / name).write_bytes(content.encode(codec))
    found = scan(tmp_path, [TEXT, PICTURE], tmp_path / name)
    assert texts(found) == {"a.png": ("a cat",), "b.png": ("un café à la crème",)}
    assert found.notes == [
        f"manifest   {tmp_path / name}: {'in UTF-16' if codec == 'utf-16' else 'estimated to be in cp1252'}"
    ]
    if codec == "cp1252":
        found = scan(tmp_path, [TEXT, PICTURE], tmp_path / name, {"encoding": "cp1251"})
        assert texts(found)["b.png"] == ("un cafй а la crиme",)


def test_a_coco_list_may_be_utf16(tmp_path):
    touch(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "m.json").write_bytes(json.dumps(COCO).encode("utf-16"))
    assert texts(scan(tmp_path, [TEXT, PICTURE], tmp_path / "m.json"))["b.png"] == ("a dog",)


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.json"])
def test_a_caption_of_spaces_is_none(tmp_path, name):
    annotations = [{"id": 1, "image_id": 3, "caption": " \n"}, {"id": 2, "image_id": 7, "caption": "a dog"}]
    content = {
        "m.csv": 'file,text\na.png,"  "\nb.png,a dog\n',
        "m.jsonl": '{"file": "a.png", "text": [" ", "\\n"]}\n{"file": "b.png", "text": ["", "a dog"]}\n',
        "m.json": json.dumps({**COCO, "annotations": annotations}),
    }
    found = captioned(tmp_path, name, content[name])
    assert texts(found) == {"b.png": ("a dog",)}
    assert reasons(tmp_path, found)["a.png"] == "no caption and no text file of the same stem"
