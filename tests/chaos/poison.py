"""Records that must become dead letters: kinds of them, each with the reason that the documentation names for it."""
import json
import time

import mm
import serving


def base(uid, marker, **more):
    made = serving.event(uid, [[1.0, 2.0]], [0.0], time.time_ns() // 1000, marker)
    made.update(more)
    return made


def without(made, *path):
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return made


def at(us):
    when = time.time_ns() // 1000 + us
    return mm.mlrun_time(when)


def text(made):
    return json.dumps(made).encode()


# name: (reason, bytes of (uid, marker))
KINDS = {
    "cut": ("malformed_json", lambda u, m: text(base(u, m))[:-20]),
    "words": ("malformed_json", lambda u, m: b"hello " + m.encode()),
    "nul": ("malformed_json", lambda u, m: text(base(u, m)) + b"\0"),
    "bad_utf8": ("malformed_json", lambda u, m: text(base(u, m)).replace(b"serving", b"serv\xff\xfe")),
    "two_values": ("malformed_json", lambda u, m: text(base(u, m)) + b" {}"),
    "comma": ("malformed_json", lambda u, m: text(base(u, m))[:-1] + b",}"),
    "leading_zero": ("malformed_json", lambda u, m: text(base(u, m)).replace(b'"microsec": 1500', b'"microsec": 0150')),
    "control": ("malformed_json", lambda u, m: text(base(u, m)).replace(b"serving", b"ser\x01ving")),
    "deep": ("too_large", lambda u, m: text(base(u, m, more=json.loads("[" * 80 + "]" * 80)))),
    "number": ("wrong_type", lambda u, m: b'{"model": 4, "id": "%s"}' % m.encode()),
    "text_request": ("wrong_type", lambda u, m: text(base(u, m, request="many"))),
    "no_when": ("missing_when", lambda u, m: text(without(base(u, m), "when"))),
    "no_id": ("missing_id", lambda u, m: text(dict(without(base(u, m), "resp", "id"), marker=m))),
    "no_inputs": ("missing_inputs", lambda u, m: text(without(base(u, m), "request", "inputs"))),
    "no_outputs": ("missing_outputs", lambda u, m: text(without(base(u, m), "resp", "outputs"))),
    "words_for_when": ("bad_time", lambda u, m: text(base(u, m, when="yesterday"))),
    "old": ("bad_time", lambda u, m: text(base(u, m, when="1969-01-01 00:00:00+00:00"))),
    "future": ("future_timestamp", lambda u, m: text(base(u, m, when=at(3600 * 10**6)))),
    "rows": ("row_count_mismatch", lambda u, m: text(base(u, m, request={"inputs": [[1.0, 2.0]] * 2}))),
    "ragged": ("ragged_rows", lambda u, m: text(base(u, m, request={"inputs": [[1.0, 2.0], [1.0]]}))),
    "dicts": ("dict_rows", lambda u, m: text(base(u, m, request={"inputs": [{"a": 1}, [1.0, 2.0]]}))),
    "columns": ("schema_mismatch", lambda u, m: text(base(u, m, request={"inputs": [[1.0, 2.0, 3.0]]}))),
    "other_project": ("project_mismatch", lambda u, m: text(base(u, m, function_uri="q/serving:latest"))),
    "version": ("unsupported_version", lambda u, m: text(base(u, m, schema_version=99))),
    "uid": ("bad_name", lambda u, m: text(base("../" + u, m))),
    "kind": ("unknown_kind", lambda u, m: text(base(u, m, kind="strange"))),
}
OVER_HTTP = ("columns",)  # of the others the trigger says so at once, and they never reach the topic
