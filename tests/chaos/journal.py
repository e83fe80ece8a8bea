"""What the generator sent and what it was told: a file of lines, each on disk before the next step is taken.

    {"sent": [[id, uid, when_us, latency_us, [[a, b], ...], [y, ...]], ...]}     before the first byte leaves
    {"acked": [id, ...]}                                                       after the system said it is durable
    {"poison": [[body, reason]]}      each attempt to send a record that must become a dead letter
    {"poisoned": [[body, reason]]}    it was acknowledged

An event that was sent and not acknowledged may be there or not; if it is there, it is there once.
"""
import collections
import json
import os
import threading

Event = collections.namedtuple("Event", "id uid when_us latency_us inputs outputs")


class Journal:
    def __init__(self, path):
        self.path = path
        self._file = open(path, "ab", buffering=0)
        self._lock = threading.Lock()
        self.sent = self.acked = 0

    def note(self, kind, items):
        with self._lock:
            self._file.write((json.dumps({kind: items}) + "\n").encode())
            os.fdatasync(self._file.fileno())
            if kind == "sent":
                self.sent += len(items)
            elif kind == "acked":
                self.acked += len(items)

    def close(self):
        self._file.close()


def read(path):
    """({id: Event}, {acknowledged ids}, {(body, reason): [attempts, acknowledged]})"""
    sent, acked, poison = {}, set(), collections.defaultdict(lambda: [0, 0])
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            for kind, items in json.loads(line).items():
                if kind == "sent":
                    sent.update((i[0], Event(*i)) for i in items)
                elif kind == "acked":
                    acked.update(items)
                else:
                    for item in items:
                        poison[tuple(item)][kind == "poisoned"] += 1
    return sent, acked, dict(poison)
