//! Eight engines on one repository, some of which are killed: no node of one run runs twice, nothing in the store breaks,
//! and whoever loses is told why.

use crate::budget;
use crate::common::{Running, World};

const SHARED: &str = r#"
nodes:
  a: { run: 'echo "a $SPB_RUN" >> "$HOME/ran"; sleep 0.05; echo a > a.txt' }
  b: { run: 'echo "b $SPB_RUN" >> "$HOME/ran"; sleep 0.05; echo b > b.txt' }
  c: { needs: [a, b], artifacts: [out/c], run: 'echo "c $SPB_RUN" >> "$HOME/ran"; mkdir -p out; cat a.txt b.txt > out/c; cp out/c c.txt' }
"#;

fn own(number: usize) -> String {
    format!(
        "nodes:\n  n: {{ run: 'echo \"n $SPB_RUN\" >> \"$HOME/ran\"; echo {number} > n{number}.txt' }}\n  m: {{ needs: [n], run: 'cp n{number}.txt m.txt' }}\n"
    )
}

fn begin(world: &World, number: usize) -> Running {
    let (name, text) = if number.is_multiple_of(2) {
        ("t".to_owned(), SHARED.to_owned())
    } else {
        (format!("w{number}"), own(number))
    };
    let file = world.named_workflow(&name, &text);
    world.spb(["apply", file.to_str().unwrap(), "--events", "ndjson", "--jobs", "2"]).begin()
}

#[test]
fn eight_at_once_with_deaths_among_them_lose_and_repeat_nothing() {
    for round in 0..(1 + budget() * 10) {
        let world = World::in_memory();
        let engines: Vec<Running> = (0..8).map(|number| begin(&world, number)).collect();
        // Whenever it happens to be: three of them die.
        let deaths = [0, 3, 6];
        for (number, engine) in engines.iter().enumerate() {
            if deaths.contains(&number) {
                std::thread::sleep(std::time::Duration::from_millis(40 + (round % 10) * 15));
                engine.signal(libc::SIGKILL);
            }
        }
        for (number, engine) in engines.into_iter().enumerate() {
            let run = engine.finish();
            assert!(run.code() == Some(0) || deaths.contains(&number), "{number} {run}");
        }
        // Eight want to carry on each of the dead at once: one does.
        let runs = world.spb(["runs", "--json"]).run().success().stdout;
        let runs: serde_json::Value = serde_json::from_str(&runs).unwrap();
        let runs = runs.as_array().or_else(|| runs["runs"].as_array()).unwrap();
        let interrupted = runs.iter().filter(|run| run["state"] == "interrupted");
        let ids: Vec<&str> =
            interrupted.map(|run| run["run"].as_str().or(run["id"].as_str()).unwrap()).collect();
        for id in &ids {
            let racers: Vec<Running> = (0..8).map(|_| world.spb(["resume", id]).begin()).collect();
            let ended: Vec<_> = racers.into_iter().map(Running::finish).collect();
            assert!(ended.iter().any(|run| run.code() == Some(0)), "{}", ended[0]);
            for run in &ended {
                let lost = run.code() == Some(3)
                    && (run.stderr.contains("is being run by another spb")
                        || run.stderr.contains("is still running (process"));
                assert!(run.code() == Some(0) || lost, "{run}");
            }
            assert_eq!(world.processes_of(id), Vec::<u32>::new());
        }
        // A node of one run runs again only if its engine died under it: at most once more.
        let ran = std::fs::read_to_string(world.home().join("ran")).unwrap();
        for line in ran.lines() {
            let times = ran.lines().filter(|other| *other == line).count();
            let died = ids.iter().any(|id| line.ends_with(id));
            assert!(times == 1 || (died && times == 2), "{line} ran {times} times\n{ran}");
        }
        world.git(&["fsck", "--no-dangling"]);
        for number in 0..8 {
            let run = begin(&world, number).finish().success();
            // One that died before it began has left nothing.
            assert!(run.starts() == 0 || deaths.contains(&number), "{number} {run}");
            let file = if number.is_multiple_of(2) { "c.txt" } else { "m.txt" };
            let expect = if number.is_multiple_of(2) { "a\nb\n".to_owned() } else { format!("{number}\n") };
            assert_eq!(world.show(&run.branch(), file), Some(expect), "{run}");
        }
    }
}
