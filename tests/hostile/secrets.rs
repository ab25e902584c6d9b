//! Secrets: who is given them, and that neither they nor their usual spellings are found in anything that spb writes or
//! says.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::common::{Run, World, put};

/// Prints every usual spelling of `TOKEN` around other text, in pieces of its choice, then does what it is told.
const EMIT: &str = r#"
import base64, json, os, random, sys, urllib.parse
token = os.environb[b"TOKEN"]
text = token.decode()
pick = random.Random(int(os.environ["SEED"]))
spellings = [token, token.hex().encode(), token.hex().upper().encode(), json.dumps(text).encode(),
             json.dumps(text, ensure_ascii=False).encode(), json.dumps(json.dumps(text, ensure_ascii=False)).encode(),
             urllib.parse.quote(token, safe="").encode(), urllib.parse.quote_plus(token).encode()]
for before in (b"", b"x", b"xy"):
    spellings += [base64.b64encode(before + token + b"z"), base64.urlsafe_b64encode(before + token)]
spellings += token.splitlines()
out = b"\n".join(b"begin " + each + b" end" for each in spellings) + b"\n" + token
at = 0
while at < len(out):
    end = at + pick.randint(1, pick.choice([3, 40, 400]))
    os.write(1, out[at:end])
    at = end
what = sys.argv[1]
part = token if len(token) < 100 else token.splitlines()[1]
name = base64.urlsafe_b64encode(part).decode().rstrip("=") if pick.random() < 0.5 else part.hex()
if what == "file":
    open("f-" + name, "w").close()
elif what == "artifact":
    os.makedirs("out", exist_ok=True)
    open("out/f-" + name, "w").close()
elif what == "line":
    open(os.environ["SPB_OUTPUT"], "ab").write(b"o<<END-OF-IT\n" + pick.choice(spellings) + b"\nEND-OF-IT\n")
elif what == "undeclared":
    open(os.environ["SPB_OUTPUT"], "ab").write(name.encode() + b"=1\n")
elif what == "broken":
    open(os.environ["SPB_OUTPUT"], "ab").write(token + b"\n")
elif what == "json":
    json.dump({"deep": [text]}, open(os.environ["SPB_OUT"] + "/o", "w"))
elif what == "nojson":
    open(os.environ["SPB_OUT"] + "/o", "wb").write(b"{" + token)
elif what == "repository":
    os.system("git init -q r-" + name + "; touch kept")
elif what == "exec":
    os.execv("/no/" + name, ["x"])
sys.exit(int(what == "exit"))
"#;

const WORKFLOW: &str = r#"
env: { SEED: "SEED-HERE" }
nodes:
  says:       { secrets: [TOKEN], run: 'python3 "$HOME/emit.py" says' }
  exit:       { secrets: [TOKEN], run: 'python3 "$HOME/emit.py" exit' }
  exec:       { secrets: [TOKEN], run: 'python3 "$HOME/emit.py" exec' }
  file:       { secrets: [TOKEN], run: 'python3 "$HOME/emit.py" file' }
  allowed:    { secrets: [TOKEN], writes: [], run: 'python3 "$HOME/emit.py" file' }
  artifact:   { secrets: [TOKEN], artifacts: ["out/*"], run: 'python3 "$HOME/emit.py" artifact' }
  line:       { secrets: [TOKEN], outputs: { o: {} }, run: 'python3 "$HOME/emit.py" line' }
  undeclared: { secrets: [TOKEN], outputs: { o: {} }, run: 'python3 "$HOME/emit.py" undeclared' }
  broken:     { secrets: [TOKEN], outputs: { o: {} }, run: 'python3 "$HOME/emit.py" broken' }
  json:       { secrets: [TOKEN], outputs: { o: { out: o, format: json } }, run: 'python3 "$HOME/emit.py" json' }
  nojson:     { secrets: [TOKEN], outputs: { o: { out: o, format: json } }, run: 'python3 "$HOME/emit.py" nojson' }
  repository: { secrets: [TOKEN], run: 'python3 "$HOME/emit.py" repository' }
"#;

/// What is looked for: spellings made here, by other means than where they are masked.
fn spellings(secret: &str) -> BTreeSet<Vec<u8>> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut found = BTreeSet::from([bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()]);
    found.insert(serde_json::to_string(secret).unwrap().trim_matches('"').as_bytes().to_vec());
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let all = engine.encode([&vec![0; before][..], bytes].concat());
            found.insert(all.as_bytes()[(before * 8).div_ceil(6)..(before + bytes.len()) * 8 / 6].to_vec());
        }
    }
    found.extend(secret.lines().filter(|line| line.len() >= 8).map(|line| line.as_bytes().to_vec()));
    found
}

struct Hunt<'s> {
    needles: &'s BTreeSet<Vec<u8>>,
    found: Vec<String>,
}

impl Hunt<'_> {
    fn look(&mut self, place: &str, bytes: &[u8]) {
        for needle in self.needles {
            if memchr::memmem::find(bytes, needle).is_some() {
                self.found.push(format!("{} in {place}", String::from_utf8_lossy(needle)));
            }
        }
    }

    fn look_at(&mut self, words: &[&str], run: &Run) {
        self.look(&format!("the output of {words:?}"), run.stdout.as_bytes());
        self.look(&format!("the messages of {words:?}"), run.stderr.as_bytes());
    }

    fn look_below(&mut self, directory: &Path) {
        for (path, link) in crate::common::snapshot(directory) {
            self.look("a name", path.as_os_str().as_encoded_bytes());
            self.look("a link", link.as_bytes());
            if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                self.look(&path.display().to_string(), &bytes);
                if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
                    self.look(&path.display().to_string(), &zstd::decode_all(&bytes[..]).unwrap());
                }
            }
        }
    }
}

#[track_caller]
fn hunt(secret: &str, seed: u32) -> Vec<String> {
    let world = World::new();
    put(&world.home().join("emit.py"), EMIT);
    let workflow = WORKFLOW.replace("SEED-HERE", &seed.to_string());
    let run = world.applying(&workflow, &[]).env("TOKEN", secret).run().exits(1);
    let needles = spellings(secret);
    let mut hunt = Hunt { needles: &needles, found: Vec::new() };
    hunt.look_at(&["apply"], &run);
    let refused = ["file", "allowed", "artifact", "line", "json"];
    for node in refused {
        assert!(run.message(node).contains("holds a secret"), "{node}: {}", run.message(node));
    }
    let file = world.workflow(&workflow);
    let file = file.to_str().unwrap();
    let mut all: Vec<Vec<&str>> = [
        "status",
        "status --json",
        "logs",
        "logs --raw",
        "runs --json",
        "cache",
        "doctor --json",
        "worktrees list",
    ]
    .iter()
    .map(|words| words.split(' ').collect())
    .collect();
    all.extend([
        vec!["plan", file],
        vec!["explain", file],
        vec!["explain", file, "--json"],
        vec!["apply", file],
    ]);
    for node in ["says", "file", "line", "repository", "exec"] {
        all.extend([vec!["why", node], vec!["logs", node], vec!["status", node], vec!["diff", node]]);
    }
    for words in all {
        let run = world.spb(&words).env("TOKEN", secret).run();
        hunt.look_at(&words, &run);
    }
    hunt.look_below(&world.store());
    hunt.found
}

#[test]
fn a_secret_is_nowhere_however_it_is_spelled_cut_or_handed_on() {
    let mut runner = TestRunner::new(Config {
        cases: crate::cases(2),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    });
    // Long enough not to turn up by chance; as text, since a variable of several lines is one too.
    let secret = prop_oneof![
        "[!-~]{12,60}",
        "[A-Za-z0-9+/=]{32,80}",
        "[!-~é✓\u{202e}\u{1f511} ]{12,40}",
        "-----BEGIN KEY-----\n([A-Za-z0-9+/]{64}\n){1,4}[A-Za-z0-9+/]{20}==\n-----END KEY-----",
    ];
    let law = |(secret, seed): (String, u32)| {
        let secret = secret.trim();
        let found = hunt(secret, seed);
        prop_assert!(found.is_empty(), "{secret:?}: {found:#?}");
        Ok(())
    };
    runner.run(&(secret, any::<u32>()), law).unwrap();
}

#[test]
fn only_a_node_that_lists_a_secret_is_given_it() {
    let world = World::new();
    let run = world
        .applying(
            r#"
secrets: [COMMON]
nodes:
  own:   { secrets: [OWN], run: 'test "${OWN-}" = own-value; test -z "${COMMON-}"' }
  both:  { secrets: [OWN, COMMON], run: 'test "${OWN-}" = own-value; test "${COMMON-}" = common-value' }
  none:  { secrets: [], run: 'test -z "${OWN-}"; test -z "${COMMON-}"' }
  usual: { run: 'test -z "${OWN-}"; test "${COMMON-}" = common-value' }
  items: { for_each: [a, b], secrets: [OWN], run: 'test "${OWN-}" = own-value; test -z "${COMMON-}"' }
  shown: { secrets: [OWN], needs: [own], run: 'echo "$OWN common-value"' }
"#,
            &[],
        )
        .env("OWN", "own-value")
        .env("COMMON", "common-value")
        .run()
        .success();
    let log = world.spb(["logs", "shown"]).run();
    assert!(log.stdout.contains("*** ***"), "{log}");
    assert!(!run.stdout.contains("-value"), "{run}");
}

#[test]
fn an_input_that_holds_a_secret_is_refused_before_anything_is_written() {
    let world = World::new();
    let workflow = "inputs: { x: { type: string }, list: { type: array, default: [] } }\nsecrets: [TOKEN]\nnodes:\n  n: { env: { X: '${{ inputs.x }}', L: '${{ inputs.list }}' }, run: 'true' }\n";
    let file = world.workflow(workflow);
    let file = file.to_str().unwrap();
    for given in ["x=a hunter2-hunter2 b", "x=aHVudGVyMi1odW50ZXIy", "x=${TOKEN}"] {
        for verb in ["apply", "plan", "explain"] {
            let run = world.spb([verb, file, "-i", given]).env("TOKEN", "hunter2-hunter2").run();
            if given.contains('$') {
                assert_eq!(run.code(), Some(0), "{run}");
                continue;
            }
            assert_eq!(run.code(), Some(2), "{run}");
            assert!(run.stderr.contains("input `x` holds a secret"), "{run}");
            assert!(!run.stderr.contains("hunter2") && !run.stderr.contains("aHVud"), "{run}");
            assert!(!world.store().exists());
        }
        std::fs::remove_dir_all(world.store()).ok();
    }
    let run = world.spb(["apply", file, "-i", "x=1", "-i", "list=[\"a\",{\"b\":\"hunter2-hunter2\"}]"]);
    let run = run.env("TOKEN", "hunter2-hunter2").run().exits(2);
    assert!(run.stderr.contains("input `list` holds a secret"), "{run}");
}
