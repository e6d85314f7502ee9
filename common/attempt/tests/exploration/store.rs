//! A store that knows nothing: it asks for every answer and waits until there is one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use storage::{Condition, ObjectMeta, Store, StoreError, Version};

/// What an attempt asks of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Get(String),
    Put(String, Bytes),
    PutIf(String, Bytes, Condition),
    List(String),
    Delete(String),
    /// The time, which is answered with a later one each time it is asked.
    Clock,
}

/// What the store says. A version is the content itself: writing the same again cannot be told from not writing it, as with an
/// ETag of S3.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Found(Bytes),
    NotFound,
    Done,
    Conflict,
    Keys(Vec<String>),
    Time(u16),
    /// Whether the question took effect, nobody can tell.
    Unavailable,
}

/// The answers that an attempt is given, one after the other, and the question that it waits with.
#[derive(Debug, Default)]
pub(crate) struct Port {
    pub(crate) answers: VecDeque<Answer>,
    pub(crate) question: Option<Question>,
}

/// The store of one attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct AskingStore {
    pub(crate) port: Arc<Mutex<Port>>,
}

impl AskingStore {
    pub(crate) async fn ask(&self, question: Question) -> Answer {
        poll_fn(|_| {
            let mut port = self.port.lock().unwrap();
            if let Some(answer) = port.answers.pop_front() {
                return Poll::Ready(answer);
            }
            port.question = Some(question.clone());
            Poll::Pending
        })
        .await
    }

    /// The time as the attempt's clock has it.
    pub(crate) async fn now(&self) -> String {
        match self.ask(Question::Clock).await {
            Answer::Time(time) => format!("2026-01-01T00:00:{time:02}.000Z"),
            other => panic!("{other:?} is no time"),
        }
    }
}

fn version_of(content: &Bytes) -> Version {
    Version(String::from_utf8_lossy(content).into_owned())
}

/// The content that a version stands for.
pub(crate) fn content_of(version: &Version) -> Bytes {
    Bytes::from(version.0.clone().into_bytes())
}

fn written(content: &Bytes, key: &str, answer: Answer) -> Result<Version, StoreError> {
    match answer {
        Answer::Done => Ok(version_of(content)),
        Answer::Conflict => Err(StoreError::Conflict(key.to_owned())),
        Answer::Unavailable => Err(StoreError::Unavailable(key.to_owned())),
        other => panic!("{other:?} answers no write"),
    }
}

#[async_trait]
impl Store for AskingStore {
    fn root(&self) -> &str {
        "memory"
    }

    async fn get(&self, key: &str) -> Result<(Bytes, Version), StoreError> {
        match self.ask(Question::Get(key.to_owned())).await {
            Answer::Found(content) => Ok((content.clone(), version_of(&content))),
            Answer::NotFound => Err(StoreError::NotFound(key.to_owned())),
            Answer::Unavailable => Err(StoreError::Unavailable(key.to_owned())),
            other => panic!("{other:?} answers no read"),
        }
    }

    async fn get_range(&self, _object: &ObjectMeta, _range: Range<u64>) -> Result<Bytes, StoreError> {
        unreachable!("an attempt reads whole objects")
    }

    fn keep_buffers(&self, _most_bytes: usize) {}

    async fn put(&self, key: &str, content: Bytes) -> Result<Version, StoreError> {
        let answer = self.ask(Question::Put(key.to_owned(), content.clone())).await;
        written(&content, key, answer)
    }

    async fn put_if(&self, key: &str, content: Bytes, condition: &Condition) -> Result<Version, StoreError> {
        let answer = self.ask(Question::PutIf(key.to_owned(), content.clone(), condition.clone())).await;
        written(&content, key, answer)
    }

    async fn head(&self, _key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        unreachable!("an attempt reads what it looks at")
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        match self.ask(Question::List(prefix.to_owned())).await {
            Answer::Keys(keys) => {
                let meta = |key: String| ObjectMeta { key, size: 0, version: Version(String::new()) };
                Ok(keys.into_iter().map(meta).collect())
            }
            Answer::Unavailable => Err(StoreError::Unavailable(prefix.to_owned())),
            other => panic!("{other:?} answers no listing"),
        }
    }

    async fn list_older(&self, _prefix: &str, _moment: SystemTime) -> Result<Vec<ObjectMeta>, StoreError> {
        unreachable!("an attempt does not ask how old an object is")
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.ask(Question::Delete(key.to_owned())).await {
            Answer::Done => Ok(()),
            Answer::Unavailable => Err(StoreError::Unavailable(key.to_owned())),
            other => panic!("{other:?} answers no deletion"),
        }
    }
}
