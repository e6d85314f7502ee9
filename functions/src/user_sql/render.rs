//! Placeholders: `{{name}}` becomes its value, and every place of the result knows where it came from.

use sqlparser::tokenizer::Location;

use super::Value;

/// A line and a column, from 1.
pub(super) type Place = (u64, u64);

/// A template with its values put in.
#[derive(Debug, Clone)]
pub(super) struct Rendered {
    pub(super) text: String,
    template: String,
    /// Characters of the result and of the template, in step: where each stretch begins in both. A value is one stretch.
    stretches: Vec<Stretch>,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    rendered: usize,
    template: usize,
    is_value: bool,
}

impl Rendered {
    /// Puts the values in; an unknown or unfinished placeholder is an error with its place.
    pub(super) fn of(template: &str, values: &[Value<'_>]) -> Result<Self, (Place, String)> {
        let (mut text, mut stretches) = (String::with_capacity(template.len()), Vec::new());
        let (mut rendered, mut read, mut rest) = (0, 0, template);
        while let Some(start) = rest.find("{{") {
            let (before, placeholder) = rest.split_at(start);
            stretches.push(Stretch { rendered, template: read, is_value: false });
            let characters = before.chars().count();
            (rendered, read) = (rendered + characters, read + characters);
            text.push_str(before);
            let fail = |problem: String| (place_of(template, read), problem);
            let end = placeholder.find("}}").ok_or_else(|| fail("}} is missing behind {{".to_owned()))?;
            let name = placeholder[2..end].trim();
            let value = values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| {
                let known: Vec<String> = values.iter().map(|(known, _)| format!("{{{{{known}}}}}")).collect();
                fail(format!("there is no {{{{{name}}}}}; there are {}", known.join(", ")))
            })?;
            stretches.push(Stretch { rendered, template: read, is_value: true });
            text.push_str(value);
            rendered += value.chars().count();
            read += placeholder[..end + 2].chars().count();
            rest = &placeholder[end + 2..];
        }
        stretches.push(Stretch { rendered, template: read, is_value: false });
        text.push_str(rest);
        Ok(Self { text, template: template.to_owned(), stretches })
    }

    /// Where in the template a place of the result comes from.
    pub(super) fn place(&self, location: Location) -> Place {
        let offset = offset_of(&self.text, location);
        let index = self.stretches.partition_point(|stretch| stretch.rendered <= offset).saturating_sub(1);
        let stretch = self.stretches[index];
        let within = if stretch.is_value { 0 } else { offset - stretch.rendered };
        place_of(&self.template, stretch.template + within)
    }
}

/// How many characters stand before a place.
fn offset_of(text: &str, location: Location) -> usize {
    let (mut line, mut column) = (1, 1);
    for (offset, character) in text.chars().enumerate() {
        if (line, column) >= (location.line, location.column) {
            return offset;
        }
        (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    text.chars().count()
}

/// The place behind so many characters.
fn place_of(text: &str, offset: usize) -> Place {
    text.chars().take(offset).fold(
        (1, 1),
        |(line, column), character| {
            if character == '\n' { (line + 1, 1) } else { (line, column + 1) }
        },
    )
}
