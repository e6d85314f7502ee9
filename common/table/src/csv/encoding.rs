//! What encoding text has that is not UTF-8, as far as its bytes tell.

/// What is wrong with bytes that are not UTF-8, and what they probably are; to be read after "is not UTF-8 text".
pub(super) fn hint(bytes: &[u8]) -> String {
    let Err(error) = std::str::from_utf8(bytes) else { return String::new() };
    let wrong = &bytes[error.valid_up_to()..];
    let Some(&first) = wrong.first() else { return String::new() };
    // One byte alone at the end is rather a letter of another encoding, unless UTF-8 stands before it.
    let is_alone = wrong.len() == 1 && bytes[..error.valid_up_to()].is_ascii() && !matches!(first, 0xc2 | 0xc3);
    if error.error_len().is_none() && !is_alone {
        return format!("a character is cut off (byte 0x{first:02X}): write it again as UTF-8");
    }
    let is_high = |byte: &u8| !byte.is_ascii();
    let high = bytes.iter().filter(|byte| is_high(byte)).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    // In Latin scripts few letters have accents.
    let encoding = if high > letters + 1 {
        "another encoding".to_owned()
    } else if bytes.iter().any(|byte| (0x80..0xa0).contains(byte)) {
        "Windows-1252".to_owned()
    } else {
        "Latin-1 or Windows-1252".to_owned()
    };
    format!("byte 0x{first:02X}, probably {encoding}: write it again as UTF-8, in Excel as \"CSV UTF-8\"")
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn the_likely_encoding_is_said() {
        for (bytes, said) in [
            (&b"caf\xe9"[..], "byte 0xE9, probably Latin-1 or Windows-1252"),
            (b"caf\xe9 bar", "probably Latin-1 or Windows-1252"),
            (b"5 \x80 each", "byte 0x80, probably Windows-1252"),
            (b"\x93\xfa\x96\x7b\x8c\xea", "probably another encoding"),
            (b"caf\xc3", "a character is cut off (byte 0xC3)"),
            (b"\xe6\x97", "a character is cut off (byte 0xE6)"),
        ] {
            let hint = hint(bytes);
            assert!(hint.contains(said), "{hint}");
        }
        assert_eq!(hint(b"plain"), "");
    }
}
