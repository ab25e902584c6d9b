//! The pool of worktrees against real git: what a lease holds, what a capture takes, and what nodes can do to slots.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use std::os::unix::fs::symlink;
use std::path::Path;

use git_support::{
    TestRepo, bytes_path, git, holder, lease, lease_is_fresh, lease_with, set_mode, snapshot, write,
};
use spb::git::{CommitId, Pool, SlotState, collect::Which};

/// Runs a scenario with our own code and with the git command.
fn both(files: &[(&str, &str)], scenario: impl Fn(&TestRepo)) {
    scenario(&TestRepo::with(files));
    scenario(&TestRepo::plain(files));
}

/// Leases, lets `node` act, captures, gives back; the paths of the captured tree.
#[track_caller]
fn run(test: &TestRepo, pool: &Pool, commit: CommitId, node: impl FnOnce(&Path)) -> String {
    let mut lease = lease(pool, "node", commit);
    node(lease.path());
    let captured = lease.capture().unwrap();
    lease.finish().unwrap();
    test.listed(captured.tree)
}

const FILES: &[(&str, &str)] = &[("a", "one\n"), ("dir/b", "two\n"), (".gitignore", "target\n")];

#[test]
fn a_lease_holds_the_commit_and_what_the_node_leaves_becomes_a_tree() {
    both(FILES, |test| {
        let pool = test.pool();
        let left = run(test, &pool, test.head(), |slot| {
            assert_eq!(std::fs::read(slot.join("dir/b")).unwrap(), b"two\n");
            write(&slot.join("a"), b"changed\n");
            write(&slot.join("new/file"), b"new\n");
            write(&slot.join("target/cache"), b"ignored\n");
            std::fs::remove_file(slot.join("dir/b")).unwrap();
        });
        assert_eq!(left, ".gitignore\na\nnew/file\n");
        let next = lease(&pool, "node", test.head());
        assert_eq!(std::fs::read(next.path().join("a")).unwrap(), b"one\n");
        assert!(!next.path().join("new").exists());
        assert_eq!(std::fs::read(next.path().join("target/cache")).unwrap(), b"ignored\n");
    });
}

#[test]
fn a_slot_is_chosen_by_its_last_node_then_by_its_tree() {
    let test = TestRepo::with(FILES);
    let other = test.commit_on(test.head(), &[("a", Some("other"))]);
    let pool = test.pool();
    let (first, second) = (lease(&pool, "x", test.head()), lease(&pool, "y", other));
    assert_eq!((first.number(), second.number()), (1, 2));
    first.finish().unwrap();
    second.finish().unwrap();
    for (node, commit, expect) in [("y", test.head(), 2), ("x", other, 1), ("z", other, 1), ("y", other, 2)] {
        let lease = lease(&pool, node, commit);
        assert_eq!(lease.number(), expect, "{node}");
        lease.finish().unwrap();
    }
}

#[test]
fn listing_tells_free_busy_and_dirty_and_removal_spares_the_busy() {
    let test = TestRepo::with(FILES);
    let pool = test.pool();
    let (free, dirty, busy) =
        (lease(&pool, "f", test.head()), lease(&pool, "d", test.head()), lease(&pool, "b", test.head()));
    free.finish().unwrap();
    drop(dirty);
    let listed = pool.list().unwrap();
    let states: Vec<_> = listed.iter().map(|slot| (slot.number, slot.state, slot.holder.clone())).collect();
    let expect = [
        (1, SlotState::Free, None),
        (2, SlotState::Dirty, Some(holder("d"))),
        (3, SlotState::Busy, Some(holder("b"))),
    ];
    assert_eq!(states, expect);
    assert!(listed[0].disk_bytes() > 0);
    use spb::git::collect::Removal::{Busy, Removed};
    assert_eq!(pool.remove(Which::All).unwrap(), [Removed(1), Removed(2), Busy(3)]);
    assert_eq!(pool.list().unwrap().len(), 1);
    busy.finish().unwrap();
    assert_eq!(pool.remove(Which::Number(3)).unwrap(), [Removed(3)]);
    assert_eq!(test.git(&["worktree", "list"]).lines().count(), 1);
    assert!(!test.path.join(".git/worktrees").exists());
    assert_eq!(lease(&pool, "again", test.head()).number(), 1);
}

#[test]
fn a_slot_that_was_not_given_back_is_swept_of_its_holder_first() {
    both(FILES, |test| {
        let pool = test.pool();
        let first = lease(&pool, "lost", test.head());
        write(&first.path().join("left"), b"");
        drop(first);
        let swept = std::cell::RefCell::new(Vec::new());
        let sweep = |holder: &spb::git::Holder| swept.borrow_mut().push(holder.node.clone());
        let next = lease_with(&test.pool(), "next", test.head(), &sweep);
        assert_eq!((next.number(), &*swept.borrow()), (1, &vec!["lost".to_owned()]));
        assert!(!next.path().join("left").exists());
        next.finish().unwrap();
        lease_is_fresh(test, &pool, test.head()).finish().unwrap();
    });
}

#[test]
fn modes_symlinks_and_odd_names_are_taken_and_put_back() {
    both(&[("a", "x"), ("run.sh", "x"), ("link", "x")], |test| {
        set_mode(&test.path.join("run.sh"), 0o755);
        std::fs::remove_file(test.path.join("link")).unwrap();
        symlink("nowhere", test.path.join("link")).unwrap();
        let start = test.commit("modes", &[]);
        let pool = test.pool();
        let odd: [&[u8]; 5] = [b"with space", b"line\nbreak", b"quote\"s\\", b"not\xfftext", b":(glob)*"];
        let mut lease = lease(&pool, "node", start);
        let slot = lease.path().to_owned();
        set_mode(&slot.join("a"), 0o755);
        set_mode(&slot.join("run.sh"), 0o644);
        std::fs::remove_file(slot.join("link")).unwrap();
        symlink("/etc", slot.join("link")).unwrap();
        for name in odd {
            write(&slot.join(bytes_path(name)), name);
        }
        let tree = lease.capture().unwrap().tree;
        lease.finish().unwrap();
        git(&slot, &["add", "-A"]);
        assert_eq!(tree.to_string(), git(&slot, &["write-tree"]).trim());
        let raw = test.git(&["ls-tree", &tree.to_string(), "a", "run.sh", "link"]);
        let modes: Vec<&str> = raw.lines().map(|line| &line[..6]).collect();
        assert_eq!(modes, ["100755", "120000", "100644"]);
        let after = test.repo().commit(tree, &[start], "odd", spb::git::Stamp::Like(start)).unwrap();
        lease_is_fresh(test, &pool, start).finish().unwrap();
        lease_is_fresh(test, &pool, after).finish().unwrap();
        lease_is_fresh(test, &pool, start).finish().unwrap();
    });
}

#[test]
fn files_directories_and_symlinks_take_each_others_places() {
    both(&[("a", "1"), ("d/x", "2"), ("d/y", "3"), ("s/t/u", "4")], |test| {
        let outside = test.temporary().join("outside");
        write(&outside.join("x"), b"mine");
        write(&outside.join("t/u"), b"mine");
        let before = snapshot(&outside);
        let pool = test.pool();
        let left = run(test, &pool, test.head(), |slot| {
            std::fs::remove_file(slot.join("a")).unwrap();
            write(&slot.join("a/b/c"), b"deep");
            std::fs::remove_dir_all(slot.join("d")).unwrap();
            symlink(&outside, slot.join("d")).unwrap();
            std::fs::remove_dir_all(slot.join("s")).unwrap();
            write(&slot.join("s"), b"file");
        });
        assert_eq!(left, "a/b/c\nd\ns\n");
        lease_is_fresh(test, &pool, test.head()).finish().unwrap();
        assert_eq!(snapshot(&outside), before, "something was written through a symlink");
        // The same again for a process that knows nothing of the slot.
        run(test, &pool, test.head(), |slot| {
            std::fs::remove_dir_all(slot.join("s")).unwrap();
            symlink(&outside, slot.join("s")).unwrap();
        });
        lease_is_fresh(test, &test.pool(), test.head()).finish().unwrap();
        assert_eq!(snapshot(&outside), before, "something was written through a symlink");
    });
}

#[test]
fn pipes_sockets_and_empty_directories_are_no_obstacle_and_do_not_stay() {
    both(FILES, |test| {
        let pool = test.pool();
        let left = run(test, &pool, test.head(), |slot| {
            std::fs::create_dir_all(slot.join("empty/er")).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                slot.join("pipe"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap();
            drop(std::os::unix::net::UnixListener::bind(slot.join("socket")).unwrap());
        });
        assert_eq!(left, ".gitignore\na\ndir/b\n");
        lease_is_fresh(test, &pool, test.head()).finish().unwrap();
    });
}

#[test]
fn a_repository_inside_the_slot_is_left_out_named_and_cleared() {
    both(FILES, |test| {
        let pool = test.pool();
        let mut first = lease(&pool, "node", test.head());
        for (name, commits) in [("empty", false), ("vendor/full", true)] {
            let inner = first.path().join(name);
            write(&inner.join("file"), b"x");
            git(&inner, &["init", "-q"]);
            if commits {
                git(&inner, &["add", "-A"]);
                git(&inner, &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "-m", "x"]);
            }
        }
        write(&first.path().join("vendor/plain"), b"x");
        let captured = first.capture().unwrap();
        assert_eq!(captured.skipped, ["empty", "vendor/full"]);
        assert_eq!(test.listed(captured.tree), ".gitignore\na\ndir/b\nvendor/plain\n");
        first.finish().unwrap();
        lease_is_fresh(test, &pool, test.head()).finish().unwrap();
    });
}

#[test]
fn ignored_files_stay_until_the_rules_change() {
    both(FILES, |test| {
        let start = test.head();
        let unignored = test.commit_on(start, &[(".gitignore", Some("other\n"))]);
        let tracked = test.commit_on(start, &[("b", Some("b"))]);
        let pool = test.pool();
        let left = run(test, &pool, start, |slot| {
            write(&slot.join("target/deep/cache"), b"warm");
            write(&slot.join("dir/target"), b"warm");
            write(&slot.join("new/target/x"), b"warm");
            write(&slot.join("new/y"), b"cold");
        });
        assert_eq!(left, ".gitignore\na\ndir/b\nnew/y\n");
        let next = lease(&pool, "node", tracked);
        let there: Vec<_> = snapshot(next.path()).into_keys().collect();
        let expect = [
            ".gitignore",
            "a",
            "b",
            "dir",
            "dir/b",
            "dir/target",
            "new",
            "new/target",
            "new/target/x",
            "target",
            "target/deep",
            "target/deep/cache",
        ];
        assert_eq!(there, expect);
        next.finish().unwrap();
        lease_is_fresh(test, &pool, unignored).finish().unwrap();
    });
}

#[test]
fn what_the_node_tracks_itself_counts() {
    both(&[("a", "a"), ("gone", "g"), (".gitignore", "*.o\n")], |test| {
        let pool = test.pool();
        let left = run(test, &pool, test.head(), |slot| {
            write(&slot.join("forced.o"), b"x");
            write(&slot.join("other.o"), b"x");
            git(slot, &["add", "-f", "forced.o"]);
            write(&slot.join(".gitignore"), b"*.o\ngone\n");
            git(slot, &["rm", "-q", "--cached", "gone"]);
        });
        assert_eq!(left, ".gitignore\na\nforced.o\n");
        let next = lease(&pool, "node", test.head());
        assert_eq!(git(next.path(), &["status", "--porcelain"]), "");
        assert!(next.path().join("gone").exists() && next.path().join("other.o").exists());
    });
}

#[test]
fn an_index_of_another_form_is_read_too() {
    let test = TestRepo::with(&[("a", "a"), (".gitignore", "*.o\n"), ("d/b", "b")]);
    let pool = test.pool();
    for form in ["--split-index", "--index-version=4", "--untracked-cache"] {
        let left = run(&test, &pool, test.head(), |slot| {
            write(&slot.join("forced.o"), b"x");
            git(slot, &["add", "-f", "forced.o"]);
            git(slot, &["update-index", form]);
        });
        assert_eq!(left, ".gitignore\na\nd/b\nforced.o\n", "{form}");
        lease_is_fresh(&test, &pool, test.head()).finish().unwrap();
    }
}

#[test]
fn a_pool_that_does_not_exist_is_listed_as_empty_and_not_made() {
    let test = TestRepo::with(FILES);
    let link = test.temporary().join("link");
    symlink(test.temporary(), &link).unwrap();
    let pool = Pool::open(&test.repo_path(), link.join("./deep/pool")).unwrap();
    assert_eq!(pool.directory(), test.temporary().join("deep/pool"));
    assert_eq!(pool.list().unwrap(), []);
    assert_eq!(pool.remove(Which::All).unwrap(), []);
    assert!(!test.temporary().join("deep").exists() && !test.path.join(".git/spb").exists());
    lease(&pool, "node", test.head()).finish().unwrap();
    assert_eq!(pool.list().unwrap().len(), 1);
}

#[test]
fn a_node_may_commit_branch_and_leave_a_merge_half_done() {
    both(FILES, |test| {
        test.git(&["branch", "topic"]);
        let clash = test.commit_on(test.head(), &[("a", Some("clash"))]);
        let pool = test.pool();
        let mut first = lease(&pool, "node", test.head());
        let slot = first.path().to_owned();
        git(&slot, &["checkout", "-q", "topic"]);
        write(&slot.join("a"), b"mine\n");
        git(&slot, &["commit", "-q", "-a", "-m", "mine"]);
        let made: CommitId = git(&slot, &["rev-parse", "HEAD"]).trim().parse().unwrap();
        write(&slot.join("b"), b"b\n");
        let captured = first.capture().unwrap();
        assert_eq!(captured.head, Some(made));
        assert_eq!(test.listed(captured.tree), ".gitignore\na\nb\ndir/b\n");
        git(&slot, &["add", "-A"]);
        git(&slot, &["commit", "-q", "-m", "more"]);
        let topic = test.git(&["rev-parse", "topic"]);
        let merge =
            ["-c", "alias.try=!git merge -q $1 >/dev/null 2>&1 || true; :", "try", &clash.to_string()];
        git(&slot, &merge);
        assert!(git(&slot, &["status", "--porcelain"]).contains("UU a"), "the merge is no conflict");
        first.capture().unwrap();
        first.finish().unwrap();
        assert_eq!(test.repo().checked_out_at("topic").unwrap(), None, "the branch is not free");
        let next = lease_is_fresh(test, &pool, test.head());
        assert_eq!(test.git(&["rev-parse", "topic"]), topic, "the lease moved a branch");
        assert!(!git(next.path(), &["status"]).contains("merging"));
    });
}

#[test]
fn a_node_may_destroy_what_makes_its_slot_a_worktree() {
    type Ruin = fn(&Path);
    let ruins: [(&str, Ruin); 6] = [
        ("removed", |slot| std::fs::remove_file(slot.join(".git")).unwrap()),
        ("initialised", |slot| {
            std::fs::remove_file(slot.join(".git")).unwrap();
            git(slot, &["init", "-q"]);
            git(slot, &["add", "-A"]);
        }),
        ("overwritten", |slot| write(&slot.join(".git"), b"gitdir: /\n")),
        ("no index", |slot| {
            let index = git(slot, &["rev-parse", "--git-path", "index"]);
            std::fs::remove_file(slot.join(index.trim())).unwrap();
        }),
        ("garbage index", |slot| {
            let index = git(slot, &["rev-parse", "--git-path", "index"]);
            write(&slot.join(index.trim()), b"garbage");
        }),
        ("locked", |slot| {
            for name in ["index.lock", "HEAD.lock", "locked"] {
                let path = git(slot, &["rev-parse", "--absolute-git-dir"]);
                write(&Path::new(path.trim()).join(name), b"initializing");
            }
        }),
    ];
    for (name, ruin) in ruins {
        both(FILES, |test| {
            let pool = test.pool();
            let left = run(test, &pool, test.head(), |slot| {
                write(&slot.join("dir/b"), b"changed");
                write(&slot.join("new"), b"new");
                ruin(slot);
            });
            assert_eq!(left, ".gitignore\na\ndir/b\nnew\n", "{name}");
            lease_is_fresh(test, &pool, test.head()).finish().unwrap();
            lease_is_fresh(test, &test.pool(), test.head()).finish().unwrap();
        });
    }
}

#[test]
fn a_node_that_removes_its_whole_slot_is_told_and_the_slot_is_made_again() {
    both(FILES, |test| {
        let pool = test.pool();
        let mut first = lease(&pool, "node", test.head());
        std::fs::remove_dir_all(first.path()).unwrap();
        let error = first.capture().unwrap_err().to_string();
        assert!(error.contains("was removed by the node"), "{error}");
        first.finish().unwrap();
        lease_is_fresh(test, &pool, test.head()).finish().unwrap();
    });
}

#[test]
fn directories_that_nobody_may_enter_are_opened_and_cleared() {
    both(FILES, |test| {
        let pool = test.pool();
        let left = run(test, &pool, test.head(), |slot| {
            write(&slot.join("shut/in/x"), b"x");
            write(&slot.join("unreadable"), b"x");
            set_mode(&slot.join("unreadable"), 0o000);
            set_mode(&slot.join("shut/in"), 0o000);
            set_mode(&slot.join("dir"), 0o500);
        });
        assert_eq!(left, ".gitignore\na\ndir/b\nshut/in/x\nunreadable\n");
        let next = lease(&pool, "node", test.head());
        assert!(!next.path().join("shut").exists());
        set_mode(&next.path().join("dir"), 0o000);
        next.finish().unwrap();
        lease_is_fresh(test, &pool, test.head()).finish().unwrap();
    });
}

#[test]
fn states_that_a_kill_leaves_behind_are_put_right() {
    let ruins: [fn(&Path, &Path); 5] = [
        |_, admin| std::fs::remove_dir_all(admin).unwrap(),
        |slot, _| std::fs::remove_dir_all(slot).unwrap(),
        |slot, admin| {
            std::fs::remove_dir_all(slot).unwrap();
            std::fs::remove_file(admin.join("HEAD")).unwrap();
            write(&admin.join("locked"), b"initializing\n");
        },
        |slot, admin| {
            write(&slot.join(".git"), b"");
            write(&admin.join("gitdir"), b"");
            write(&admin.join("index"), b"");
        },
        |slot, _| {
            std::fs::remove_dir_all(slot).unwrap();
            write(slot, b"a file");
        },
    ];
    for (number, ruin) in ruins.into_iter().enumerate() {
        both(FILES, |test| {
            let theirs = test.temporary().join("theirs");
            test.git(&["worktree", "add", "-q", "--detach", theirs.to_str().unwrap()]);
            let missing = test.temporary().join("missing");
            test.git(&["worktree", "add", "-q", "--detach", missing.to_str().unwrap()]);
            std::fs::remove_dir_all(&missing).unwrap();
            write(&test.path.join(".git/worktrees/theirs/index.lock"), b"");
            let pool = test.pool();
            let first = lease(&pool, "node", test.head());
            let slot = first.path().to_owned();
            first.finish().unwrap();
            let admins = std::fs::read_dir(test.path.join(".git/worktrees")).unwrap();
            let admin = admins.map(|entry| entry.unwrap().path());
            let admin = admin
                .into_iter()
                .find(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b"spb-"));
            ruin(&slot, &admin.unwrap());
            let next = lease(&test.pool(), "node", test.head());
            assert_eq!(git(next.path(), &["status", "--porcelain"]), "", "case {number}");
            assert_eq!(snapshot(next.path()), snapshot(&theirs), "case {number}");
            let listed = test.git(&["worktree", "list", "--porcelain"]);
            assert_eq!(listed.matches("worktree ").count(), 4, "{listed}");
            assert!(test.path.join(".git/worktrees/theirs/index.lock").exists());
        });
    }
}

#[test]
fn the_users_checkout_and_hooks_play_no_part() {
    both(FILES, |test| {
        for hook in ["post-checkout", "post-index-change", "pre-commit", "reference-transaction"] {
            let path = test.path.join(".git/hooks").join(hook);
            write(
                &path,
                format!("#!/bin/sh\ntouch {}\n", test.temporary().join("hooked").display()).as_bytes(),
            );
            set_mode(&path, 0o755);
        }
        write(&test.path.join("a"), b"uncommitted\n");
        write(&test.path.join("untracked"), b"mine\n");
        let (before, index) = (snapshot(&test.path), std::fs::read(test.path.join(".git/index")).unwrap());
        let pool = test.pool();
        run(test, &pool, test.head(), |slot| write(&slot.join("a"), b"changed\n"));
        lease(&pool, "node", test.head()).finish().unwrap();
        assert_eq!(snapshot(&test.path), before);
        assert_eq!(std::fs::read(test.path.join(".git/index")).unwrap(), index);
        assert!(!test.temporary().join("hooked").exists(), "a hook ran");
    });
}

#[test]
fn eight_threads_and_two_pools_get_slots_of_their_own() {
    both(FILES, |test| {
        let start = test.head();
        let commits: Vec<CommitId> =
            (0..8).map(|n| test.commit_on(start, &[("a", Some(&format!("{n}\n")))])).collect();
        let pools = [test.pool(), test.pool()];
        let pools = &pools;
        std::thread::scope(|scope| {
            for (n, commit) in commits.into_iter().enumerate() {
                scope.spawn(move || {
                    for round in 0..4 {
                        let pool = &pools[(n + round) % 2];
                        let mut lease = lease(pool, &format!("node{n}"), commit);
                        assert_eq!(
                            std::fs::read(lease.path().join("a")).unwrap(),
                            format!("{n}\n").as_bytes()
                        );
                        write(&lease.path().join("mine"), format!("{n} {round}").as_bytes());
                        let captured = lease.capture().unwrap();
                        let name = format!("{}:mine", captured.tree);
                        assert_eq!(git(lease.path(), &["show", &name]), format!("{n} {round}"));
                        lease.finish().unwrap();
                    }
                });
            }
        });
        let slots = pools[0].list().unwrap();
        assert!(slots.len() <= 8 && slots.iter().all(|slot| slot.state == SlotState::Free), "{slots:?}");
    });
}

#[test]
fn a_change_that_keeps_size_and_time_is_seen() {
    let test = TestRepo::with(FILES);
    let pool = test.pool();
    for round in 0..20 {
        let mut lease = lease(&pool, "node", test.head());
        let path = lease.path().join("a");
        let before = std::fs::metadata(&path).unwrap();
        write(&path, format!("o{round:02}\n").as_bytes());
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(before.modified().unwrap())
            .unwrap();
        let tree = lease.capture().unwrap().tree;
        assert_eq!(test.git(&["show", &format!("{tree}:a")]), format!("o{round:02}\n"));
        lease.finish().unwrap();
    }
}

#[test]
fn the_next_process_believes_an_index_only_as_a_lease_left_it() {
    let test = TestRepo::with(FILES);
    let other =
        test.commit_on(test.head(), &[("a", Some("other\n")), ("dir/b", None), ("new", Some("new\n"))]);
    let acts: [fn(&Path); 5] = [
        |_| {},
        |slot| {
            write(&slot.join("a"), b"changed\n");
            git(slot, &["add", "a"]);
        },
        |slot| {
            git(slot, &["rm", "-q", "--cached", "dir/b"]);
        },
        |slot| {
            git(slot, &["update-index", "--assume-unchanged", "a"]);
            write(&slot.join("a"), b"hidden\n");
        },
        |slot| {
            git(slot, &["-c", "user.name=n", "-c", "user.email=n", "rm", "-q", "a"]);
            git(slot, &["-c", "user.name=n", "-c", "user.email=n", "commit", "-qm", "gone"]);
        },
    ];
    for act in acts {
        for (before, after) in [(test.head(), test.head()), (test.head(), other), (other, test.head())] {
            let lease = lease(&test.pool(), "node", before);
            let slot = lease.path().to_owned();
            lease.finish().unwrap();
            // Not during a lease: nobody captures it.
            if slot.join("dir/b").exists() {
                act(&slot);
            }
            lease_is_fresh(&test, &test.pool(), after).finish().unwrap();
        }
    }
}
