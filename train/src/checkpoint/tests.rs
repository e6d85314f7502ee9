use registry::{ModelRun, ModelStore};
use storage::Location;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::*;
use crate::plan::TrainBody;

type Choice = BTreeMap<String, u32>;

async fn folder(store: &TempDir) -> RunFolder {
    let location = Location::parse(&store.path().display().to_string()).unwrap();
    let models = ModelStore::new(location.open().await.unwrap(), "engagement");
    crate::plan::folder(&models, &ModelRun { version: "v1".parse().unwrap(), run_id: "r1".parse().unwrap() })
}

fn plan(threads: usize) -> TrainPlan {
    TrainPlan {
        format_version: 1,
        program_version: "1.0.0".to_owned(),
        started_at: "2026-11-28T10:00:00.000Z".to_owned(),
        settings: "settings".into(),
        body: TrainBody { objects_sha256: "rows".to_owned(), threads, reading: Default::default(), shards: None },
    }
}

fn choice(rounds: u32) -> Choice {
    BTreeMap::from([("rounds".to_owned(), rounds)])
}

/// Work of the thread that trains.
async fn blocking<T: Send + 'static>(
    checkpoint: &Arc<Checkpoint>,
    work: impl FnOnce(&Checkpoint) -> T + Send + 'static,
) -> T {
    let checkpoint = Arc::clone(checkpoint);
    spawn_blocking(move || work(&checkpoint)).await.unwrap()
}

#[tokio::test]
async fn the_first_choice_holds() {
    let store = TempDir::new().unwrap();
    let folder = folder(&store).await;
    let open = |threads, is_continued| Checkpoint::open(&folder, &plan(threads), is_continued).unwrap();
    let (first, orphan) = (open(2, false), open(2, false));
    assert_eq!(blocking(&first, |one| one.commit_once(choice(1))).await, Ok(choice(1)));
    assert_eq!(blocking(&orphan, |one| one.commit_once(choice(2))).await, Ok(choice(1)), "of two attempts one holds");
    assert_eq!(
        blocking(&open(2, false), super::Checkpoint::earlier_choice::<Choice>).await,
        Ok(None),
        "a new run looks for none"
    );
    assert_eq!(blocking(&open(2, true), super::Checkpoint::earlier_choice).await, Ok(Some(choice(1))));
}

#[tokio::test]
async fn what_is_damaged_or_foreign_is_replaced() {
    let store = TempDir::new().unwrap();
    let folder = folder(&store).await;
    let open = |threads| Checkpoint::open(&folder, &plan(threads), true).unwrap();
    blocking(&open(2), |one| one.commit_once(choice(1))).await.unwrap();
    assert_eq!(blocking(&open(1), super::Checkpoint::earlier_choice::<Choice>).await, Ok(None), "of another plan");
    assert_eq!(blocking(&open(1), |one| one.commit_once(choice(3))).await, Ok(choice(3)));
    assert_eq!(blocking(&open(1), super::Checkpoint::earlier_choice).await, Ok(Some(choice(3))));
    folder.put("_checkpoint/choice.json", Bytes::from_static(b"{\"content\"")).await.unwrap();
    assert_eq!(blocking(&open(1), super::Checkpoint::earlier_choice::<Choice>).await, Ok(None));
    assert_eq!(blocking(&open(1), |one| one.commit_once(choice(4))).await, Ok(choice(4)));
    assert_eq!(blocking(&open(1), super::Checkpoint::earlier_choice).await, Ok(Some(choice(4))));
}

#[tokio::test]
async fn objects_are_kept_until_they_are_stored_and_nothing_is_stored_after_the_end() {
    let store = TempDir::new().unwrap();
    let folder = folder(&store).await;
    let open = || Checkpoint::open(&folder, &plan(2), true).unwrap();
    let stored = async || blocking(&open(), |one| one.earlier("boosting-0")).await.unwrap();
    let checkpoint = open();
    checkpoint.keep("boosting-0", b"after round 1".to_vec());
    assert_eq!(stored().await, None);
    checkpoint.keep("boosting-0", b"after round 2".to_vec());
    checkpoint.store().await.unwrap();
    assert_eq!(stored().await.as_deref(), Some(b"after round 2".as_slice()));
    checkpoint.offer("boosting-0", b"after round 3".to_vec());
    while stored().await.as_deref() != Some(b"after round 3") {
        tokio::task::yield_now().await;
    }
    checkpoint.keep("boosting-0", b"after round 4".to_vec());
    checkpoint.close().await;
    checkpoint.offer("boosting-0", b"after round 5".to_vec());
    checkpoint.store().await.unwrap();
    assert_eq!(stored().await.as_deref(), Some(b"after round 3".as_slice()));
}

#[tokio::test]
async fn a_binding_tells_runs_and_details_apart() {
    let store = TempDir::new().unwrap();
    let folder = folder(&store).await;
    let bound =
        |threads, detail: &str| Checkpoint::open(&folder, &plan(threads), false).unwrap().binding(&detail).unwrap();
    assert_eq!(bound(1, "depth 3"), bound(1, "depth 3"));
    assert_ne!(bound(1, "depth 3"), bound(1, "depth 4"));
    assert_ne!(bound(1, "depth 3"), bound(2, "depth 3"));
}
