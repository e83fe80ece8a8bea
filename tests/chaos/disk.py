"""D1, D2, D3: disks that are full, that refuse a call, and power that goes, by LD_PRELOAD (faultio.c) on our own processes."""
import os
import subprocess

import mm
from points import die
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

    def with_fault(self, r, service, folder, plan, seconds):
        """(code or None: it was still running; how many faults there were)"""
        s, told = r.t.services[service], os.path.join(r.t.folder, "faults")
        if os.path.exists(told):
            os.remove(told)
        s.term()
        s.env.update(LD_PRELOAD=SHIM, FAULT_IO=plan, FAULT_PATH=folder, FAULT_LOG=told)
        code = None
        try:
            s.start()
            code = s.child.wait(seconds)
        except RuntimeError:  # it ended before it served
            code = s.child.wait(1)
        except subprocess.TimeoutExpired:
            pass
        finally:
            s.kill9()
            for key in ("LD_PRELOAD", "FAULT_IO", "FAULT_PATH", "FAULT_LOG"):
                del s.env[key]
            r.t.restart(service)
        return code, os.path.getsize(told) if os.path.exists(told) else 0


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
    """One call fails: EIO, ENOSPC, or half of it is done."""
    name = "D2"
    default_n = 6

    def run(self, r):
        for i in range(r.n):
            service, folder = self.places(r)[i % len(self.places(r))]
            call = CALLS[i // len(self.places(r)) % len(CALLS)]
            how = r.rng.choice(("EIO", "ENOSPC", "short", "torn") if call == "write" else ("EIO", "ENOSPC"))
            code, faults = self.with_fault(r, service, folder, f"{call}:{int(60 ** r.rng.random())}:{how}", 3)
            r.injections += faults > 0
            if code not in (None, 1, 137):
                r.faults.append(f"{service}, {call} {how} below {os.path.basename(folder)}: it ended with {code}")


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
