//! Two clones on one remote cache: what the one made the other takes.

use crate::common::{Run, World};
use crate::servers;

/// Every kind of result: files, a deletion, an executable, a link, outputs, artifacts, no change at all, no files at all.
pub const WORKFLOW: &str = r#"
nodes:
  make:
    reads: [src/one.txt]
    outputs: { v: {}, doc: { format: json, stdout: true } }
    artifacts: [out/tool]
    run: |
      echo make >> "$HOME/ran"
      mkdir -p out made; head -c 100000 /dev/zero > out/tool; echo tool >> out/tool; chmod +x out/tool
      cp src/one.txt made/copy.txt; echo run > made/run.sh; chmod +x made/run.sh; ln -s copy.txt made/link
      echo v=7 >> "$SPB_OUTPUT"; echo '{"n": [1, 2]}'
  drop: { reads: [src/two.txt], run: 'echo drop >> "$HOME/ran"; rm src/two.txt' }
  look: { needs: [make, drop], workspace: readonly, outputs: { size: { stdout: true } }, run: 'echo look >> "$HOME/ran"; wc -c < out/tool | tr -d " "; test ! -e src/two.txt' }
  name: { workspace: scratch, outputs: { n: { stdout: true } }, run: 'echo name >> "$HOME/ran"; printf hello' }
  use: { needs: [look, name], env: { N: "${{ needs.name.outputs.n }}-${{ needs.look.outputs.size }}" }, run: 'echo use >> "$HOME/ran"; echo "$N" > used.txt; cat made/link >> used.txt' }
"#;

pub const ALL: &str = "drop look make name use";

/// A clone with the remote cache in its environment.
pub struct Clone<'s> {
    pub world: World,
    pub settings: Vec<(&'s str, String)>,
}

impl<'s> Clone<'s> {
    pub fn new(url: &str, settings: &[(&'s str, &str)]) -> Self {
        let mut all = vec![("SPB_REMOTE_CACHE", url.to_owned()), ("SPB_REMOTE_CACHE_GRACE", "60".to_owned())];
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self { world: World::new(), settings: all }
    }

    pub fn writing(url: &str, settings: &[(&'s str, &str)]) -> Self {
        let mut clone = Self::new(url, settings);
        clone.settings.push(("SPB_REMOTE_CACHE_MODE", "read-write".to_owned()));
        clone
    }

    #[track_caller]
    pub fn apply(&self, workflow: &str) -> Run {
        self.apply_with(workflow, &[])
    }

    #[track_caller]
    pub fn apply_with(&self, workflow: &str, words: &[&str]) -> Run {
        let spb = self.world.applying(workflow, words);
        self.settings.iter().fold(spb, |spb, (name, value)| spb.env(name, value)).run()
    }

    #[track_caller]
    pub fn spb(&self, words: &[&str]) -> Run {
        self.settings.iter().fold(self.world.spb(words), |spb, (name, value)| spb.env(name, value)).run()
    }

    /// How often a run, or its end, says that the place is given up.
    pub fn given_up(run: &Run) -> usize {
        let words = "is not asked any more in this run";
        let at_the_end =
            run.stderr.lines().filter(|line| line.starts_with("warning: ") && line.contains(words));
        let in_the_run = Self::warnings(run).into_iter().filter(|warning| warning.contains(words));
        in_the_run.count() + at_the_end.count()
    }

    /// Warnings of a run.
    pub fn warnings(run: &Run) -> Vec<String> {
        run.of_kind("warning").map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }
}

/// The second clone runs nothing and has the same tree, branch by branch; so does a third, which may only read.
#[track_caller]
pub fn share(url: &str, settings: &[(&'static str, &str)]) {
    let first = Clone::writing(url, settings);
    let made = first.apply(WORKFLOW).success();
    assert_eq!(first.world.take_ran(), ALL);
    assert_eq!(made.stderr.matches("not sent").count(), 0, "{made}");
    let expect = first.world.files(&made.branch());
    for second in [Clone::writing(url, settings), Clone::new(url, settings)] {
        let plan = second.spb(&["plan", second.world.workflow(WORKFLOW).to_str().unwrap()]).success();
        assert!(plan.stdout.contains("its result is in the remote cache"), "{plan}");
        let taken = second
            .apply(WORKFLOW)
            .success()
            .ended("drop cached, look cached, make cached, name cached, use cached");
        assert_eq!(second.world.take_ran(), "");
        assert_eq!(taken.starts(), 0);
        assert_eq!(second.world.files(&taken.branch()), expect);
        assert_eq!(taken.node("make")["remote"], true);
        assert_eq!(taken.output("look", "size"), "100005");
        assert!(taken.stderr.contains("5 cached (5 remote)"), "{taken}");
        assert!(Clone::warnings(&taken).is_empty(), "{taken}");
        let why = second.spb(&["why", "make"]).success();
        assert!(why.stdout.contains("was taken from the remote cache"), "{why}");
        // From then on it is a local result like any other.
        let again = second.world.apply(WORKFLOW).success();
        assert_eq!((again.starts(), again.node("make")["remote"].is_null()), (0, true));
        assert_eq!(second.world.files(&again.branch()), expect);
        second.world.git(&["fsck", "--strict"]);
    }
}

#[test]
fn clones_share_through_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    share(&format!("file://{}", directory.path().display()), &[("SPB_REMOTE_CACHE_KEY", "secret")]);
}

#[test]
fn clones_share_through_a_git_repository() {
    let world = World::new();
    let remote = world.root.join("remote.git");
    world.git(&["init", "-q", "--bare", remote.to_str().unwrap()]);
    share(&format!("git+file://{}", remote.display()), &[("SPB_REMOTE_CACHE_KEY", "secret")]);
    // A clone of it takes nothing of the cache along.
    world.git(&["clone", "-q", &format!("file://{}", remote.display()), "clone"]);
    assert_eq!(world.git_in(&world.repo.join("clone"), &["count-objects"]), "0 objects, 0 kilobytes");
}

#[test]
fn clones_share_through_a_plain_http_server() {
    if !servers::is_built() {
        return;
    }
    let Some(server) = servers::http() else { return };
    server.order("token", "letmein");
    share(&server.url, &[("SPB_REMOTE_CACHE_TOKEN", "letmein")]);
}

#[test]
fn clones_share_through_redis() {
    if !servers::is_built() {
        return;
    }
    let Some(server) = servers::redis() else { return };
    share(&server.url, &[("SPB_REMOTE_CACHE_PASSWORD", servers::REDIS_PASSWORD)]);
}

#[test]
fn clones_share_through_a_store_that_speaks_s3() {
    if !servers::is_built() {
        return;
    }
    let Some(server) = servers::s3() else { return };
    share(
        &server.url,
        &[
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
            ("SPB_REMOTE_CACHE_KEY", "secret"),
        ],
    );
}

#[test]
fn who_may_only_read_sends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let reader = Clone::new(&url, &[]);
    reader.apply(WORKFLOW).success();
    assert_eq!(reader.world.take_ran(), ALL);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_result_moves_to_another_base_and_its_conflicts_are_misses() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let workflow = r#"
nodes:
  copy: { reads: [src/one.txt], run: 'echo copy >> "$HOME/ran"; cp src/one.txt copy.txt; cp src/one.txt other.txt' }
"#;
    Clone::writing(&url, &[]).apply(workflow).success();
    // Another history: no commit of the first clone is here.
    let second = Clone::new(&url, &[]);
    second.world.write("more.txt", "more\n");
    second.world.write("src/two.txt", "zwei\n");
    second.world.git(&["commit", "-q", "--amend", "--allow-empty", "-m", "another start"]);
    second.world.commit("more");
    let run = second.apply(workflow).success().ended("copy cached");
    assert_eq!(second.world.show(&run.branch(), "copy.txt").as_deref(), Some("one\n"));
    assert_eq!(second.world.show(&run.branch(), "more.txt").as_deref(), Some("more\n"));
    second.world.git(&["merge", "-q", &run.branch()]);
    // Everything that it would change is so already; and in a third clone one of two files is.
    let merged = second.apply_with(workflow, &["--base", "HEAD"]).success().ended("copy cached");
    assert_eq!(merged.starts(), 0);
    let third = Clone::new(&url, &[]);
    third.world.write("copy.txt", "one\n");
    third.world.commit("half of it");
    let half = third.apply(workflow).success().ended("copy cached");
    assert_eq!(third.world.show(&half.branch(), "other.txt").as_deref(), Some("one\n"));
    // And where a file is neither what it was nor what it would become, the node runs.
    let fourth = Clone::new(&url, &[]);
    fourth.world.write("copy.txt", "something else\n");
    fourth.world.commit("in the way");
    let run = fourth.apply(workflow).success().ended("copy succeeded");
    assert_eq!(fourth.world.take_ran(), "copy");
    assert_eq!(run.message("copy"), "its earlier changes do not apply to this base");
}

#[test]
fn only_and_fresh_mean_the_same_with_a_remote_cache() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    Clone::writing(&url, &[]).apply(WORKFLOW).success();
    let second = Clone::new(&url, &[]);
    second.apply_with(WORKFLOW, &["--only", "use", "--fresh"]).success();
    assert_eq!(second.world.take_ran(), "use");
    let third = Clone::new(&url, &[]);
    third.apply_with(WORKFLOW, &["--fresh"]).success();
    assert_eq!(third.world.take_ran(), ALL);
    let fourth = Clone::new(&format!("{url}/empty"), &[]);
    let run = fourth.apply_with(WORKFLOW, &["--only", "name,use"]).exits(1);
    assert!(run.message("make").contains("outside --only"), "{run}");
}

#[test]
fn a_secret_in_a_file_keeps_a_result_at_home() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let workflow = r#"
secrets: [TOKEN]
nodes:
  file: { run: 'echo "$TOKEN" > token.txt' }
  artifact: { artifacts: [out/t], run: 'mkdir -p out; head -c 300000 /dev/zero > out/t; echo "$TOKEN" | base64 >> out/t' }
  clean: { run: 'echo clean > clean.txt' }
"#;
    let clone = Clone::writing(&url, &[("TOKEN", "hunter2-hunter2")]);
    let run = clone.apply(workflow).success();
    assert!(run.stderr.contains("2 results not shared"), "{run}");
    assert_eq!(clone.world.all_files(directory.path()).len(), 1);
}
