"""Shared by the fault harnesses: how spb is called, a sandbox to run it in, and what must hold whatever happens.

Python 3.8 or later, standard library only, Linux. Everything that knows spb's command line, its events or its workflow
files is in `Spb` and `workflow`; the rest knows processes and git.

The harness makes itself a child subreaper: a process that escapes from the engine (`setsid`, double fork) becomes its
child, so that leaks are found without control groups and without root. It signals only its own descendants, by pid.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Spb:
    """The commands of one binary, and what its events say."""

    def __init__(self, binary):
        self.binary = os.path.abspath(binary)

    def apply(self, workflow_file):
        return [self.binary, "apply", workflow_file, "--events", "ndjson"]

    def resume(self):
        return [self.binary, "resume", "--events", "ndjson"]

    def reading_commands(self):
        """Commands that must work after every crash."""
        return [[self.binary, *words.split()] for words in ("status --json", "status", "runs", "logs")]

    @staticmethod
    def acknowledged(line):
        """The node whose success this line of events acknowledges: no crash may make it run again. Else None."""
        try:
            event = json.loads(line)
        except ValueError:
            return None
        done = event.get("event") == "node_finished" and event.get("outcome") in ("succeeded", "cached")
        return event["node"] if done else None


def workflow(name, nodes):
    """The text of a workflow: JSON, which is YAML."""
    return json.dumps({"version": 1, "name": name, "nodes": nodes}, indent=1) + "\n"


# Notes its start and end in a log outside of the worktree, and notices when it runs twice at the same time.
NODE = r"""
set +e
id=$SPB_NODE; log='@LOG@'; name=$(echo "$id" | tr ':#' '--'); lock='@LOCKS@'/$name
if ! mkdir "$lock" 2>/dev/null; then
  other=$(cat "$lock/pid" 2>/dev/null)
  state=$(sed 's/.*) //;s/ .*//' "/proc/${other:-none}/stat" 2>/dev/null)
  case "$state" in '' | Z | X) ;; *) echo "$id overlap $$ $other" >> "$log" ;; esac
  mkdir -p "$lock"
fi
echo $$ > "$lock/pid"
echo "$id start $$" >> "$log"
sleep @SLEEP@
mkdir -p out && echo "result of $id" > 'out/@ID@.txt' && cp 'out/@ID@.txt' "$name.txt"
echo "$id end $$" >> "$log"
rm -rf "$lock"
"""

# The nodes of the file: what they need, and what makes several of them at run time.
NODES = {
    "a": ([], {}),
    "b": (["a"], {}),
    "c": (["a"], {}),
    "d": (["a"], {}),
    "e": (["b", "c"], {"for_each": [1, 2, 3]}),
    "f": (["c", "d"], {}),
    "g": (["e"], {"loop": {"until": "loop.index == 2", "max": 3}}),
    "h": (["e", "f"], {}),
    "i": (["g", "h"], {}),
}

# What runs, with what has to have ended before it.
GRAPH = {
    "a": [],
    "b": ["a"],
    "c": ["a"],
    "d": ["a"],
    "e:1": ["b", "c"],
    "e:2": ["b", "c"],
    "e:3": ["b", "c"],
    "f": ["c", "d"],
    "g#1": ["e:1", "e:2", "e:3"],
    "g#2": ["g#1"],
    "h": ["e:1", "e:2", "e:3", "f"],
    "i": ["g#2", "h"],
}


def file_of(node):
    """The file that a node leaves."""
    return node.replace(":", "-").replace("#", "-") + ".txt"


class Sandbox:
    """A temporary directory with a repository, a home, the log of the nodes and their locks.

    The first two may be put elsewhere, on a disk that is to fail: `disk` is a directory there."""

    def __init__(self, disk=None):
        self.root = tempfile.mkdtemp(prefix="spb-faults-")
        self.disk = disk or self.root
        self.repo, self.home = self.disk + "/repo", self.disk + "/home"
        self.log, self.locks = self.root + "/log", self.root + "/locks"
        for directory in (self.repo + "/src", self.home, self.locks):
            os.makedirs(directory)
        open(self.log, "a").close()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "GIT_", "SPB_"))}
        self.env.update(
            HOME=self.home,
            SPB_WORKTREES=self.disk + "/worktrees",
            GIT_CONFIG_GLOBAL="/dev/null",
            GIT_CONFIG_NOSYSTEM="1",
            NO_COLOR="1",
            CI="1",
            RUST_BACKTRACE="1",
            LC_ALL="C.UTF-8",
        )
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "tester@example.org")
        self.git("config", "user.name", "Tester")
        for number in range(20):
            with open(f"{self.repo}/src/{number}.txt", "w") as file:
                file.write(f"file {number}\n" * 20)
        with open(self.repo + "/.gitignore", "w") as file:
            file.write("out/\n")
        self.commit()

    def git(self, *words, check=True):
        return subprocess.run(
            ["git", *words],
            cwd=self.repo,
            env=self.env,
            check=check,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "state")

    def write_workflow(self, sleep):
        """The measuring workflow, committed; each node waits `sleep` seconds."""
        nodes = {}
        for name, (needs, several) in NODES.items():
            script = NODE.replace("@ID@", name).replace("@LOG@", self.log)
            script = script.replace("@LOCKS@", self.locks).replace("@SLEEP@", str(sleep))
            nodes[name] = {
                "needs": needs,
                "run": script.strip(),
                "outputs": {"result": {"file": f"out/{name}.txt"}},
                "artifacts": [f"out/{name}.txt"],
                **several,
            }
        with open(self.repo + "/workflow.yaml", "w") as file:
            file.write(workflow("crash", nodes))
        self.commit()
        return "workflow.yaml"

    def entries(self):
        """What the nodes noted: (node, `start` or `end` or `overlap`, pid ...)."""
        with open(self.log) as file:
            return [tuple(line.split()) for line in file if line.strip()]

    def starts(self):
        return sum(entry[1] == "start" for entry in self.entries())

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------- processes


def stat(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            text = file.read()
    except OSError:
        return None
    state, parent, _, session, *_ = text[text.rindex(")") + 2 :].split()
    return {"pid": pid, "state": state, "parent": int(parent), "session": int(session)}


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()[:160]
    except OSError:
        return "?"


def descendants(zombies=False):
    children = {}
    for name in os.listdir("/proc"):
        process = stat(int(name)) if name.isdigit() else None
        if process:
            children.setdefault(process["parent"], []).append(process)
    found, open_ids = [], [os.getpid()]
    while open_ids:
        for process in children.get(open_ids.pop(), []):
            open_ids.append(process["pid"])
            if zombies or process["state"] not in "ZX":
                found.append(process)
    return found


ENGINES = set()  # Reaped by their Popen object, not here.
SPAWN = threading.Lock()
OUR_SESSION = os.getsid(0)  # Helpers of ours (git) share it; what an engine started never does.


def reap_orphans():
    """Reaps what was handed to us, as init would: a zombie that nobody reaps looks alive to `kill(pid, 0)`."""
    with SPAWN:
        for process in descendants(zombies=True):
            ours = process["parent"] == os.getpid() and process["session"] != OUR_SESSION
            if ours and process["state"] in "ZX" and process["pid"] not in ENGINES:
                try:
                    os.waitpid(process["pid"], os.WNOHANG)
                except ChildProcessError:
                    pass


def reap_for_ever():
    while True:
        time.sleep(0.05)
        reap_orphans()


threading.Thread(target=reap_for_ever, daemon=True).start()


def kill_descendants():
    for _ in range(20):
        living = descendants()
        if not living:
            return
        for process in living:
            try:
                os.kill(process["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
        reap_orphans()


class Engine:
    """One execution of the binary, in its own session, its output read line by line."""

    def __init__(self, command, sandbox, wrap=()):
        self.lines, self.errors = [], []
        with SPAWN:
            self.process = subprocess.Popen(
                [*wrap, *command],
                cwd=sandbox.repo,
                env=sandbox.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self.pid = self.process.pid
            ENGINES.add(self.pid)
        pairs = ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        self.threads = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in pairs]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.decode("utf-8", "replace"))

    def wait(self, timeout):
        """Whether it ended within the time."""
        try:
            self.process.wait(timeout)
            return True
        except subprocess.TimeoutExpired:
            return False

    def drain(self, timeout=0.5):
        for thread in self.threads:
            thread.join(timeout)

    def acknowledged(self):
        return [node for node in map(Spb.acknowledged, list(self.lines)) if node]

    def stderr(self):
        return "".join(self.errors)

    @property
    def code(self):
        return self.process.returncode


# --------------------------------------------------------------------------------------------------------- invariants


def crash_signs(code, stderr):
    """Why this end is a crash of the engine itself and no orderly error."""
    signs = []
    if code in (70, 101) or "panicked at" in stderr or "a bug in spb" in stderr:
        signs.append("panic")
    if code in (134, 139, -6, -11, -4, -7, 132, 135):
        signs.append(f"fatal signal, code {code}")
    if "has overflowed its stack" in stderr or "memory allocation of" in stderr:
        signs.append("stack or memory exhausted")
    return [f"engine crash: {sign}" for sign in signs]


def check_log(entries):
    """R1 every node ended, R2 none started before its needs had ended, R3 none ran twice at the same time."""
    found, ended = [], set()
    for node, what, *rest in entries:
        if what == "start":
            missing = [need for need in GRAPH[node] if need not in ended]
            if missing:
                found.append(f"R2 {node} started before {missing} had ended")
        elif what == "end":
            ended.add(node)
        elif what == "overlap":
            found.append(f"R3 {node}: pid {rest[0]} began while pid {rest[1]} was still running it")
    found += [f"R1 {node} never ended although the run succeeded" for node in GRAPH if node not in ended]
    return found


def check_repository(sandbox, pool):
    """R4 no lock, no half-made worktree, sound objects, a clean checkout, no branches but ours."""
    found = []
    for directory, _, files in os.walk(sandbox.repo + "/.git"):
        # spb's own lock files are locked through the kernel: that they exist means nothing.
        if "/.git/spb" not in directory + "/":
            found += [f"R4 left behind: {directory}/{file}" for file in files if file.endswith(".lock")]
    worktrees = sandbox.git("worktree", "list", "--porcelain").stdout.strip().split("\n\n")[1:]
    if len(worktrees) > pool:
        found.append(f"R4 {len(worktrees)} worktrees, more than the {pool} allowed")
    for worktree in worktrees:
        if "locked" in worktree or "prunable" in worktree:
            found.append("R4 half-made worktree: " + " ".join(worktree.split()))
    fsck = sandbox.git("fsck", "--no-progress", "--no-dangling", check=False)
    if fsck.returncode:
        found.append("R4 git fsck: " + fsck.stdout[:300])
    status = sandbox.git("status", "--porcelain").stdout.strip()
    if status:
        found.append("R4 the checkout is not clean: " + status[:300])
    branches = sandbox.git("for-each-ref", "--format=%(refname:short)", "refs/heads").stdout.split()
    others = [branch for branch in branches if branch != "main" and not branch.startswith("spb/")]
    if others:
        found.append(f"R4 branches left behind: {others[:5]}")
    return found


def check_result(sandbox):
    """R10 the newest result is the base and what every node wrote, and nothing else."""
    branches = sandbox.git("for-each-ref", "--format=%(refname)", "--sort=refname", "refs/heads/spb")
    newest = (branches.stdout.split() or ["main"])[-1]
    diff = sandbox.git("diff", "--name-only", "main", newest, check=False)
    if diff.returncode:
        return [f"R10 {newest} cannot be read: {diff.stdout[:300]}"]
    changed = set(diff.stdout.split())
    expected = {file_of(node) for node in GRAPH}
    if changed != expected:
        return [f"R10 {newest} differs from what it should hold in {sorted(changed ^ expected)}"]
    left = {node: sandbox.git("show", f"{newest}:{file_of(node)}", check=False).stdout for node in GRAPH}
    wrong = [node for node, text in left.items() if text != f"result of {node}\n"]
    return [f"R10 {newest} holds wrong files of {wrong}"] if wrong else []


def check_rooms(sandbox):
    """R11 no directory of a node that has ended."""
    left = []
    for directory, names, _ in os.walk(sandbox.disk + "/worktrees"):
        if os.path.basename(directory) == "rooms":
            left += [os.path.join(directory, name) for name in names]
            names.clear()
    return [f"R11 left behind: {path}" for path in left]


def check_processes(grace=2.0):
    """R5 nothing that the engine started is alive."""
    end = time.time() + grace
    while True:
        reap_orphans()
        living = descendants()
        if not living or time.time() > end:
            break
        time.sleep(0.05)
    return [f"R5 survived: {process['pid']} {command_line(process['pid'])!r}" for process in living]


class Report:
    """One line for each case, and the exit code."""

    def __init__(self):
        self.counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}

    def add(self, case, violations, note="", proves_nothing=False):
        word = "FAIL" if violations else "SKIP" if proves_nothing else "PASS"
        self.counts[word] += 1
        print(f"{word}  {case}  {note}".rstrip(), flush=True)
        for violation in violations[:8]:
            print(f"        - {violation}", flush=True)

    def end(self):
        print("== {PASS} passed, {FAIL} failed, {SKIP} skipped".format(**self.counts))
        return 1 if self.counts["FAIL"] else 0
