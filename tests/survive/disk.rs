//! A disk that is full, of bytes or of inodes, or that fails, for the repository or for the worktrees: no false success,
//! and a run that can be carried on when there is room again. Needs a mount of its own, and strace; where one is missing,
//! there is nothing to test with.

use crate::common::World;

const WORKFLOW: &str = r#"
nodes:
  a: { run: 'echo a > a.txt' }
  b: { needs: [a], artifacts: [out/b.bin], run: 'mkdir -p out; head -c 400000 /dev/urandom > b.bin; cp b.bin out/b.bin' }
  c: { needs: [b], run: 'cmp b.bin out/b.bin; for i in 1 2 3 4 5 6 7 8 9; do echo $i > c$i.txt; done' }
  d: { needs: [c], run: 'cat a.txt c?.txt > d.txt' }
"#;

/// Runs the workflow with `place` on a file system with these limits, then gives it room and carries on.
fn check(place: &str, limits: &[&str]) {
    for limit in limits {
        let world = World::new();
        let file = world.workflow(WORKFLOW);
        let script = r#"
set -u
mkdir -p "$PLACE" && cp -a "$PLACE" "$PLACE.before"
mount -t tmpfs -o "$LIMIT" tmpfs "$PLACE" || exit 77
cp -a "$PLACE.before/." "$PLACE/"
cd /; cd "$REPO"
"$SPB" apply "$FILE" > "$HOME/first" 2>&1; first=$?
case $first in 0|1|3) ;; *) cat "$HOME/first"; echo "apply ended with $first"; exit 1;; esac
said() { grep -q "$@" "$HOME/first"; }
if [ $first != 0 ] && ! said 'exited with' && ! { said -F "$PLACE" && said -i 'no space' && said 'make room'; }; then
  cat "$HOME/first"; echo "no path, no reason, or nothing to do was told"; exit 1
fi
"$SPB" runs || { echo "runs failed"; exit 1; }
mount -o remount,size=50M,nr_inodes=100000 "$PLACE"
if [ $first != 0 ]; then
  "$SPB" resume > "$HOME/second" 2>&1 || "$SPB" apply "$FILE" >> "$HOME/second" 2>&1 || {
    cat "$HOME/first" "$HOME/second"; echo "no success although there is room"; exit 1; }
fi
"$SPB" apply "$FILE" --json > "$HOME/third" 2> "$HOME/third.err" || { cat "$HOME/third.err"; exit 1; }
git fsck --no-dangling || exit 1
branch=$(git for-each-ref --format='%(refname)' --sort=-refname refs/heads/spb | head -n 1)
git show "$branch:d.txt"
if [ $first = 0 ] && ! grep -q '^ *branch ' "$HOME/first"; then cat "$HOME/first"; echo "success without its branch"; exit 1; fi
left=$(find "$PLACE" -name '.new-*')
if [ -n "$left" ]; then echo "$left"; echo "half-made files stayed"; exit 1; fi
test -z "$(git for-each-ref --format='%(refname)' refs/spb | xargs -n 1 git rev-parse --verify -q | grep -v .)"
"#;
        let output = world
            .command("unshare")
            .args(["-rm", "sh", "-c", script])
            .env("PLACE", world.root.join(place))
            .env("LIMIT", limit)
            .env("REPO", &world.repo)
            .env("FILE", file)
            .env("SPB", env!("CARGO_BIN_EXE_spb"))
            .output();
        let Ok(output) = output else { return };
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.code() == Some(77) || said.contains("unshare:") {
            return;
        }
        assert!(output.status.success(), "{place} {limit}\n{said}");
        assert!(said.contains("a\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"), "{place} {limit}\n{said}");
    }
}

#[test]
fn a_full_disk_of_the_repository_is_no_success_and_no_end() {
    check("repo", &["size=300k", "size=500k", "size=700k", "size=900k", "size=1000k"]);
}

#[test]
fn a_repository_without_inodes_is_no_success_and_no_end() {
    check("repo", &["nr_inodes=90", "nr_inodes=100", "nr_inodes=110", "nr_inodes=120", "nr_inodes=130"]);
}

#[test]
fn a_full_disk_of_the_worktrees_is_no_success_and_no_end() {
    check("pool", &["size=100k", "size=500k", "size=900k", "nr_inodes=12", "nr_inodes=25"]);
}

#[test]
fn a_record_that_cannot_be_synced_is_never_a_success() {
    for when in ["1", "2", "3", "5", "1+", "2+", "3+", "4+", "5+", "6+", "7+", "8+", "9+", "10+"] {
        let world = World::new();
        let file = world
            .workflow("nodes:\n  a: { run: 'echo a > a.txt' }\n  b: { needs: [a], run: 'echo b > b.txt' }\n");
        let output = world
            .command("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"])
            .arg(format!("inject=fdatasync:error=EIO:when={when}"))
            .args([env!("CARGO_BIN_EXE_spb").as_ref(), "apply".as_ref(), file.as_os_str()])
            .output();
        let Ok(output) = output else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => assert_eq!(world.state(), "succeeded", "{when}\n{said}"),
            Some(1 | 3) => assert!(said.contains("error") || said.contains("failed"), "{when}\n{said}"),
            code => panic!("{when} ended with {code:?}\n{said}"),
        }
        let status = world.spb(["status", "--json"]).run().success();
        let run = match status.stdout.trim() {
            "null" => world.spb(["apply".as_ref(), file.as_os_str()]).run(),
            _ => world.spb(["resume", "latest"]).run(),
        };
        run.success();
        assert_eq!(world.state(), "succeeded", "{when}");
    }
}
