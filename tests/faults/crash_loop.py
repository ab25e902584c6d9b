#!/usr/bin/env python3
"""Kills spb at random moments, resumes until the run is done, and checks that nothing was lost, repeated or left.

    crash_loop.py SPB [--iterations 20] [--modes engine,group,tree,int,term,hup,int2,stop] [--seed N]
    crash_loop.py SPB --nth 1..40 [--syscall fsync,fdatasync,rename,renameat2]

The real binary, many moments, one seed for each case, and a fixed list of rules that is checked after every recovery.

Modes
  engine  SIGKILL to the engine alone: its nodes live on as orphans
  group   SIGKILL to its process group
  tree    SIGKILL to it and every descendant
  int, term, hup   one polite signal: it must end within --grace seconds and leave no process
  int2    two SIGINT: it must end at once
  stop    SIGSTOP for three seconds, then SIGCONT: it must carry on
With --nth the engine runs under strace, which kills it at the N-th of these system calls of a thread: a sweep over the
instants that durability depends on.

Rules (A: acknowledged on standard output before the kill)
  R1 every node ended when the run succeeded      R2 needs end before dependents start
  R3 no node runs twice at the same time          R4 git: no lock, no half-made worktree, sound, clean
  R5 no process survives                          R6 A nodes never start again
  R7 reading commands work after every crash      R8 it ends, within a bounded number of resumes, unaided
  R9 after success, another `apply` runs nothing  R10 the result holds the work of every node
  R11 no directory of a node is left
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time

from faultlib import (
    GRAPH,
    Engine,
    Report,
    Sandbox,
    Spb,
    check_log,
    check_processes,
    check_repository,
    check_result,
    check_rooms,
    crash_signs,
    kill_descendants,
)

SIGNALS = {"int": signal.SIGINT, "int2": signal.SIGINT, "term": signal.SIGTERM, "hup": signal.SIGHUP}


class Case:
    """One sandbox, brought to success through several deaths."""

    def __init__(self, spb, options, mode, seed, nth=None, disk=None):
        self.spb, self.options, self.mode, self.nth = spb, options, mode, nth
        self.random = random.Random(seed)
        self.sandbox = Sandbox(disk)
        self.workflow = self.sandbox.write_workflow(options.sleep)
        self.violations, self.acknowledged, self.marks = [], set(), []
        self.kills = self.attempts = 0

    def run(self):
        try:
            if self.until_success():
                self.check_everything()
        finally:
            kill_descendants()
            if self.options.keep and self.violations:
                print("        kept", self.sandbox.root)
            else:
                self.sandbox.remove()
        return sorted(set(self.violations))

    def note(self):
        return f"kills={self.kills} attempts={self.attempts}"

    def wrong(self, what):
        self.violations.append(what)
        return False

    def until_success(self):
        resume = False
        calm = False  # The kill cannot come any more: let it finish.
        while True:
            self.attempts += 1
            if self.attempts > self.options.max_kills + 3:
                return self.wrong(f"R8 not done after {self.attempts - 1} attempts: {engine.stderr()[-300:]!r}")
            command = self.spb.resume() if resume else self.spb.apply(self.workflow)
            wants_kill = self.kills < self.options.max_kills and not calm
            engine = Engine(command, self.sandbox, self.strace() if self.nth and wants_kill else ())
            died = self.live(engine, wants_kill)
            if not engine.wait(self.options.timeout):
                return self.wrong(f"R8 no end within {self.options.timeout} s")
            lines = len(self.sandbox.entries())
            engine.drain()
            if self.nth:
                died = engine.code in (-9, 137)
                self.kills += died
                calm = not died
            self.acknowledged |= set(engine.acknowledged())
            self.violations += crash_signs(0 if died else engine.code, engine.stderr())
            if engine.code == 0:
                return True
            if not died and resume and not self.acknowledged and not self.sandbox.entries():
                resume = False  # Killed before there was a run: there is nothing to resume.
                continue
            if not died and not self.nth:
                return self.wrong(f"R8 failed by itself, code {engine.code}: {engine.stderr()[-400:]!r}")
            resume = True
            self.check_reading()
            self.marks.append((lines, frozenset(self.acknowledged)))

    def strace(self):
        calls = self.options.syscall
        inject = f"inject={calls}:signal=SIGKILL:when={self.nth}"
        return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject]

    def live(self, engine, wants_kill):
        """Lets it live until the moment of its death. Returns whether it was killed or told to end."""
        if self.nth or not wants_kill or self.moment(engine):
            return False
        self.kills += 1
        return self.die(engine)

    def die(self, engine):
        if self.mode == "engine":
            os.kill(engine.pid, signal.SIGKILL)
        elif self.mode == "group":
            os.killpg(engine.pid, signal.SIGKILL)
        elif self.mode == "tree":
            os.kill(engine.pid, signal.SIGSTOP)
            kill_descendants()
        elif self.mode == "stop":
            os.kill(engine.pid, signal.SIGSTOP)
            time.sleep(3)
            os.kill(engine.pid, signal.SIGCONT)
            return False
        else:
            self.ask(engine)
        return True

    def ask(self, engine):
        os.kill(engine.pid, SIGNALS[self.mode])
        limit = self.options.grace
        if self.mode == "int2":
            time.sleep(0.3)
            if engine.process.poll() is None:
                os.kill(engine.pid, signal.SIGINT)
            limit = 5
        if not engine.wait(limit):
            self.wrong(f"R8 still running {limit} s after {self.mode}")
            kill_descendants()
        self.violations += [f"{found} (after {self.mode})" for found in check_processes(grace=0.1)]

    def moment(self, engine):
        """Waits for the moment of the kill; True when the engine ended before. One third uniform in time, the others
        shortly after the k-th acknowledgement or start: bugs live around events, where uniform times rarely fall."""
        kind, count = self.random.choice("tas"), self.random.randint(1, 6)
        if kind == "t":
            return engine.wait(self.random.uniform(0, self.options.span))
        before, end = self.sandbox.starts(), time.time() + self.options.span
        while time.time() < end:
            if engine.process.poll() is not None:
                return True
            seen = len(engine.acknowledged()) if kind == "a" else self.sandbox.starts() - before
            if seen >= count:
                break
            time.sleep(0.002)
        return engine.wait(self.random.uniform(0, 0.03))

    def check_reading(self):
        for command in self.spb.reading_commands():
            done = subprocess.run(
                command,
                cwd=self.sandbox.repo,
                env=self.sandbox.env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=30,
            )
            nothing_yet = b"no runs yet" in done.stderr
            if done.returncode and not nothing_yet:
                self.wrong(f"R7 `{' '.join(command[1:])}` ended with {done.returncode}: {done.stderr[-200:]!r}")

    def check_everything(self):
        self.violations += check_processes()
        kill_descendants()
        entries = self.sandbox.entries()
        for at, done in self.marks:
            again = sorted({entry[0] for entry in entries[at:] if entry[1] == "start" and entry[0] in done})
            if again:
                self.wrong(f"R6 {again} ran again after having been acknowledged")
        self.violations += check_log(entries) + check_repository(self.sandbox, self.options.pool)
        self.violations += check_result(self.sandbox) + check_rooms(self.sandbox)
        engine = Engine(self.spb.apply(self.workflow), self.sandbox)
        if not engine.wait(self.options.timeout) or engine.code:
            self.wrong(f"R9 another apply ended with {engine.code}: {engine.stderr()[-200:]!r}")
        again = sorted({entry[0] for entry in self.sandbox.entries()[len(entries) :] if entry[1] == "start"})
        if again:
            self.wrong(f"R9 another apply ran {again}")
        self.violations += check_processes()


def baseline(spb, options, report):
    """An undisturbed run: it must be right, and shows how long one takes."""
    sandbox = Sandbox()
    began = time.time()
    engine = Engine(spb.apply(sandbox.write_workflow(options.sleep)), sandbox)
    ended = engine.wait(options.timeout) and engine.code == 0
    options.span = time.time() - began
    engine.drain()
    violations = [] if ended else [f"code {engine.code}: {engine.stderr()[-400:]}"]
    if ended:
        violations = check_log(sandbox.entries()) + check_repository(sandbox, options.pool)
        violations += check_processes() + check_result(sandbox) + check_rooms(sandbox)
        unseen = sorted(set(GRAPH) - set(engine.acknowledged()))
        if unseen:
            violations.append(f"no event acknowledges {unseen}")
    report.add("undisturbed", violations, f"{options.span:.2f} s")
    sandbox.remove()
    return ended


def arguments(description=__doc__):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spb", help="the binary")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--modes", default="engine,group,tree,int,term,hup,int2,stop")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--max-kills", type=int, default=3, help="deaths of one run")
    parser.add_argument("--sleep", type=float, default=0.5, help="seconds that each node takes")
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--grace", type=float, default=15)
    parser.add_argument("--pool", type=int, default=16, help="worktrees that may stay")
    parser.add_argument("--nth", help="A..B: kill at the N-th system call instead, for each N")
    parser.add_argument("--syscall", default="fsync,fdatasync,rename,renameat,renameat2")
    parser.add_argument("--keep", action="store_true", help="keep the sandbox of a failed case")
    return parser.parse_args()


def main():
    options = arguments()
    spb, report = Spb(options.spb), Report()
    if not baseline(spb, options, report):
        return report.end()
    print(f"seed {options.seed}")
    if options.nth:
        first, last = map(int, options.nth.split(".."))
        cases = [(f"nth={n} {options.syscall}", "nth", options.seed + n, n) for n in range(first, last + 1)]
    else:
        modes = options.modes.split(",")
        cases = [
            (f"#{n} {modes[n % len(modes)]} seed={options.seed + n}", modes[n % len(modes)], options.seed + n, None)
            for n in range(options.iterations)
        ]
    for name, mode, seed, nth in cases:
        case = Case(spb, options, mode, seed, nth)
        violations = case.run()
        # A run that ended before its kill proves nothing.
        report.add(name, violations, case.note(), proves_nothing=case.kills == 0)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
