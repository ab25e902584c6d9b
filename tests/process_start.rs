//! What cannot be started says why, and what to do.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod process;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use process::{finish, task};
use spb::executor::{Ended, Task};

/// The message, with the test's directory as `DIR`.
async fn refusal(directory: &Path, change: impl FnOnce(&mut Task)) -> String {
    let mut task = task(directory, "true");
    change(&mut task);
    match finish(task).await.ended {
        Ended::NotStarted(message) => message.replace(directory.to_str().expect("text"), "DIR"),
        other => panic!("it ended with {other:?}"),
    }
}

fn script(path: &Path, text: &str, mode: u32) {
    std::io::Write::write_all(&mut std::fs::File::create(path).expect("a file"), text.as_bytes())
        .expect("space");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[tokio::test]
async fn a_program_that_is_missing_or_unfit_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    script(&directory.join("plain"), "#!/bin/sh\n", 0o644);
    script(&directory.join("lost"), "#!/no/such/shell -e\n", 0o755);
    script(&directory.join("mute"), "echo hello\n", 0o755);
    std::fs::create_dir(directory.join("bin")).unwrap();
    script(&directory.join("bin/plain2"), "#!/bin/sh\n", 0o644);
    let mut messages = Vec::new();
    for program in ["no-such-program", "./nowhere", "./plain", "./lost", "./mute", "./bin", "plain2", ""] {
        let change = |task: &mut Task| {
            task.argv[0] = program.into();
            task.env = vec![("PATH".into(), "bin:/no/such".into())];
        };
        messages.push(format!("{program}: {}", refusal(directory, change).await));
    }
    messages.push(format!("(no words): {}", refusal(directory, |task| task.argv.clear()).await));
    insta::assert_snapshot!(messages.join("\n"), @r"
    no-such-program: program `no-such-program` not found in the node's PATH (bin:/no/such): install it, correct the name, or set `env: { PATH: ... }`
    ./nowhere: program `./nowhere` does not exist
    ./plain: `./plain` may not be executed: `chmod +x` it, run it through its interpreter, or look for `noexec` on its file system
    ./lost: `./lost` asks for the interpreter `/no/such/shell`, which does not exist
    ./mute: `./mute` is not a program for this machine: wrong architecture, damaged, or a script without a `#!` line
    ./bin: `./bin` is a directory, not a program
    plain2: `bin/plain2` may not be executed: `chmod +x` it, run it through its interpreter, or look for `noexec` on its file system
    : there is nothing to run: the command is empty
    (no words): there is nothing to run: the command is empty
");
}

#[tokio::test]
async fn a_directory_that_is_missing_or_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    script(&directory.join("file"), "", 0o644);
    let missing = refusal(directory, |task| task.directory = directory.join("nowhere")).await;
    let none = refusal(directory, |task| task.directory = directory.join("file")).await;
    insta::assert_snapshot!([missing, none].join("\n"), @r"
    working directory `DIR/nowhere` does not exist
    working directory `DIR/file` is not a directory
");
}

#[tokio::test]
async fn what_is_too_long_is_measured_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let long = |task: &mut Task| task.env.push(("NOTES".into(), "x".repeat(200_000).into()));
    let one = refusal(directory.path(), long).await;
    let many = |task: &mut Task| task.argv.extend((0..80_000).map(|number| format!("{number:0>100}").into()));
    let all = refusal(directory.path(), many).await;
    let limit = regex::Regex::new(r"limit about \d+").expect("a pattern");
    let messages = [one, all].join("\n");
    insta::assert_snapshot!(limit.replace_all(&messages, "limit about N"), @r"
    the command line and environment are too long for this system: 200092 bytes in all (limit about N), the longest is environment variable `NOTES` with 200006 bytes (limit 131072); pass long values in a file
    the command line and environment are too long for this system: 8720077 bytes in all (limit about N), the longest is argument 80002 with 100 bytes (limit 131072); pass long values in a file
    ");
}

#[tokio::test]
async fn a_nul_byte_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let in_value = refusal(directory.path(), |task| task.env.push(("A".into(), "x\0y".into()))).await;
    let in_word = refusal(directory.path(), |task| task.argv.push("\0".into())).await;
    insta::assert_snapshot!([in_value, in_word].join("\n"), @r"
    a NUL byte is in environment variable `A`, which no program can be given
    a NUL byte is in argument 3, which no program can be given
");
}

#[tokio::test]
async fn a_copy_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let message =
        refusal(directory.path(), |task| task.stdout_file = Some(directory.path().join("no/copy"))).await;
    insta::assert_snapshot!(message, @"cannot write the standard output to `DIR/no/copy`: No such file or directory (os error 2)");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_program_that_stays_open_for_writing_is_busy() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    let _open = std::fs::OpenOptions::new().append(true).open(&program).unwrap();
    let message = refusal(directory.path(), |task| task.argv = vec![program.clone().into()]).await;
    insta::assert_snapshot!(message, @"`DIR/program` is open for writing by another process (text file busy)");
}

#[tokio::test]
async fn a_relative_program_is_found_from_the_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("bin")).unwrap();
    script(&directory.path().join("bin/hello"), "#!/bin/sh\necho hello\n", 0o755);
    for (program, path) in [("bin/hello", "/bin"), ("hello", "bin:/bin"), ("bin/hello", "")] {
        let mut task = task(directory.path(), "");
        task.argv = vec![program.into()];
        task.env = vec![("PATH".into(), path.into())];
        assert_eq!(finish(task).await.ended, Ended::Exited(0), "{program} {path}");
    }
}
