//! Damage at random: of any bytes, of Parquet where it hurts, of CSV by its signs, of JSON by its values.

use serde_json::{Value, json};

use crate::random::Random;

/// What lies on the edge of what a length or a count can be.
const NUMBERS: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX as u64, u64::MAX];
const SIGNS: [&[u8]; 14] = [
    b"\"",
    b"\"\"",
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"NULL",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xc3",
    b"1e999",
    b"-",
    b"\n\n\n",
];

/// One to six changes anywhere.
#[must_use]
pub fn bytes(original: &[u8], random: &mut Random) -> Vec<u8> {
    let mut content = original.to_vec();
    for _ in 0..=random.below(6) {
        let end = content.len();
        change(&mut content, 0, end, random);
    }
    content
}

/// Text, with signs that mean something put in or over.
#[must_use]
pub fn csv(original: &[u8], random: &mut Random) -> Vec<u8> {
    let mut content = original.to_vec();
    for _ in 0..=random.below(6) {
        if random.below(2) == 0 {
            let end = content.len();
            change(&mut content, 0, end, random);
            continue;
        }
        let sign = SIGNS[random.below(SIGNS.len() as u64) as usize];
        let at = random.below(content.len() as u64 + 1) as usize;
        let until = (at + random.below(3) as usize).min(content.len());
        content.splice(at..until, sign.iter().copied());
    }
    content
}

/// Changes of the footer, of the first bytes of pages, or anywhere; the footer's length is put right again now and then.
///
/// # Panics
/// Where it is shorter than a footer.
#[must_use]
pub fn parquet(original: &[u8], random: &mut Random) -> Vec<u8> {
    let (body, tail) = original.split_at(original.len() - footer_bytes(original) - 8);
    let (mut body, mut footer) = (body.to_vec(), tail[..tail.len() - 8].to_vec());
    let mut end = tail[tail.len() - 8..].to_vec();
    for _ in 0..=random.below(5) {
        match random.below(10) {
            0..4 => {
                let end = footer.len();
                change(&mut footer, 0, end, random);
            }
            // Headers of pages and what stands right behind them: lengths of levels and of texts.
            4..7 if body.len() > 64 => {
                let start = random.below(body.len() as u64 - 48) as usize;
                change(&mut body, start, start + 48, random);
            }
            4..9 => {
                let end = body.len();
                change(&mut body, 4.min(end), end, random);
            }
            _ => change(&mut end, 0, 8, random),
        }
    }
    if random.below(4) > 0 && end.len() == 8 {
        end[..4].copy_from_slice(&(footer.len() as u32).to_le_bytes());
    }
    [body, footer, end].concat()
}

fn footer_bytes(content: &[u8]) -> usize {
    let (_, end) = content.split_last_chunk::<8>().expect("a Parquet file");
    let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]) as usize;
    length.min(content.len().saturating_sub(8))
}

/// JSON with other bytes or with other values in one to three places; what cannot be parsed is damaged as bytes.
#[must_use]
pub fn json(original: &[u8], random: &mut Random) -> Vec<u8> {
    let parsed = serde_json::from_slice::<Value>(original).ok().filter(|_| random.below(4) > 0);
    let Some(mut document) = parsed else { return bytes(original, random) };
    for _ in 0..=random.below(3) {
        replace_value(&mut document, random);
    }
    document.to_string().into_bytes()
}

/// Walks to a random place and puts something else there, or takes it away.
fn replace_value(value: &mut Value, random: &mut Random) {
    let deeper = random.below(5) > 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let index = random.below(fields.len() as u64) as usize;
            let name = fields.keys().nth(index).cloned().unwrap_or_default();
            if random.below(8) == 0 {
                let _ = fields.remove(&name);
            } else if let Some(field) = fields.get_mut(&name) {
                replace_value(field, random);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let index = random.below(items.len() as u64) as usize;
            match random.below(8) {
                0 => drop(items.remove(index)),
                1 => items.insert(index, items[index].clone()),
                _ => replace_value(&mut items[index], random),
            }
        }
        other => *other = another_value(other, random),
    }
}

fn another_value(value: &Value, random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(NUMBERS[random.below(NUMBERS.len() as u64) as usize]),
        4 => json!(1e300),
        5 => json!(""),
        6 => json!("../../x"),
        7 => json!([]),
        8 => json!({}),
        9 => json!([value, value]),
        10 => json!(value.to_string()),
        _ => value.as_f64().map_or_else(|| json!("x".repeat(300)), |number| json!(number * 2.0 + 1.0)),
    }
}

/// One change between two places.
fn change(content: &mut Vec<u8>, from: usize, to: usize, random: &mut Random) {
    let to = to.min(content.len());
    if from >= to {
        return;
    }
    let at = from + random.below((to - from) as u64) as usize;
    match random.below(8) {
        0 | 1 => content[at] ^= 1 << random.below(8),
        2 => content[at] = NUMBERS[random.below(5) as usize] as u8,
        3 => {
            let number = NUMBERS[random.below(NUMBERS.len() as u64) as usize].to_le_bytes();
            let width = [2, 4, 8][random.below(3) as usize].min(to - at);
            content[at..at + width].copy_from_slice(&number[..width]);
        }
        // A variable-length integer, as Thrift writes them.
        4 => {
            let mut number = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
            let mut written = Vec::new();
            while number > 0x7f {
                written.push(number as u8 | 0x80);
                number >>= 7;
            }
            written.push(number as u8);
            content.splice(at..at + 1, written);
        }
        5 => drop(content.drain(at..(at + 1 + random.below(16) as usize).min(to))),
        6 => {
            let copied = content[at..(at + 1 + random.below(32) as usize).min(to)].to_vec();
            let place = from + random.below((to - from) as u64) as usize;
            content.splice(place..place, copied);
        }
        _ => content[at] = random.bits() as u8,
    }
}
