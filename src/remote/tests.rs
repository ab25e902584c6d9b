//! Places that need no server: they keep, give, and fail within limits.

use super::*;
use crate::process::Tool;

fn open(text: &str) -> Remote {
    let address = Address::parse(text).unwrap();
    Remote::open(Settings { address, credentials: Credentials::default(), timeout: Duration::from_secs(60) })
        .unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn keeps_and_gives(text: &str) {
    let remote = open(text);
    assert_eq!(remote.get("v1/a/one", 100).await, Ok(None));
    assert_eq!(remote.has("v1/a/one").await, Ok(false));
    remote.put("v1/a/one", b"first".to_vec()).await.unwrap();
    assert_eq!(remote.get("v1/a/one", 100).await, Ok(Some(b"first".to_vec())));
    remote.put("v1/a/one", b"second".to_vec()).await.unwrap();
    remote.put("v1/b/two", vec![7; 200]).await.unwrap();
    let other = open(text);
    other.check().await.unwrap();
    assert_eq!(other.get("v1/a/one", 100).await, Ok(Some(b"second".to_vec())));
    assert_eq!(other.has("v1/a/one").await, Ok(true));
    assert!(matches!(other.get("v1/b/two", 100).await, Err(Missed::Unusable(_))));
    assert!(!other.is_off());
}

#[test]
fn a_directory_keeps_what_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(keeps_and_gives(&format!("file://{}", directory.path().display())));
}

#[test]
fn a_git_repository_keeps_what_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let made = Tool::new("git").args(["init", "-q", "--bare"]).directory(directory.path()).run().unwrap();
    assert_eq!(made.code, 0);
    runtime().block_on(keeps_and_gives(&format!("git+file://{}", directory.path().display())));
    let branches = Tool::new("git").args(["branch"]).directory(directory.path()).run().unwrap();
    assert!(branches.stdout.is_empty());
}

#[test]
fn a_place_that_is_not_there_is_given_up_and_says_so_once() {
    runtime().block_on(async {
        for text in ["file:///nowhere/at/all", "git+file:///nowhere/at/all"] {
            let remote = open(text);
            let mut told = Vec::new();
            for number in 0..5 {
                match remote.put("x", vec![number]).await {
                    Err(Missed::Failed { given_up, .. }) => told.extend(given_up),
                    Err(Missed::Off) => assert!(number >= 3),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(text) && remote.is_off());
            assert_eq!(remote.get("x", 1).await, Err(Missed::Off));
        }
    });
}

/// A place whose answers never come.
#[derive(Debug)]
struct Silent;

impl Backend for Silent {
    fn get<'b>(&'b self, _: &'b str, _: u64) -> Answer<'b, Option<Vec<u8>>> {
        Box::pin(std::future::pending())
    }
    fn put<'b>(&'b self, _: &'b str, _: Vec<u8>) -> Answer<'b, ()> {
        Box::pin(std::future::pending())
    }
    fn has<'b>(&'b self, _: &'b str) -> Answer<'b, bool> {
        Box::pin(std::future::pending())
    }
    fn check(&self) -> Answer<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_place_that_never_answers_costs_three_time_limits() {
    runtime().block_on(async {
        let remote = Remote {
            address: Address::parse("file:///x").unwrap(),
            backend: Box::new(Silent),
            timeout: Duration::from_millis(1),
            breaker: Breaker::default(),
            at_once: Semaphore::new(AT_ONCE),
        };
        let mut asked = 0;
        for _ in 0..100 {
            match remote.get("x", 1).await {
                Err(Missed::Failed { .. }) => asked += 1,
                Err(Missed::Off) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(asked, 3);
    });
}
