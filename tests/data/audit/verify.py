"""Verifies an exported audit: an implementation of its own of RFC 6962,
C2SP tlog-tiles, tlog-checkpoint and signed-note, with the standard library.

    verify.py DIR VERIFIER-KEY [OLD-CHECKPOINT-FILE ...]

Prints "ok SIZE ROOT", or says what is wrong and ends with 1.
"""

import base64
import hashlib
import pathlib
import sys

# Ed25519, RFC 8032, section 5.1.7.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * I % P
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


def point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, p):
    q = (0, 1, 1, 0)
    while n:
        if n & 1:
            q = add(q, p)
        p = add(p, p)
        n >>= 1
    return q


GY = 4 * pow(5, P - 2, P) % P
GX = recover_x(GY, 0)
G = (GX, GY, 1, GX * GY % P)


def is_signed(public, message, signature):
    a, r, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, G), add(r, times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def die(problem):
    print(problem)
    sys.exit(1)


def leaf(data):
    return hashlib.sha256(b"\x00" + data).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes):
    """RFC 6962, section 2.1, over leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    # Whole subtrees on a stack, as a binary counter.
    stack = []
    for n, hash in enumerate(hashes):
        while n & 1:
            hash, n = node(stack.pop(), hash), n >> 1
        stack.append(hash)
    result = stack.pop()
    while stack:
        result = node(stack.pop(), result)
    return result


def open_note(note, key):
    """signed-note: the text, if the key signed it."""
    name, key_id, encoded = key.strip().split("+", 2)
    raw = base64.b64decode(encoded)
    if raw[0] != 1 or hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != key_id:
        die("the verifier key is not one")
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, signature = line.split(" ")
        signature = base64.b64decode(signature)
        if dash == "\u2014" and signer == name and signature[:4].hex() == key_id:
            return text if is_signed(raw[1:], text.encode(), signature[4:]) else die("the signature is forged")
    die("the key signed nothing here")


def checkpoint(note, key):
    origin, size, hash = open_note(note, key).splitlines()[:3]
    if origin != key.split("+", 1)[0]:
        die("the checkpoint is of another log")
    return int(size), base64.b64decode(hash)


def path(index, width):
    groups, rest = [f"{index % 1000:03}"], index // 1000
    while rest:
        groups.insert(0, f"x{rest % 1000:03}")
        rest //= 1000
    return "/".join(groups) + ("" if width == 256 else f".p/{width}")


def tiles(size, level):
    count = size >> (8 * level)
    for index in range((count + 255) // 256):
        yield index, min(256, count - index * 256)


def main(directory, key, *old):
    directory = pathlib.Path(directory)
    size, signed = checkpoint((directory / "checkpoint").read_text(), key)
    hashes, cut = [], 0
    for index, width in tiles(size, 0):
        tile = (directory / "tile/0" / path(index, width)).read_bytes()
        bundle = (directory / "tile/entries" / path(index, width)).read_bytes()
        own = [tile[at : at + 32] for at in range(0, len(tile), 32)]
        at, entries = 0, []
        while at < len(bundle):
            length = int.from_bytes(bundle[at : at + 2], "big")
            entries.append(bundle[at + 2 : at + 2 + length])
            at += 2 + length
        if len(own) != width or len(entries) != width or at != len(bundle):
            die(f"bundle {index} does not hold {width} records")
        for n, (entry, hash) in enumerate(zip(entries, own)):
            if entry and leaf(entry) != hash:
                die(f"record {index * 256 + n} was changed")
            cut += not entry
        hashes += own
    level, below = 1, hashes
    while size >> (8 * level):
        above = [root(below[at : at + 256]) for at in range(0, len(below) // 256 * 256, 256)]
        for index, width in tiles(size, level):
            tile = (directory / f"tile/{level}" / path(index, width)).read_bytes()
            if tile != b"".join(above[index * 256 : index * 256 + width]):
                die(f"tile {index} of level {level} does not follow")
        level, below = level + 1, above
    if len(hashes) != size or root(hashes) != signed:
        die("the records do not lead to the signed root")
    for file in old:
        before, hash = checkpoint(pathlib.Path(file).read_text(), key)
        if before > size:
            die(f"the log was truncated: {before} records were signed")
        if root(hashes[:before]) != hash:
            die(f"the first {before} records have another history")
    print("ok", size, signed.hex())


main(*sys.argv[1:])
