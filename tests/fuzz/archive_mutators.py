"""Mutators of files that hold others, or tensors: safetensors, checkpoints (zip and pickle), tar."""

from __future__ import annotations

import io
import itertools
import json
import pickletools
import struct
import zipfile
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from mutations import BROKEN, NUMBERS, ROUNDS, blob, mutator, number, tree, written

# --- safetensors


def safetensors(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """The header edited as a tree, its length, padding and the tensors' bytes."""
    seed = rng.choice(seeds)
    size = int.from_bytes(seed[:8], "little")
    header, body = json.loads(seed[8 : 8 + size]), seed[8 + size :]
    for _ in range(rng.choice(ROUNDS)):
        match rng.randrange(10):
            case 0:
                body = body + bytes(rng.randrange(1, 9)) if rng.randrange(2) else body[: -rng.randrange(1, 9)]
            case 1:
                header = _shifted(rng, header)
            case 2 | 3:
                at = rng.randrange(len(body) + 1)
                body = body[:at] + rng.randbytes(len(body[at : at + 4])) + body[at + 4 :]
            case 4:
                names = rng.sample(list(header), len(header))
                header = {name: header[name] for name in names}
            case 5:
                notes = header.get("__metadata__") or {"a": "b"}
                header = {**header, "__metadata__": tree(rng, notes)}
            case 6 if header:
                name = rng.choice(list(header))
                edited = tree(rng, header[name])
                header = {**header, name: edited} if rng.randrange(2) else {**header, f"{name}x": edited}
            case _:
                header = tree(rng, header)
                header = header if isinstance(header, dict) else {"x": header}
    text = written(header, bool(rng.randrange(2)))
    text += b" " * (-len(text) % 8 if rng.random() < 0.9 else rng.randrange(9))
    length = len(text) if rng.random() < 0.95 else number(rng, len(text), 64)
    data = struct.pack("<Q", length) + text + body
    return blob(rng, data) if rng.random() < BROKEN else data


def _shifted(rng: Random, header: dict) -> dict:
    """A tensor of another shape or kind, whose end is right for it, or not."""
    name = rng.choice([name for name in header if name != "__metadata__"] or [""])
    item = header.get(name)
    if not isinstance(item, dict) or not isinstance(item.get("data_offsets"), list):
        return header
    kind = rng.choice(("F64", "F32", "F16", "BF16", "I64", "I8", "U8", "BOOL", "F8_E4M3", "U64", "C64", "XX"))
    begin = item["data_offsets"][0] if item["data_offsets"] else 0
    shape = rng.choice(([], [0], [1], [2**32, 2**32], [2**63], [-1], [3, 0, 2**40], [1] * 70, [1.5], item.get("shape")))
    return {**header, name: {"dtype": kind, "shape": shape, "data_offsets": [begin, rng.choice(NUMBERS)]}}


# --- checkpoints

Op = bytes  # of a pickle, with its argument
GADGETS = (
    b"}", b"]", b")", b"N", b"\x88", b"K\x00", b"J\xff\xff\xff\xff", b"(", b"t", b"\x85", b"\x86", b"\x87", b"a",
    b"s", b"u", b"e", b"0", b"1", b"2", b"q\x00", b"h\x00", b"h\xff", b"j\xff\xff\xff\xff", b"r\xff\xff\xff\x7f",
    b"Q", b"R", b"b", b"\x81", b"\x8f", b"\x90", b"\x91", b".", b"cbuiltins\neval\n", b"cos\nsystem\n",
    b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n",
    b"ctorch\nSize\n", b"c_codecs\nencode\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ctorch\ndevice\n", b"cbuiltins\nset\n", b"cbuiltins\nbytearray\n",
    b"ccollections\nCounter\n", b"I9999999999999999\n", b"G\x7f\xf0" + bytes(6), b"\x8a\xff" + b"\x7f" * 255,
    b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\xff", b"X\x03\0\0\0abc", b"B\xff\xff\xff\x7f", b"2" * 50 + b"t",
    b"2\x86" * 30, b"]2a" * 5, b"\x80\x05", b"\x95\xff\xff\xff\xff\xff\xff\xff\xff", b"\x94", b"V\\ud800\n",
)  # fmt: skip
ENTRIES = ("data/0", "data/1", "byteorder", "version", "../x", "data.pkl", "")


class Member(NamedTuple):
    """An entry of the zip, whose path has the archive's folder cut off; ops instead of data where it is a pickle."""

    name: str
    data: bytes = b""
    ops: tuple[Op, ...] = ()
    packed: bool = False


def checkpoint_split(data: bytes) -> list[Member]:
    """Entries in order."""
    parts = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            inside, body = name.partition("/")[2], archive.read(name)
            parts.append(Member(inside, ops=ops_of(body)) if inside == "data.pkl" else Member(inside, body))
    return parts


def ops_of(body: bytes) -> tuple[Op, ...]:
    """Opcodes of a pickle."""
    starts = [place for _, _, place in pickletools.genops(body)] + [len(body)]
    return tuple(body[a:b] for a, b in itertools.pairwise(starts))


def checkpoint_edit(rng: Random, part: Member) -> Member:
    """Opcodes doubled, dropped, swapped, or others between them, and their arguments; names and bytes of the others."""
    if not part.ops:
        match rng.randrange(4):
            case 0:
                return part._replace(name=rng.choice(ENTRIES))
            case 1:
                return part._replace(packed=True, data=bytes(1 << rng.choice((0, 4, 18))))
        return part._replace(data=blob(rng, part.data, (b"little", b"big", b"3\n", b"\0")))
    ops, i = list(part.ops), rng.randrange(len(part.ops))
    match rng.randrange(8):
        case 0:
            ops.insert(i, rng.choice(GADGETS))
        case 1:
            ops[i] = rng.choice(GADGETS)
        case 2:
            del ops[i : i + rng.choice((1, 1, 2, 10))]
        case 3:
            j = rng.randrange(len(ops))
            ops[i], ops[j] = ops[j], ops[i]
        case 4:
            j = rng.randrange(len(ops))
            ops[i:i] = ops[j : j + rng.choice((1, 3, 10))] * rng.choice((1, 2, 10))
        case 5 | 6:
            numbers = [j for j, op in enumerate(ops) if op[:1] in (b"K", b"M", b"J", b"h", b"q")]
            i = rng.choice(numbers or [i])
            if len(ops[i]) > 1:
                old = int.from_bytes(ops[i][1:], "little")
                ops[i] = ops[i][:1] + number(rng, old, 8 * len(ops[i]) - 8).to_bytes(len(ops[i]) - 1, "little")
        case 7:
            ops[i] = ops[i][:1] + blob(rng, ops[i][1:], (b"\xff\xff\xff\x7f", b"\n", b"cpu", b"cuda:0", b"meta", b"\0"))
    return part._replace(ops=tuple(ops))


def checkpoint_join(parts: list[Member]) -> bytes:
    """A zip file as PyTorch writes it, but for its alignment."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        names = set()
        for name, data, ops, packed in parts:
            if name not in names:  # zipfile would warn
                archive.writestr(
                    f"archive/{name}", b"".join(ops) or data, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
                )
            names.add(name)
    return out.getvalue()


_zipped = mutator(checkpoint_split, checkpoint_edit, checkpoint_join, moves=0.08)


def checkpoint(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """The opcodes more than all else; seldom fields of the zip itself, or a bare pickle without any zip."""
    if rng.random() < 0.7:
        parts = checkpoint_split(rng.choice(seeds))
        i = next(i for i, part in enumerate(parts) if part.ops)
        for _ in range(rng.choice(ROUNDS)):
            parts[i] = checkpoint_edit(rng, parts[i]) if parts[i].ops else parts[i]
        return b"".join(parts[i].ops) if rng.random() < 0.03 else checkpoint_join(parts)
    data = _zipped(rng, seeds)
    if rng.random() < 0.4:  # a field of a header: versions, flags, methods, sizes, offsets
        starts = [i for mark in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for i in range(len(data)) if data.startswith(mark, i)]
        at = rng.choice(starts) + rng.randrange(4, 46)
        old = int.from_bytes(data[at : at + 2], "little")
        return data[:at] + number(rng, old, 16).to_bytes(2, "little") + data[at + 2 :]
    return data


# --- tar

BLOCK = 512
KINDS = (b"0", b"\0", b"7", b"1", b"2", b"3", b"5", b"6", b"x", b"g", b"L", b"K", b"S", b"X", b"Z")
LARGEST = b"\x80" + b"\xff" * 11  # base 256
SIZES = (LARGEST, b"\xff" * 12, b"-1", b" " * 12, b"9" * 12, b"\0")
TAR_NAMES = (
    b"../x.png", b"/x.png", b".x.png", b"x.pkl", b"\xff.png", b"\x1b[2J.png", b"a" * 100, b"", b"x.png/", b"./a.png",
)  # fmt: skip
RECORD_WORDS = (b"=", b"\n", b"0 ", b"999999999 ", b"-5 ", b"+5 ", b"1_0 ")
RECORDS = (
    b"path=b/../../x.png", b"path=/etc/x.png", b"size=0", b"size=3", b"size=-1", b"size=99999999999999999999999",
    b"size=\xd9\xa1", b"path=", b"path", b"linkpath=x", b"GNU.sparse.major=1", b"GNU.sparse.size=99999", b"mtime=1e999",
    b"path=\xff\xfe.png", b"path=\x1b[31m.png", b"path=" + b"a/" * 500 + b"x.png", b"hdrcharset=BINARY",
)  # fmt: skip


class File(NamedTuple):
    """A header, whose size is that of its data where `size` is empty; data. raw: the checksum is left as it is."""

    name: bytes
    kind: bytes
    data: bytes
    size: bytes = b""
    link: bytes = b""
    prefix: bytes = b""
    magic: bytes = b"ustar\x0000"
    raw: bytes = b""


def tar_split(data: bytes) -> list[File]:
    """Files of an honest tar; its two empty blocks are files without a name."""
    parts, at = [], 0
    while at < len(data):
        head = data[at : at + BLOCK]
        if not any(head):
            break
        size, at = int(head[124:135], 8), at + BLOCK
        name, link = head[:100].rstrip(b"\0"), head[157:257].rstrip(b"\0")
        parts.append(File(name, head[156:157], data[at : at + size], b"", link, head[345:500].rstrip(b"\0")))
        at += -(-size // BLOCK) * BLOCK
    return parts


def record(line: bytes) -> bytes:
    """A record of an extended header, with its length."""
    size = len(line) + 3
    while len(str(size)) + len(line) + 2 != size:
        size = len(str(size)) + len(line) + 2
    return b"%d %s\n" % (size, line)


def tar_edit(rng: Random, part: File) -> File:
    """Another name, kind, size, link, or record of an extended header."""
    match rng.randrange(9):
        case 0:
            return part._replace(kind=rng.choice(KINDS))
        case 1:
            n = number(rng, len(part.data), 33)
            return part._replace(size=rng.choice((b"%011o\0" % n, *SIZES)))
        case 2:
            return part._replace(name=rng.choice(TAR_NAMES))
        case 3:
            return part._replace(prefix=rng.choice((b"", b"..", b"/", b"a" * 155, b"\xff")))
        case 4:
            return part._replace(kind=b"x", data=b"".join(map(record, rng.choices(RECORDS, k=rng.randrange(1, 4)))))
        case 5:
            return part._replace(kind=b"L", data=rng.choice((b"long/name.png\0", b"x" * 3000, b"", b"../x.png\0")))
        case 6 if part.kind in b"xg":
            return part._replace(data=blob(rng, part.data, RECORD_WORDS))
        case 7:
            return part._replace(raw=blob(rng, _header(part), (b"\0", b"777", LARGEST))[:BLOCK].ljust(BLOCK, b"\0"))
    return part._replace(data=blob(rng, part.data))


def _header(part: File) -> bytes:
    size = part.size or b"%011o\0" % len(part.data)
    head = part.name[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size[:12].ljust(12, b"\0")
    head += b"0" * 11 + b"\0" + b" " * 8 + (part.kind or b"0")[:1] + part.link[:100].ljust(100, b"\0") + part.magic
    head = (head.ljust(345, b"\0") + part.prefix[:155]).ljust(BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def tar_join(parts: list[File]) -> bytes:
    """With checksums, and two empty blocks at the end."""
    out = []
    for part in parts:
        out += [part.raw or _header(part), part.data, bytes(-len(part.data) % BLOCK)]
    return b"".join(out) + bytes(2 * BLOCK)


tar = mutator(tar_split, tar_edit, tar_join)
