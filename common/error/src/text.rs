//! Texts of other people's data, in what people read.

use std::borrow::Cow;

/// A text that stays on its line and cannot move a terminal's cursor: names and values come from other people's data.
#[must_use]
pub fn without_control_characters(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

/// The text with `***` for the name and the password of every URL in it (`http://name:password@host`): they end where the URL does,
/// or at its last `@`, for a password may hold what none should.
#[must_use]
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    let (mut clean, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("://") {
        let (before, url) = rest.split_at(start + 3);
        let is_end = |character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '<' | '>' | '`');
        let url = &url[..url.find(is_end).unwrap_or(url.len())];
        clean.push_str(before);
        if let Some(end) = end_of_userinfo(url) {
            clean.push_str("***");
            rest = &rest[before.len() + end..];
        } else {
            rest = &rest[before.len()..];
        }
    }
    if clean.is_empty() {
        return Cow::Borrowed(text);
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// Where the host of a URL begins that has something before it. An `@` may also stand in a path: there it belongs to a password only
/// where the first part is no host, such as `name:pass` of `name:pass/word@host`.
fn end_of_userinfo(url: &str) -> Option<usize> {
    let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
    if let Some(end) = authority.rfind('@') {
        return Some(end);
    }
    let (_, port) = authority.rsplit_once(':')?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = authority.starts_with('[');
    if is_port || is_address { None } else { url.rfind('@') }
}

/// Decodes `%41`; a `%` that no two hexadecimal digits follow stays as it is.
#[must_use]
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = (byte == b'%').then(|| tail.get(..2)).flatten();
        let code = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                decoded.push(code);
                rest = &tail[2..];
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_of_urls_are_hidden() {
        for (text, clean) in [
            ("no URL", "no URL"),
            ("http://host:9000/a@b", "http://host:9000/a@b"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("cannot ask http://me:secret@host:9000/x: no", "cannot ask http://***@host:9000/x: no"),
            ("'ftp://me:se/cr@et@host/x', \"https://me@h\"", "'ftp://***@host/x', \"https://***@h\""),
            ("http://[::1]:9/a@b http://a:b@c", "http://[::1]:9/a@b http://***@c"),
            ("://", "://"),
            ("x://@", "x://***@"),
        ] {
            assert_eq!(without_userinfo(text), clean, "{text}");
        }
    }
}
