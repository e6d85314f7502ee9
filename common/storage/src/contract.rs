//! What every store has to do, whatever it lies on: one suite, run on each.

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Condition, ObjectMeta, Store, StoreError, Version};

/// Opens a store. The same name opens the same place, through a client of its own; another name another, empty place.
pub(super) type Open = dyn Fn(&'static str) -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync;

/// Keys that have to come back as they went in.
const ODD_KEYS: [&str; 15] = [
    "with space",
    "plus+plus",
    "per%cent",
    "encoded%20space",
    "slash%2Fencoded",
    "equals=1/run_id=a",
    "ümlaut",
    "日本語",
    "🎉",
    "amp&er<sand>",
    "question?mark#hash",
    "quote'\"s",
    "colon:star*pipe|",
    "semi;comma,at@tilde~",
    "[brackets]{braces}^`",
];

/// Runs the suite; the first thing that a store does otherwise panics.
pub(super) async fn check(open: &Open) {
    reads_what_was_written(open("read")).await;
    overwrites(open("overwrite")).await;
    reads_ranges(open("range")).await;
    lists_folders(open("list")).await;
    takes_odd_keys(open("odd")).await;
    misses_and_deletes(open("missing")).await;
    bounds_what_is_read(open("bounded")).await;
    deletes_folders(open("folders")).await;
    tells_what_is_older(open("older")).await;
    holds_conditions(open("condition")).await;
    takes_large_objects(open("large")).await;
    one_of_many_creates(open).await;
    no_increment_is_lost(open).await;
}

async fn reads_what_was_written(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    assert_eq!(store.list("").await.unwrap(), []);
    for content in [Bytes::new(), Bytes::from_static(b"x"), bytes(1 << 20, 1)] {
        let version = store.put("folder/object", content.clone()).await.unwrap();
        assert_eq!(store.get("folder/object").await.unwrap(), (content.clone(), version.clone()));
        let head = store.head("folder/object").await.unwrap().unwrap();
        assert_eq!((head.key.as_str(), head.size, &head.version), ("folder/object", content.len() as u64, &version));
        assert_eq!(store.list("").await.unwrap(), [head]);
    }
}

async fn overwrites(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    let mut versions = Vec::new();
    for content in ["first", "other", "a longer one", ""] {
        let version = store.put("object", content.into()).await.unwrap();
        assert!(!versions.contains(&version), "the version is an earlier one");
        assert_eq!(store.get("object").await.unwrap(), (content.into(), version.clone()));
        versions.push(version);
    }
}

async fn reads_ranges(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    let content = bytes(100_000, 2);
    let version = store.put("object", content.clone()).await.unwrap();
    let object = ObjectMeta { key: "object".to_owned(), size: 100_000, version };
    assert_eq!(store.head("object").await.unwrap(), Some(object.clone()));
    for range in [0..1, 0..100_000, 99_999..100_000, 40_000..70_000, 0..0, 500..500] {
        let read = store.get_range(&object, range.clone()).await.unwrap();
        assert_eq!(read, content.slice(range.start as usize..range.end as usize), "{range:?}");
    }
    for range in [99_999..100_001, 100_000..100_001, 200_000..200_001] {
        let read = store.get_range(&object, range.clone()).await;
        assert!(matches!(read, Err(StoreError::NotFound(_))), "{range:?}: {read:?}");
    }
    store.put("object", bytes(100_000, 3)).await.unwrap();
    let read = store.get_range(&object, 5..10).await;
    assert!(matches!(read, Err(StoreError::Changed(_))), "{read:?}");
}

async fn lists_folders(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    let keys = ["a/b/c", "a/b/d/e", "a/bc", "a/b-c", "ab", "z"];
    for key in keys {
        store.put(key, key.into()).await.unwrap();
    }
    let list = async |prefix: &str| -> Vec<String> {
        store.list(prefix).await.unwrap().into_iter().map(|object| object.key).collect()
    };
    assert_eq!(list("").await, ["a/b-c", "a/b/c", "a/b/d/e", "a/bc", "ab", "z"]);
    assert_eq!(list("a").await, ["a/b-c", "a/b/c", "a/b/d/e", "a/bc"]);
    assert_eq!(list("a/b").await, ["a/b/c", "a/b/d/e"]);
    assert_eq!(list("a/b/").await, ["a/b/c", "a/b/d/e"]);
    assert_eq!(list("z").await, [""; 0]);
    assert_eq!(list("nothing/here").await, [""; 0]);
    for object in store.list("").await.unwrap() {
        assert_eq!(store.head(&object.key).await.unwrap(), Some(object.clone()));
    }
}

async fn takes_odd_keys(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    for key in ODD_KEYS {
        store.put(key, key.into()).await.unwrap();
    }
    let mut expected = ODD_KEYS.map(str::to_owned);
    expected.sort();
    let listed: Vec<_> = store.list("").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(listed, expected);
    for key in ODD_KEYS {
        let (content, version) = store.get(key).await.unwrap();
        assert_eq!(content, key, "the content of another key");
        let object = ObjectMeta { key: key.to_owned(), size: key.len() as u64, version };
        assert_eq!(store.get_range(&object, 0..1).await.unwrap(), key[..].as_bytes()[..1]);
        store.delete(key).await.unwrap();
    }
    assert_eq!(store.list("").await.unwrap(), []);
}

async fn tells_what_is_older(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    store.put("folder/object", bytes(3, 1)).await.unwrap();
    store.put("other/object", bytes(3, 1)).await.unwrap();
    let listed = store.list("folder").await.unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(store.list_older("folder", SystemTime::now() + hour).await.unwrap(), listed);
    assert_eq!(store.list_older("folder", SystemTime::now() - hour).await.unwrap(), []);
}

async fn misses_and_deletes(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    let nothing = ObjectMeta { key: "nothing".to_owned(), size: 1, version: Version("0-0-0".to_owned()) };
    assert_eq!(store.head("nothing").await.unwrap(), None);
    assert!(matches!(store.get("nothing").await, Err(StoreError::NotFound(_))));
    assert!(matches!(store.get_range(&nothing, 0..1).await, Err(StoreError::NotFound(_))));
    store.delete("nothing").await.unwrap();
    assert!(store.put("", Bytes::new()).await.is_err(), "an empty key");

    store.put("folder/one", "1".into()).await.unwrap();
    store.put("folder/two", "2".into()).await.unwrap();
    assert_eq!(store.head("folder").await.unwrap(), None, "a folder is no object");
    assert!(matches!(store.get("folder").await, Err(StoreError::NotFound(_))));
    store.delete("folder/one").await.unwrap();
    assert_eq!(store.head("folder/one").await.unwrap(), None);
    assert_eq!(store.get("folder/two").await.unwrap().0, "2");
    store.delete("folder/two").await.unwrap();
    assert_eq!(store.list("").await.unwrap(), []);
    store.put("folder", "now a file".into()).await.unwrap();
}

async fn bounds_what_is_read(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    let version = store.put("object", "four".into()).await.unwrap();
    for most in [4, 5, u64::MAX] {
        assert_eq!(store.get_at_most("object", most).await.unwrap(), ("four".into(), version.clone()));
    }
    for most in [0, 3] {
        let refused = store.get_at_most("object", most).await;
        assert!(matches!(&refused, Err(StoreError::TooLarge(text)) if text.contains("/object")), "{refused:?}");
    }
    assert!(matches!(store.get_at_most("nothing", 3).await, Err(StoreError::NotFound(_))));
    store.check_conditions("object").await.unwrap();
    assert_eq!(store.get("object").await.unwrap().0, "four");
}

async fn deletes_folders(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    for key in ["a/b/one", "a/b/deep/two", "a/bc"] {
        store.put(key, "x".into()).await.unwrap();
    }
    store.delete_folder("a/b").await.unwrap();
    store.delete_folder("nothing").await.unwrap();
    let left: Vec<_> = store.list("").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(left, ["a/bc"]);
}

async fn holds_conditions(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    let put_if = async |content: &'static str, condition: Condition| {
        store.put_if("pointers/latest", content.into(), &condition).await
    };
    let conflicts = |written: Result<Version, StoreError>| matches!(written, Err(StoreError::Conflict(_)));

    assert!(conflicts(put_if("early", Condition::Unchanged(Version("0-0-0".to_owned()))).await));
    let first = put_if("first", Condition::Absent).await.unwrap();
    assert!(conflicts(put_if("again", Condition::Absent).await));
    assert!(conflicts(put_if("first", Condition::Absent).await), "the same content is no excuse");
    let second = put_if("second", Condition::Unchanged(first.clone())).await.unwrap();
    assert!(conflicts(put_if("stale", Condition::Unchanged(first)).await));
    assert_eq!(store.get("pointers/latest").await.unwrap(), ("second".into(), second.clone()));
    let third = store.put("pointers/latest", "by a plain write".into()).await.unwrap();
    assert!(conflicts(put_if("stale", Condition::Unchanged(second)).await));
    store.delete("pointers/latest").await.unwrap();
    assert!(conflicts(put_if("gone", Condition::Unchanged(third)).await));
    put_if("anew", Condition::Absent).await.unwrap();
}

async fn takes_large_objects(store: BoxFuture<'_, Arc<dyn Store>>) {
    let store = store.await;
    let content = bytes(40 << 20, 4);
    let version = store.put("large", content.clone()).await.unwrap();
    assert_eq!(
        store.head("large").await.unwrap().map(|head| (head.size, head.version)),
        Some((40 << 20, version.clone()))
    );
    let (read, read_version) = store.get("large").await.unwrap();
    assert!(read == content, "the content is another");
    assert_eq!(read_version, version);
    let across_parts = (8 << 20) - 5..(8 << 20) + 5;
    let slice = content.slice((8 << 20) - 5..(8 << 20) + 5);
    let object = ObjectMeta { key: "large".to_owned(), size: content.len() as u64, version: version.clone() };
    assert_eq!(store.get_range(&object, across_parts).await.unwrap(), slice);

    let content = bytes(20 << 20, 5);
    assert!(matches!(store.put_if("large", content.clone(), &Condition::Absent).await, Err(StoreError::Conflict(_))));
    let version = store.put_if("large", content.clone(), &Condition::Unchanged(version)).await.unwrap();
    assert!(store.get("large").await.unwrap() == (content, version), "the content is another");
}

/// Of those who create the same object at once, one succeeds, and its content stands.
async fn one_of_many_creates(open: &Open) {
    let stores = join_all((0..8).map(|_| open("create"))).await;
    for round in 0..5 {
        let key = format!("round-{round}");
        let attempts = stores.iter().enumerate().map(|(racer, store)| {
            let (store, key) = (Arc::clone(store), key.clone());
            tokio::spawn(async move {
                let content = format!("of racer {racer}");
                (content.clone(), store.put_if(&key, content.into(), &Condition::Absent).await)
            })
        });
        let results = join_all(attempts).await.into_iter().map(Result::unwrap);
        let (won, lost): (Vec<_>, Vec<_>) = results.partition(|(_, written)| written.is_ok());
        assert_eq!(won.len(), 1, "{won:?} all created {key}");
        assert!(lost.iter().all(|(_, written)| matches!(written, Err(StoreError::Conflict(_)))), "{lost:?}");
        assert_eq!(stores[0].get(&key).await.unwrap().0, won[0].0);
    }
}

/// Writers that read, add one and write if nobody else did, each until it succeeds: the sum tells of a lost write.
async fn no_increment_is_lost(open: &Open) {
    const WRITERS: u64 = 6;
    const INCREMENTS: u64 = 10;
    let stores = join_all((0..WRITERS).map(|_| open("count"))).await;
    stores[0].put_if("count", "000".into(), &Condition::Absent).await.unwrap();
    let writers = stores.iter().cloned().map(|store| {
        tokio::spawn(async move {
            for _ in 0..INCREMENTS {
                while !increment(store.as_ref()).await {}
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    assert_eq!(stores[0].get("count").await.unwrap().0, format!("{:03}", WRITERS * INCREMENTS));
}

/// All counts have the same length, so that a version that is only size and a coarse time would show.
async fn increment(store: &dyn Store) -> bool {
    let (content, version) = store.get("count").await.unwrap();
    let count: u64 = std::str::from_utf8(&content).unwrap().parse().unwrap();
    match store.put_if("count", format!("{:03}", count + 1).into(), &Condition::Unchanged(version)).await {
        Ok(_) => true,
        Err(StoreError::Conflict(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

/// Bytes that do not repeat within a part, so that swapped parts show.
fn bytes(length: usize, seed: u64) -> Bytes {
    let words = (0..length.div_ceil(8) as u64).map(|index| (index ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut content: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    content.truncate(length);
    content.into()
}
