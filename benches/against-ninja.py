#!/usr/bin/env python3
"""spb against ninja on the same graphs, side by side in one run.

    cargo build --release && benches/against-ninja.py [--spb target/release/spb] [--repeat 7]

Needs ninja (`apt-get install ninja-build` or `pip install ninja`), git and Python 3.8. Each case runs both tools in turn,
so that noise meets both, and prints minimum, median and maximum of each and the ratio of the medians. spb journals,
caches and checkpoints meanwhile; ninja writes its log.

  wide       1,000 independent nodes that run `true`, in scratch workspaces, two at a time, nothing cached
  chain      300 nodes one after the other, nothing cached
  again      the 1,000 nodes with nothing to do
  dag-again  10 layers of 100 nodes, each needing three of the layer before, with nothing to do
  again-10000  chains of 100, 10,000 nodes in all, with nothing to do: the answer of the run before is given again
  dag-10000    100 layers of 100 nodes, each needing three of the layer before, with nothing to do
  looked-up    the chains of again-10000 with every node looked up (`--json`)
  one-of-10000 one node of the chains, the last of its chain, has another command
  validate   a file of 10,000 nodes is checked (no peer: milliseconds)
"""
import argparse, json, os, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))


def layered(layers=10):
    nodes = {}
    for layer in range(layers):
        for place in range(100):
            needs = [f"n{layer - 1}_{(place + k * 33) % 100}" for k in range(3)] if layer else []
            nodes[f"n{layer}_{place}"] = needs
    return nodes


def real_ninja(given):
    """Where a version manager only puts a script of its own, the program behind it."""
    if given:
        return given
    try:
        import ninja
        return os.path.join(ninja.BIN_DIR, "ninja")
    except ImportError:
        return shutil.which("ninja") or "ninja"


GRAPHS = {
    "wide": {f"n{i}": [] for i in range(1000)},
    "chain": {f"n{i}": [f"n{i - 1}"] if i else [] for i in range(300)},
    "layered": layered(),
    "large": {f"n{i}": [f"n{i - 1}"] if i % 100 else [] for i in range(10000)},
    "deep": layered(100),
}


def write_spb(path, name, graph):
    """Plain YAML, one node a line, as people write it."""
    with open(path, "w") as out:
        out.write(f"version: 1\nname: {name}\ndefaults: {{ workspace: scratch }}\nnodes:\n")
        for node, needs in graph.items():
            out.write(f"  {node}: {{ run: 'true'" + (f", needs: [{', '.join(needs)}]" if needs else "") + " }\n")


def write_ninja(path, graph, command):
    with open(path, "w") as out:
        out.write(f"rule run\n  command = {command}\n")
        for node, needs in graph.items():
            out.write(f"build {node}: run {' '.join(needs)}\n")
        out.write(f"build all: phony {' '.join(graph)}\ndefault all\n")


def timed(command, cwd, env):
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    took = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout.decode()[-2000:]}")
    return took * 1000


class Place:
    """A throw-away repository, with everything that spb keeps beside it."""

    def __init__(self, spb, ninja):
        self.root = tempfile.mkdtemp(prefix="spb-bench-")
        self.repo, self.spb, self.ninja = self.root + "/repo", spb, ninja
        self.env = dict(os.environ, SPB_WORKTREES=self.root + "/worktrees", NO_COLOR="1")
        os.makedirs(self.repo)
        for command in (["git", "init", "-q"],
                        ["git", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "start", "--allow-empty"]):
            subprocess.run(command, cwd=self.repo, check=True)
        for name, graph in GRAPHS.items():
            write_spb(f"{self.repo}/{name}.yaml", name, graph)
            # Without a file made, ninja runs everything each time; with one, it has nothing to do the second time.
            for kind, command in (("run", "true"), ("make", "true > $out")):
                os.makedirs(f"{self.root}/{kind}-{name}")
                write_ninja(f"{self.root}/{kind}-{name}/build.ninja", graph, command)

    def run_spb(self, name, *more):
        return timed([self.spb, "apply", f"{name}.yaml", "--jobs", "2", "--quiet", *more], self.repo, self.env)

    def peak_of_spb(self, name):
        """Largest resident size of one run, MiB: of a child of its own, so that no other one counts."""
        code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL); "
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
        command = [sys.executable, "-c", code, self.spb, "apply", f"{name}.yaml", "--jobs", "2", "--quiet"]
        done = subprocess.run(command, cwd=self.repo, env=self.env, stdout=subprocess.PIPE, check=True)
        return int(done.stdout) / (1024 * 1024 if sys.platform == "darwin" else 1024)

    def change_one(self, name, turn):
        """Another command for the last node, for both tools."""
        node = list(GRAPHS[name])[-1]
        for path, of in ((f"{self.repo}/{name}.yaml", lambda line: line.startswith(f"  {node}:")),
                         (f"{self.root}/make-{name}/build.ninja", lambda line: line.startswith(f"build {node}:"))):
            with open(path) as file:
                lines = file.read().split("\n")
            at = next(i for i, line in enumerate(lines) if of(line))
            if path.endswith(".yaml"):
                end = lines[at].index("'true") + len("'true")
                lines[at] = lines[at][:end] + f" {turn}'" + lines[at][lines[at].index("'", end) + 1:]
            else:
                # `$out` has no value in a variable of a single step.
                lines[at + 1:at + 1 + lines[at + 1].startswith("  ")] = [f"  command = true {turn} > {node}"]
            with open(path, "w") as file:
                file.write("\n".join(lines))

    def run_ninja(self, kind, name):
        return timed([self.ninja, "-j2"], f"{self.root}/{kind}-{name}", self.env)


def show(case, ours, theirs=None, peer="ninja"):
    spread = lambda list_: f"{min(list_):7.1f} {statistics.median(list_):7.1f} {max(list_):7.1f}"
    ratio = f"{statistics.median(ours) / statistics.median(theirs):6.2f}" if theirs else "     -"
    print(f"{case:10} {spread(ours)}   {spread(theirs) if theirs else ' ' * 23} {ratio}", flush=True)
    return {"case": case, "spb_ms": ours, "peer": peer if theirs else None, "peer_ms": theirs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spb", default=os.path.join(HERE, "..", "target", "release", "spb"))
    parser.add_argument("--ninja", default="", help="the program [default: the one of the Python package, else of PATH]")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    place = Place(os.path.abspath(args.spb), real_ninja(args.ninja))
    rows = []
    print("milliseconds, minimum median maximum")
    print(f"{'case':10} {'spb':>23}   {'ninja':>23}  ratio")
    try:
        for name in ("wide", "chain"):
            ours, theirs = [], []
            for _ in range(args.repeat):
                theirs.append(place.run_ninja("run", name))
                ours.append(place.run_spb(name, "--fresh"))
            rows.append(show(name, ours, theirs))
        for case, name in (("again", "wide"), ("dag-again", "layered"), ("again-10000", "large"), ("dag-10000", "deep")):
            for _ in range(2):
                place.run_spb(name), place.run_ninja("make", name)
            ours, theirs = [], []
            for _ in range(args.repeat):
                theirs.append(place.run_ninja("make", name))
                ours.append(place.run_spb(name))
            rows.append(show(case, ours, theirs))
            if name in ("large", "deep"):
                rows[-1]["peak_mib"] = place.peak_of_spb(name)
                print(f"{'':10} peak memory {rows[-1]['peak_mib']:.0f} MiB")
        ours, theirs = [], []
        for _ in range(args.repeat):
            theirs.append(place.run_ninja("make", "large"))
            ours.append(place.run_spb("large", "--json"))
        rows.append(show("looked-up", ours, theirs))
        ours, theirs = [], []
        for turn in range(args.repeat):
            place.change_one("large", turn)
            theirs.append(place.run_ninja("make", "large"))
            ours.append(place.run_spb("large"))
        rows.append(show("one-of-10000", ours, theirs))
        ours = [timed([place.spb, "validate", "large.yaml"], place.repo, place.env) for _ in range(args.repeat)]
        rows.append(show("validate", ours))
    finally:
        shutil.rmtree(place.root, ignore_errors=True)
    if args.json:
        with open(args.json, "w") as out:
            json.dump(rows, out, indent=1)


if __name__ == "__main__":
    main()
