//! Listings that no server should give.

use super::http::Message;
use super::{Listing, Request};

/// A listing with so many hundredths of the sizes of its objects.
pub(super) fn resized(answer: &mut Message, percent: u16) {
    const START: &str = "<Size>";
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let mut pieces = text.split(START);
    let mut resized = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (size, rest) = piece.split_at(piece.find('<').unwrap_or_default());
        let size = size.parse::<u64>().unwrap_or_default();
        resized += &format!("{START}{}{rest}", size * u64::from(percent) / 100);
    }
    answer.body = resized.into_bytes();
}

/// The answer to a request that lists.
pub(super) fn answer(listing: Listing, request: &Request) -> Message {
    let parameter = |name: &str| {
        let value = request.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().replace("%2F", "/")
    };
    let (prefix, token, after) = (parameter("prefix"), parameter("continuation-token"), parameter("start-after"));
    let key = |name: &str| format!("{prefix}{name}.parquet");
    let (keys, next) = match listing {
        Listing::RepeatsItself if token.is_empty() => (vec![key("a")], Some("again".to_owned())),
        Listing::RepeatsItself => (vec![key("b")], Some("again".to_owned())),
        Listing::NeverEnds => (Vec::new(), Some(format!("{token}x"))),
        Listing::GoesRound => (vec![key("a"), key("b")], Some(format!("{token}x"))),
        Listing::OneByOne => (vec![key(&format!("{:08}", token.len()))], Some(format!("{token}x"))),
        Listing::BreaksOff => (vec![key("a")], Some(String::new())),
        Listing::Astray => (vec![key("a"), "elsewhere/b.parquet".to_owned()], None),
        Listing::Twice => (vec![key("a"), key("a")], None),
        Listing::LeavesOut if !after.is_empty() => (vec![key("b")], None),
        Listing::LeavesOut if token.is_empty() => (vec![key("a")], Some("second".to_owned())),
        Listing::LeavesOut => (vec![key("c")], None),
    };
    let contents: String = keys
        .iter()
        .map(|key| {
            format!("<Contents><Key>{key}</Key><Size>4</Size><ETag>&quot;{:032x}&quot;</ETag></Contents>", key.len())
        })
        .collect();
    let token = next.as_ref().filter(|token| !token.is_empty());
    let token =
        token.map_or_else(String::new, |token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Prefix>{prefix}</Prefix><KeyCount>{}</KeyCount><IsTruncated>{}</IsTruncated>{token}{contents}</ListBucketResult>",
        keys.len(),
        next.is_some()
    );
    Message {
        start: "HTTP/1.1 200 OK".to_owned(),
        headers: vec!["content-type: application/xml".to_owned()],
        body: body.into_bytes(),
    }
}
