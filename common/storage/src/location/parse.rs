//! What a setting says about where something lies, and the slips that look like a location and are none.
//!
//! A relative path may be called nearly anything, so a slip such as `s3:/models` would be a folder of that name, made
//! without a word. What begins like a URL must therefore be one that is known.

use super::Location;
use error::text::{percent_decoded, without_control_characters, without_userinfo};
use error::{Error, Result};

/// Schemes that people write for places that are neither S3 nor a local path, also with fewer slashes than they have.
const OTHER_SCHEMES: [&str; 23] = [
    "abfs", "abfss", "adl", "az", "azure", "cos", "dbfs", "ftp", "ftps", "gcs", "gs", "hdfs", "http", "https", "minio",
    "oss", "sftp", "swift", "viewfs", "volumes", "wasb", "wasbs", "webhdfs",
];
/// What Hadoop and Spark call S3.
const HADOOP_S3: [&str; 2] = ["s3a", "s3n"];
/// Quotes that a shell, a JSON file or a word processor leaves around a value.
const QUOTES: [(char, char); 6] = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’'), ('«', '»')];

/// Reads a location as settings give it, blanks around it cut off.
pub(super) fn parse(given: &str) -> Result<Location> {
    let text = given.trim();
    if text.is_empty() {
        return Err(wrong(given, "it is empty"));
    }
    refuse_quotes(text)?;
    if text.starts_with("://") {
        return Err(wrong(text, "the scheme is missing"));
    }
    if let Some(rest) = ["s3//", "S3//"].iter().find_map(|start| text.strip_prefix(start)) {
        return Err(wrong(text, &format!("the colon is missing: write s3://{rest}")));
    }
    let Some((scheme, rest)) = scheme_and_rest(text) else { return parse_path(text, text) };
    let has_blank = !text[scheme.len()..].starts_with(':');
    match scheme.to_ascii_lowercase().as_str() {
        "s3" => match rest.strip_prefix("//").filter(|_| !has_blank) {
            Some(rest) => parse_s3(text, rest),
            None => Err(wrong(text, &format!("S3 is written with s3:// in front: write {}", as_s3(rest)))),
        },
        "file" if has_blank => Err(wrong(text, "a blank stands before the colon")),
        "file" => parse_file(text, rest),
        lower if HADOOP_S3.contains(&lower) => {
            Err(wrong(text, &format!("{scheme} is what Hadoop calls S3: write {}", as_s3(rest))))
        }
        "arn" if rest.starts_with("aws") => {
            let resource = rest.rsplit(':').next().unwrap_or_default();
            Err(wrong(text, &format!("that is the name of a resource: write {}", as_s3(resource))))
        }
        "http" | "https" => Err(wrong(text, &web_address(rest))),
        lower if rest.starts_with("//") || OTHER_SCHEMES.contains(&lower) => {
            Err(wrong(text, &format!("the scheme {scheme}:// is not supported")))
        }
        // A colon in the name of a folder, or the drive of another system.
        _ => parse_path(text, text),
    }
}

/// The scheme of what looks like a URL, and what follows its colon.
fn scheme_and_rest(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme = scheme.trim_end();
    is_scheme(scheme).then_some((scheme, rest))
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Refuses quotes around a value. A name may have one in it, and a path may begin with one (`'90s`).
fn refuse_quotes(text: &str) -> Result<()> {
    for (open, close) in QUOTES {
        let Some(rest) = text.strip_prefix(open) else { continue };
        let inner = rest.strip_suffix(close);
        let unquoted = inner.unwrap_or(rest).trim();
        if inner.is_some() || unquoted.starts_with('/') || scheme_and_rest(unquoted).is_some() {
            return Err(wrong(text, &format!("the quotes are part of the value: write {unquoted}")));
        }
    }
    Ok(())
}

fn parse_s3(text: &str, rest: &str) -> Result<Location> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if text.contains('@') && bucket.contains([':', '@']) {
        return Err(wrong(
            text,
            "a location holds no name and password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(is_name) {
        return Err(wrong(text, &format!("'{bucket}' is no bucket name")));
    }
    let prefix = prefix.trim_end_matches('/');
    Ok(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// What was meant by what stands behind `s3:`.
fn as_s3(rest: &str) -> String {
    let key = rest.trim_start_matches(['/', '\\', ' ']).replace('\\', "/");
    if key.is_empty() { "s3://bucket/prefix".to_owned() } else { format!("s3://{key}") }
}

/// What to write in place of a web address, which is that of an object in S3 more often than not.
fn web_address(rest: &str) -> String {
    let address = rest.trim_start_matches('/');
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let s3 = host.strip_suffix(".amazonaws.com").and_then(|host| match host.split_once(".s3") {
        Some((bucket, region)) if region.is_empty() || region.starts_with(['.', '-']) => {
            Some(format!("{bucket}/{path}"))
        }
        _ if host == "s3" || host.starts_with("s3.") || host.starts_with("s3-") => Some(path.to_owned()),
        _ => None,
    });
    match s3 {
        Some(key) => format!("that is a web address: write {}", as_s3(&key)),
        None => "web addresses are not read: download the files first".to_owned(),
    }
}

/// `file:///path`, `file://localhost/path` and `file:/path`, percent-encoded (RFC 8089).
fn parse_file(text: &str, rest: &str) -> Result<Location> {
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.strip_prefix("localhost").unwrap_or(with_host),
        None => rest,
    };
    if !path.starts_with('/') {
        return Err(wrong(text, "after file:// comes an absolute path, such as file:///data/input"));
    }
    let decoded = String::from_utf8(percent_decoded(path)).map_err(|_| wrong(text, "the path is not UTF-8"))?;
    parse_path(text, &decoded)
}

fn parse_path(text: &str, path: &str) -> Result<Location> {
    if path.contains('\0') {
        return Err(wrong(text, "a path cannot hold a NUL byte"));
    }
    let absolute = std::path::absolute(path).map_err(|error| wrong(text, &error.to_string()))?;
    Ok(Location::Local(absolute.components().collect()))
}

fn wrong(text: &str, why: &str) -> Error {
    let (text, why) = (without_control_characters(text), without_control_characters(why));
    let message = format!("location '{text}': {why}; a location is s3://bucket/prefix, file:///path or a path");
    Error::Setting(without_userinfo(&message).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> String {
        Location::parse(text).unwrap().to_string()
    }

    fn refused(text: &str) -> String {
        match Location::parse(text) {
            Err(Error::Setting(message)) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn locations_are_read_as_the_contract_says() {
        let here = std::env::current_dir().unwrap().display().to_string();
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("s3://bucket/a b+c%20d=é", "s3://bucket/a b+c%20d=é"),
            ("S3://bucket/a", "s3://bucket/a"),
            ("/data/in/", "/data/in"),
            ("file:///data/in", "/data/in"),
            ("FILE:///data/in", "/data/in"),
            ("file:/data/in", "/data/in"),
            ("file:///data/with%20space%2Band%zz", "/data/with space+and%zz"),
            ("file://localhost/data", "/data"),
            ("/data/100%25 of+it", "/data/100%25 of+it"),
        ] {
            assert_eq!(parsed(text), shown, "{text}");
            for (before, after) in [(" ", ""), ("", " "), ("\t ", "\n"), ("\u{a0}", "\r\n")] {
                assert_eq!(parsed(&format!("{before}{text}{after}")), shown, "blanks around {text}");
            }
        }
        assert_eq!(parsed("data"), format!("{here}/data"));
        assert_eq!(parsed("./a/../b"), format!("{here}/a/../b"));
    }

    #[test]
    fn paths_that_people_have_stay_paths() {
        let here = std::env::current_dir().unwrap().display().to_string();
        for path in [
            "my data",
            "für müller",
            "#1",
            "a#b?c",
            "2024-01-31T10:00:00",
            "run:7",
            "C:",
            "C:\\data",
            "a:b/c",
            "s3",
            "s3-backup",
            "file",
            "https",
            "'90s",
            "Bob's files",
            "12\"",
            "region=n",
            "~x",
            "$x",
            "a//b",
        ] {
            assert_eq!(parsed(path), format!("{here}/{}", path.replace("//", "/")), "{path}");
        }
        assert_eq!(parsed("/data/http://x/s3:/y"), "/data/http:/x/s3:/y");
        assert_eq!(parsed("./s3:x"), format!("{here}/s3:x"));
    }

    #[test]
    fn what_looks_like_a_location_and_is_none_says_what_to_write() {
        for (text, write) in [
            ("s3:/models/x", "write s3://models/x;"),
            ("s3:models/x", "write s3://models/x;"),
            ("S3:/models", "write s3://models;"),
            ("s3:", "write s3://bucket/prefix;"),
            ("s3:\\\\models\\x", "write s3://models/x;"),
            ("s3 ://models", "write s3://models;"),
            ("s3: //models", "write s3://models;"),
            ("s3//models/x", "write s3://models/x;"),
            ("s3a://models/x", "write s3://models/x;"),
            ("S3N:/models/x", "write s3://models/x;"),
            ("arn:aws:s3:::models/x", "write s3://models/x;"),
            ("https://models.s3.eu-west-1.amazonaws.com/x/y?versionId=1", "write s3://models/x/y;"),
            ("https://s3.eu-west-1.amazonaws.com/models/x", "write s3://models/x;"),
            ("https://s3-eu-west-1.amazonaws.com/models/x", "write s3://models/x;"),
            ("https://models.s3.amazonaws.com", "write s3://models/;"),
            ("'s3://models'", "write s3://models;"),
            ("\"s3://models/x", "write s3://models/x;"),
            (" “/data/in” ", "write /data/in;"),
            ("'data'", "write data;"),
            ("'/data", "write /data;"),
        ] {
            let message = refused(text);
            assert!(message.contains(write), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_no_location_is_a_setting() {
        for text in [
            "",
            " \n",
            "s3://",
            "s3:///key",
            "s3://a b/key",
            "s3://s3://bucket/key",
            "s3://models'",
            "s3://bucket:9000/key",
            "gs://bucket/x",
            "GS:/bucket/x",
            "https://host/x",
            "http:x",
            "dbfs:/x",
            "hdfs:x",
            "unheard-of://x",
            "://x",
            "file://host/x",
            "file://",
            "file:x",
            "a\0b",
        ] {
            let message = refused(text);
            assert!(message.ends_with("a location is s3://bucket/prefix, file:///path or a path"), "{message}");
            assert!(!message.contains('\n'), "{message:?}");
        }
    }

    proptest! {
        /// Whatever a setting holds is a location or one line that says what is wrong; a location reads back as itself.
        #[test]
        fn any_text_is_a_location_or_a_setting(text in "(s3|S3|file|gs|[a-z'\" ]{0,3})?[:/]{0,3}\\PC{0,20}") {
            match Location::parse(&text) {
                Ok(location) => {
                    let shown = location.to_string();
                    // A name may end in a blank, which a setting cannot.
                    if shown.trim() == shown {
                        prop_assert_eq!(Location::parse(&shown).unwrap(), location);
                    }
                }
                Err(Error::Setting(message)) => prop_assert!(!message.contains('\n')),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
