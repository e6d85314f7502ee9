//! Text of SQL: names and literals in the notations of Trino and of Hive, and the tokens of queries.

use sha2::{Digest, Sha256};

/// A literal: `'it''s'`.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in SELECT and UNLOAD: `"a ""b"""`.
#[must_use]
pub fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A name in DDL: `` `a` ``.
#[must_use]
pub fn ddl_name(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

/// A token of 64 characters that stands for all parts.
#[must_use]
pub fn token(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}

/// SHA-256 of a text, in hexadecimal.
#[must_use]
pub fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(name("a\"b"), "\"a\"\"b\"");
        assert_eq!(ddl_name("a`b"), "`a``b`");
    }

    #[test]
    fn a_token_tells_its_parts_apart() {
        assert_eq!(token(&["a", "b"]).len(), 64);
        assert_ne!(token(&["ab", "c"]), token(&["a", "bc"]));
        assert_eq!(token(&["a", "b"]), token(&["a", "b"]));
    }
}
