use super::*;
use crate::contract;

fn store_in(folder: &tempfile::TempDir) -> LocalStore {
    LocalStore::new(folder.path().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    contract::check(&move |name| {
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(root.join("suite").join(name)));
        Box::pin(async move { store })
    })
    .await;
}

#[tokio::test]
async fn no_key_leaves_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "x").unwrap();
    let store = LocalStore::new(folder.path().join("root"));
    store.put("inside", "x".into()).await.unwrap();
    for key in ["../secret", "a/../../secret", "/etc/passwd", "a//b", "./inside", "a/.", "..", "a\0b", ".incoming/x"] {
        assert!(matches!(store.get(key).await, Err(StoreError::Denied(_))), "{key}");
        assert!(matches!(store.put(key, "y".into()).await, Err(StoreError::Denied(_))), "{key}");
        assert!(matches!(store.head(key).await, Err(StoreError::Denied(_))), "{key}");
        assert!(matches!(store.delete(key).await, Err(StoreError::Denied(_))), "{key}");
    }
    assert!(matches!(store.list("..").await, Err(StoreError::Denied(_))));
    assert_eq!(std::fs::read(folder.path().join("secret")).unwrap(), b"x");
}

#[tokio::test]
async fn writing_leaves_the_objects_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(&folder);
    store.put("a/b", "x".into()).await.unwrap();
    store.put_if("a/c", "x".into(), &Condition::Absent).await.unwrap();
    store.put_if("a/c", "y".into(), &Condition::Absent).await.unwrap_err();
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), ["a"]);
    assert_eq!(names(&folder.path().join("a")), ["b", "c"]);
    store.delete("a/b").await.unwrap();
    store.delete("a/c").await.unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
}

#[tokio::test]
async fn what_a_killed_writer_left_is_never_an_object_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".incoming")).unwrap();
    fs::write(folder.path().join(".incoming/1-0-1700000000000000000"), "half").unwrap();
    let store = store_in(&folder);
    assert_eq!(store.list("").await.unwrap(), []);
    store.put("key", "x".into()).await.unwrap();
    assert!(!folder.path().join(".incoming").exists());
}

#[tokio::test]
async fn a_version_does_not_come_back_when_the_clock_does() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(&folder);
    store.put("key", "a".into()).await.unwrap();
    let file = File::options().write(true).open(folder.path().join("key")).unwrap();
    let future = std::time::SystemTime::now() + Duration::from_secs(3600);
    file.set_modified(future).unwrap();
    store.put("key", "b".into()).await.unwrap();
    let modified = fs::metadata(folder.path().join("key")).unwrap().modified().unwrap();
    assert_eq!(modified, future + Duration::from_nanos(1));
}

#[tokio::test]
async fn a_file_that_changes_in_place_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(&folder);
    let version = store.put("key", "0123456789".into()).await.unwrap();
    let file = File::options().write(true).open(folder.path().join("key")).unwrap();
    file.set_len(5).unwrap();
    let object = ObjectMeta { key: "key".to_owned(), size: 10, version: version.clone() };
    let read = store.get_range(&object, 0..10).await;
    assert!(matches!(read, Err(StoreError::Changed(_))), "{read:?}");
    let written = store.put_if("key", "x".into(), &Condition::Unchanged(version)).await;
    assert!(matches!(written, Err(StoreError::Conflict(_))), "{written:?}");
}

#[tokio::test]
async fn links_are_followed_and_loops_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("file"), "x").unwrap();
    let link = |to: &Path, name: &str| {
        std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    };
    link(elsewhere.path(), "linked");
    link(folder.path(), "loop");
    link(&folder.path().join("nothing"), "broken");
    let listed: Vec<_> = store_in(&folder).list("").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(listed, ["linked/file"]);
}

#[tokio::test]
async fn a_name_may_hold_what_s3_servers_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(&folder);
    for key in ["back\\slash", "line\nbreak", " ", "trailing "] {
        store.put(key, key.into()).await.unwrap();
        assert_eq!(store.get(key).await.unwrap().0, key);
    }
    assert_eq!(store.list("").await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_file_where_a_folder_is_needed_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(&folder);
    store.put("a", "x".into()).await.unwrap();
    let written = store.put("a/b", "x".into()).await;
    assert!(matches!(&written, Err(StoreError::Denied(text)) if text.contains("a/b")), "{written:?}");
    store.put("folder/b", "x".into()).await.unwrap();
    assert!(matches!(store.put("folder", "x".into()).await, Err(StoreError::Denied(_))));
    assert_eq!(store.list("").await.unwrap().len(), 2);
}

#[test]
fn errors_of_the_system_are_told_apart() {
    let translated = |code: i32| translate("cannot write", Path::new("/x"), &io::Error::from_raw_os_error(code));
    for full in [libc::ENOSPC, libc::EDQUOT] {
        assert!(matches!(translated(full), StoreError::Full(_)));
    }
    for denied in [libc::EACCES, libc::EPERM, libc::EROFS, libc::ENOTDIR, libc::EISDIR, libc::ENAMETOOLONG] {
        assert!(matches!(translated(denied), StoreError::Denied(_)), "{denied}");
    }
    assert!(matches!(translated(libc::ENOENT), StoreError::NotFound(_)));
    assert!(matches!(translated(libc::EIO), StoreError::Unavailable(_)));
}
