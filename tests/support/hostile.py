"""Requests that no client means, made from a random source: what a server must refuse, and what it answers to that."""
import contextlib
import re
import select
import socket
import struct
import time


class Target:
    """What requests are made of: a good one, whose answer is known, and one that must never be served."""

    def __init__(self, method, path, body, status, hidden):
        self.method, self.path, self.body, self.status, self.hidden = method, path, body, status, hidden

    def good(self, method=None, path=None, version="HTTP/1.1", headers=(), body=None):
        body = self.body if body is None else body
        method, path = self.method if method is None else method, self.path if path is None else path
        lines = [f"{method} {path} {version}", "Host: h", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def head(*lines):
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# --- each makes one request: bytes, and whether they are good after all ---
def bad_line(r, t):
    method = r.choice(["GE T", "get", "FOO", "\0GET", "", "P" * 5000, "POST\t", "CONNECT", "PRI", "TRACE", "(GET)"])
    target = r.choice(["x", "*", "http://h/", "//", "/%zz", "/%00", "/a/../b", "/%2e%2e/x", "/\x01", "/a b", "/" + "a/" * 40, "/\xe9"])
    version = r.choice(["HTTP/9.9", "HTTP/1.2", "HTTP/", "", "HTTP/1.1 ", "http/1.1", "HTTP/0.9", "HTTP/1.1\0"])
    return r.choice([t.good(method=method), t.good(path=target), t.good(version=version)]), False


def long_target(r, t):
    n = r.choice([300, 1000, 8000])
    path = r.choice(["/" + "x" * r.randint(8200, 90000), t.path + "?" + "&".join(["a=b"] * n), t.path + "?" + "&" * n * 3,
                     t.path + "?x=" + "%20" * 4000])
    return t.good(path=path), False


def bad_headers(r, t):
    line = r.choice(["X: " + "y" * r.randint(17000, 100000), "\r\n".join(["A: b"] * r.randint(101, 15000)),
                     "Cookie: " + "; ".join(["a=b"] * r.randint(1000, 9000)), "Cookie: " + ";" * 16000, "X Y: 1", "X(: 1", ": 1", "X: a\r\n b",
                     "X: a\nY: b", "X: a\0b", "X: a\x01", "Host: other", "noname", "X : 1", " X: 1", "X: \x7f"])
    return t.good(headers=[line]), False


def bad_length(r, t):
    value = r.choice(["-1", "0x4", "4, 4", "", "+4", "99999999999999999999", "4\r\nContent-Length: 5", "4 4", "1e3", "4\r\nTransfer-Encoding: chunked"])
    return head(f"POST {t.path} HTTP/1.1", "Host: h", f"Content-Length: {value}") + b"abcd" + t.hidden, False


def chunked(r, t):
    body = r.choice([b"zz\r\n", b"-1\r\nx", b"ffffffffffffffffff\r\nx", b"5\r\nab\r\n0\r\n\r\n", b"2\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
                     b"3;" + b"e" * 70000 + b"\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n", b"0\r\nX: " + b"y" * 70000 + b"\r\n\r\n", b"\r\n0\r\n\r\n"])
    method = r.choice(["POST", "GET", "DELETE"])
    return head(f"{method} {t.path} HTTP/1.1", "Host: h", "Transfer-Encoding: chunked") + body, False


def smuggled(r, t):
    lines = r.choice([["Content-Length: 4", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "Content-Length: 4"],
                      ["Content-Length: 0", f"Content-Length: {len(t.hidden)}"], ["Transfer-Encoding: gzip"],
                      ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], ["Transfer-Encoding: chunked, identity"],
                      ["Transfer-Encoding : chunked"], ["Content-Length: 4\nX: 1"], ["Content-Length: 4\0 0"], ["X: a\r\n Content-Length: 4"],
                      ["Host: h", "Content-Length: 0"]])
    first = r.choice(["GET /nowhere", f"POST {t.path}", "DELETE /nowhere", "PUT /"])
    return head(f"{first} HTTP/1.1", "Host: h", *lines) + b"0\r\n\r\n" + t.hidden, False


def noise(r, t):
    return r.choice([bytes(r.randrange(256) for _ in range(r.randint(1, 3000))), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + r.randbytes(200),
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n" * 3000, b"\n\n\n", b" " * 20000, b"A" * 200000, b"GET"]), False


def mutated(r, t):
    data = bytearray(t.good(body=b"{not an event" if t.body else b"", path=None if t.body else "/nowhere"))
    for _ in range(r.randint(1, 6)):
        at = r.randrange(len(data))
        r.choice([lambda: data.__setitem__(at, r.randrange(256)), lambda: data.insert(at, r.choice(b"\0\r\n :;,%\xff")), lambda: data.pop(at)])()
    return bytes(data), False


def pipelined(r, t):
    return t.good(path="/livez", method="GET", body=b"") * r.randint(2, 20) + bad_headers(r, t)[0], False


def split(r, t):
    return t.good(headers=["Connection: close"]), True


KINDS = [bad_line, long_target, bad_headers, bad_length, chunked, smuggled, noise, mutated, pipelined, split]


def pieces(r, data, whole):
    """Some come at once, some byte by byte at the start, some in pieces; some end early."""
    if not whole and r.random() < 0.2:
        data = data[:r.randrange(len(data) + 1)]
    way = r.random()
    if way < 0.5:
        return [data]
    cuts = sorted({r.randrange(len(data) + 1) for _ in range(r.randint(1, 12))}) if way < 0.9 else range(min(len(data), 60))
    return [p for p in (data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)])) if p]


def wait(r, whole, left):
    return left if left is not None else 10 if whole else 0.01 if r.random() < 0.8 else 0.1


def speak(port, parts, r, whole, patience=None):
    """What the server says until it closes, or is silent while it waits for more: then we leave, politely or not. With patience
    it has so many seconds to close."""
    heard, end = b"", time.monotonic() + (patience or 0)
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # it was faster to close
            for part in parts:
                s.sendall(part)
            if not whole and r.random() < 0.3:
                s.shutdown(socket.SHUT_WR)
            while select.select([s], [], [], wait(r, whole, patience and max(0.0, end - time.monotonic())))[0]:
                got = s.recv(65536)
                if not got:
                    break
                heard += got
        if r.random() < 0.3:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    return heard


def faults(kind, heard, whole, target):
    """What is wrong with the answers, as words; None when they are what they must be."""
    statuses = [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", heard)]
    if whole:
        return None if statuses == [target.status] else f"a good request among them was answered {statuses}"
    if kind is pipelined:
        return None
    # libmicrohttpd 0.9 says the head of a refusal of its own twice, and 500 to a chunk's line that fills its memory
    fine = (204, 500, 501, 505) if kind is chunked else (204, 501, 505)
    right = len(set(statuses)) < 2 and all(400 <= s < 500 or s in fine for s in statuses)
    return None if right else f"it was answered {statuses}"


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])
