#!/usr/bin/env python3
"""Takes the power away at random moments: everything that was not synced is gone, then spb must carry on.

    sudo power_loss.py SPB [--iterations 20] [--seed N]

The repository and the worktrees lie on an ext4 file system in a file. Its shutdown ioctl drops what is not on disk, as a
power cut does; the file system is then mounted again, which replays its journal. The events that the harness has read and
the notes of the nodes are elsewhere and survive. The rules are those of crash_loop.py.
"""

import fcntl
import os
import struct
import subprocess
import sys
import tempfile

from crash_loop import Case, arguments, baseline
from faultlib import Report, Spb, kill_descendants

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
# Set where the mounts are ours alone: another process with a copy of them would keep a dead file system alive.
OWN_MOUNTS = "SPB_FAULTS_OWN_MOUNTS"


class Disk:
    """An ext4 file system in a file."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="spb-power-")
        self.image, self.path = self.directory + "/image", self.directory + "/mounted"
        os.mkdir(self.path)
        self._run("truncate", "-s", "256M", self.image)
        self._run("mkfs.ext4", "-q", self.image)
        self.mount()

    @staticmethod
    def _run(*command):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def mount(self):
        # A long commit interval: what is not synced is not on disk.
        self._run("mount", "-o", "loop,commit=300", self.image, self.path)

    def lose_power(self):
        handle = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(handle)

    def remove(self):
        self._run("umount", self.path)
        os.remove(self.image)
        os.rmdir(self.path)
        os.rmdir(self.directory)


class PowerCase(Case):
    """A case whose machine dies."""

    def __init__(self, spb, options, seed):
        self.disk = Disk()
        super().__init__(spb, options, "power", seed, disk=self.disk.path)
        subprocess.run(["sync", "-f", self.sandbox.repo], check=True)

    def die(self, engine):
        self.disk.lose_power()
        kill_descendants()
        subprocess.run(["umount", self.disk.path], check=True)
        self.disk.mount()
        return True

    def run(self):
        try:
            return super().run()
        finally:
            self.disk.remove()


def main():
    options = arguments(__doc__)
    if os.geteuid() != 0:
        print("SKIP  power loss: mounting needs root")
        return 0
    if not os.environ.get(OWN_MOUNTS):
        os.environ[OWN_MOUNTS] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    spb, report = Spb(options.spb), Report()
    if not baseline(spb, options, report):
        return report.end()
    print(f"seed {options.seed}")
    for number in range(options.iterations):
        case = PowerCase(spb, options, options.seed + number)
        violations = case.run()
        report.add(f"#{number} power seed={options.seed + number}", violations, case.note(), case.kills == 0)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
