#!/usr/bin/env python3
"""What spb costs on repositories of different sizes, beside what git itself takes in the same run.

    cargo build --release && benches/large-repository.py [--spb target/release/spb] [--files 1400,60000] [--repeat 5]

Needs git and Python 3.8. Makes a repository of so many small files and runs three nodes in leased worktrees: `a` and `b`
each read and write one directory, `c` needs both. Milliseconds, minimum median maximum:

  worktree add   `git worktree add` of the same repository, removed again (the peer)
  first run      nothing cached, no worktree in the pool yet (once)
  fresh          nothing cached, worktrees warm: three leases, runs, captures and merges
  again          nothing to do
  unrelated      a commit that no node reads: found by content, moved to the new base
  one changed    a commit that only `b` reads
  rev-parse      `git rev-parse HEAD`: the cost of starting any git command
"""
import argparse, os, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
WORKFLOW = """version: 1
name: bench
nodes:
  a: { run: "echo a > d0/a.txt", reads: ["d0/**"] }
  b: { run: "cat d1/s1/f1.txt > d1/b.txt", reads: ["d1/**"] }
  c: { needs: [a, b], run: "cat d0/a.txt d1/b.txt > c.txt", reads: [d0/a.txt, d1/b.txt] }
"""


def timed(command, cwd, env):
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    took = (time.perf_counter() - begin) * 1000
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout.decode()[-2000:]}")
    return took


def measure(files, args):
    root = tempfile.mkdtemp(prefix="spb-bench-")
    repo = root + "/repo"
    env = dict(os.environ, SPB_WORKTREES=root + "/worktrees", NO_COLOR="1", GIT_CONFIG_GLOBAL="/dev/null",
               GIT_AUTHOR_NAME="b", GIT_AUTHOR_EMAIL="b@b", GIT_COMMITTER_NAME="b", GIT_COMMITTER_EMAIL="b@b")
    git = lambda *words: timed(["git", *words], repo, env)
    try:
        for number in range(files):
            directory = f"{repo}/d{number // 100 % 30}/s{number // 100}"
            os.makedirs(directory, exist_ok=True)
            with open(f"{directory}/f{number % 100}.txt", "w") as out:
                out.write(f"file {number}\n" * 5)
        git("init", "-q"), git("add", "-A"), git("commit", "-qm", "start")
        with open(root + "/bench.yaml", "w") as out:
            out.write(WORKFLOW)
        spb = lambda *more: timed([args.spb, "apply", root + "/bench.yaml", "--quiet", *more], repo, env)

        def commit(path):
            with open(f"{repo}/{path}", "a") as out:
                out.write("more\n")
            git("commit", "-qam", "more")

        rows = {name: [] for name in
                ("worktree add", "first run", "fresh", "again", "unrelated", "one changed", "rev-parse")}
        rows["first run"].append(spb())
        for _ in range(args.repeat):
            rows["worktree add"].append(git("worktree", "add", "-q", "--detach", root + "/peer"))
            git("worktree", "remove", "--force", root + "/peer")
            rows["fresh"].append(spb("--fresh"))
            rows["again"].append(spb())
            commit("d5/s5/f1.txt")
            rows["unrelated"].append(spb())
            commit("d1/s1/f1.txt")
            rows["one changed"].append(spb())
            rows["rev-parse"].append(git("rev-parse", "HEAD"))
        print(f"{files} files")
        for name, took in rows.items():
            print(f"  {name:13} {min(took):8.1f} {statistics.median(took):8.1f} {max(took):8.1f}", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spb", default=os.path.join(HERE, "..", "target", "release", "spb"))
    parser.add_argument("--files", default="1400,60000")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    args.spb = os.path.abspath(args.spb)
    for files in args.files.split(","):
        measure(int(files), args)


if __name__ == "__main__":
    main()
