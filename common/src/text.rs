//! Texts of other people's data, in what people read.

/// A text that stays on its line and cannot move a terminal's cursor: names and values come from other people's data.
#[must_use]
pub(crate) fn without_control_characters(text: &str) -> String {
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
