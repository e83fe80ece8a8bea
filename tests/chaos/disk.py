"""D1, D2, D3: disks that are full, that refuse a call, and power that goes, by LD_PRELOAD (faultio.c) on our own processes."""
import contextlib
import os
import subprocess
import time

import mm
from points import die, sites_of
from scene import Case

SHIM = os.path.join(mm.ROOT, "build/chaos/faultio.so")
CALLS = ("write", "fsync", "rename", "open", "truncate", "close")


class Disk(Case):
    """A service runs with a disk that fails at its Nth call; then it is started on one that works."""

    def places(self, r):
        """[(service, folder)]: the lake's writer, and on the embedded default the log and the database too."""
        if r.t.kind == "stack":
            return [("stream", r.t.lake_root)]
        return [("modelmon", os.path.join(r.t.data, d)) for d in ("lake", "log", "modelmon.db")]

    def with_fault(self, r, service, folder, plan, seconds, **more):
        """(code or None: it was still running; how many faults there were)"""
        s, told = r.t.services[service], os.path.join(r.t.folder, "faults")
        if os.path.exists(told):
            os.remove(told)
        s.term()
        more.update(LD_PRELOAD=SHIM, FAULT_IO=plan, FAULT_PATH=folder, FAULT_LOG=told)
        s.env.update(more)
        code = None
        try:
            s.start()
            code = self.wait(s, told, seconds)
        except RuntimeError:  # it ended before it served
            code = s.child.wait(1)
        except subprocess.TimeoutExpired:
            pass
        finally:
            s.kill9()
            for key in more:
                del s.env[key]
            r.t.restart(service)
        return code, os.path.getsize(told) if os.path.exists(told) else 0

    def wait(self, s, told, seconds):
        return s.child.wait(seconds)


class Full(Disk):
    """From the Nth write on there is no room, for a while: nothing is lost, no file is torn."""
    name = "D1"
    default_n = 3

    def run(self, r):
        for i in range(r.n):
            service, folder = self.places(r)[i % len(self.places(r))]
            n = int(300 ** r.rng.random())
            code, faults = self.with_fault(r, service, folder, f"write:{n}:{r.rng.choice(('ENOSPC', 'EDQUOT'))}:0", 4)
            r.injections += faults > 0
            if code not in (None, 1):
                r.faults.append(f"{service} on a full disk ended with {code}")


class Refuse(Disk):
    """One call fails: EIO, ENOSPC, or half of it is done. Each place in the code that makes such a call has its turn once, five
    callers deep; what has had it is kept for a binary, and the next run goes on there. Then the Nth call, whoever makes it."""
    name = "D2"
    default_n = 6
    reach_s = 4

    def run(self, r):
        rows, done = [(*place, call) for call in CALLS for place in self.places(r)], set()
        for i in range(r.n):
            row = service, folder, call = rows[i % len(rows)]
            how = r.rng.choice(("EIO", "ENOSPC", "short", "torn") if call == "write" else ("EIO", "ENOSPC"))
            if row in done:
                code, faults = self.with_fault(r, service, folder, f"{call}:{int(60 ** r.rng.random())}:{how}", self.reach_s)
            else:
                sites = sites_of(service, mm.BIN) + "." + os.path.basename(folder) + "." + call
                code, faults = self.with_fault(r, service, folder, f"{call}:0:{how}", self.reach_s, FAULT_SITES=sites)
                if not faults:
                    done.add(row)
            r.injections += faults > 0
            if code not in (None, 1, 137, *((2,) if call == "open" else ())):  # 2: at its start, a folder that it was told to use
                r.faults.append(f"{service}, {call} {how} below {os.path.basename(folder)}: it ended with {code}")

    def wait(self, s, told, seconds):
        """A moment after the call failed it has ended, or goes on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not os.path.exists(told):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return s.child.wait(0.05)
        return s.child.wait(1)


class Power(Disk):
    """The power goes at the Nth write or sync: what was appended and not synced is gone. What was acknowledged is not."""
    name = "D3"
    kinds = ("embedded",)
    default_n = 5

    def run(self, r):
        for _ in range(r.n):
            s = r.t.services["modelmon"]
            s.term()
            s.env.update(LD_PRELOAD=SHIM, FAULT_PATH=r.t.data, FAULT_IO=f"{r.rng.choice(('write', 'fsync'))}:{int(10 ** r.rng.uniform(1.5, 3.3))}:power")
            try:
                code = die(s)
                r.injections += code == 137
                if code != 137:
                    r.faults.append(f"it ended with {code} before the power went")
            except subprocess.TimeoutExpired:
                pass
            finally:
                s.kill9()
                for key in ("LD_PRELOAD", "FAULT_IO", "FAULT_PATH"):
                    del s.env[key]
                r.t.restart("modelmon")
