"""A TCP proxy that breaks connections where it is told: after k more bytes of one direction, or around a COMMIT.

    cut(k, "up" | "down")   the next connection that has passed k more bytes that way ends, both ends at once
    lose_answer()           the next COMMIT reaches the server, its answer nobody
    hold_commit(seconds)    the next COMMIT reaches the server so much later; its client is cut off at once
"""
import select
import socket
import threading
import time

CHUNK = 65536


class Proxy:
    def __init__(self, port):
        self.target, self.done = port, 0
        self._plan, self._lock, self._stop = None, threading.Lock(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.settimeout(0.2)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join()
        self._listener.close()

    # --- what is to be broken ---
    def arm(self, kind, amount, way="up"):
        with self._lock:
            self._plan = [kind, amount, way]
            self.done = 0

    def cut(self, k, way):
        self.arm("cut", k, way)

    def lose_answer(self):
        self.arm("lose", 0)

    def hold_commit(self, seconds):
        self.arm("hold", seconds)

    def wait(self, seconds):
        """True: it has happened."""
        end = time.monotonic() + seconds
        while not self.done and time.monotonic() < end:
            time.sleep(0.01)
        with self._lock:
            self._plan = None
        return bool(self.done)

    def _take(self, way, data):
        """(bytes to pass on, what then) of the plan, which is used up by whoever it meets."""
        with self._lock:
            if not self._plan or self._plan[2] != way:
                return data, None
            kind, amount, _ = self._plan
            if kind == "cut":
                self._plan[1] -= len(data)
                if self._plan[1] > 0:
                    return data, None
                keep = data[:max(0, len(data) + self._plan[1])]
            elif b"COMMIT\0" not in data:
                return data, None
            else:
                keep = data
            self._plan, self.done = None, 1
            return keep, (kind, amount)

    # --- connections ---
    def _accept(self):
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._pair, args=(client,), daemon=True).start()

    def _pair(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 3)
        except OSError:
            client.close()
            return
        ends = {client: (server, "up"), server: (client, "down")}
        try:
            while not self._stop.is_set():
                for end in select.select(list(ends), [], [], 0.2)[0]:
                    if not self._move(end, *ends[end], client, server):
                        return
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def _move(self, end, other, way, client, server):
        data = end.recv(CHUNK)
        keep, then = self._take(way, data)
        if then and then[0] == "hold":
            client.close()
            time.sleep(then[1])
        other.sendall(keep)
        if then and then[0] == "lose":
            server.settimeout(5)
            server.recv(CHUNK)  # it has answered: it is committed
        if then and then[0] == "hold":
            time.sleep(0.2)  # it is read before the connection ends
        return bool(data) and not then
