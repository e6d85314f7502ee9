//! Mutators: half of the changes are libFuzzer's own, half know what they change.

use libfuzzer_sys::fuzzer_mutate;
use testkit::damage;
use testkit::random::Random;

/// A way of damaging a file of one kind.
type Damage = fn(&[u8], &mut Random) -> Vec<u8>;

/// Other values in a JSON document.
pub fn json(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    by(damage::json, data, size, most, seed)
}

/// The footer or the pages of a Parquet file.
pub fn parquet(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    // Shorter than that it has no footer.
    if size < 64 {
        return fuzzer_mutate(data, size, most);
    }
    by(damage::parquet, data, size, most, seed)
}

/// Signs of CSV.
pub fn csv(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    by(damage::csv, data, size, most, seed)
}

/// Bytes in place, so that lengths and what follows them still fit.
pub fn in_place(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let random = &mut Random::new(seed.into());
    if size < 32 || random.below(4) == 0 {
        return fuzzer_mutate(data, size, most);
    }
    for _ in 0..=random.below(3) {
        let width = [1, 2, 4, 8, 16][random.below(5) as usize];
        let start = random.below((size - width) as u64) as usize;
        fuzzer_mutate(&mut data[start..start + width], width, width);
    }
    size
}

fn by(damage: Damage, data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let random = &mut Random::new(seed.into());
    if random.below(2) == 0 {
        return fuzzer_mutate(data, size, most);
    }
    let changed = damage(&data[..size], random);
    let size = changed.len().min(most);
    data[..size].copy_from_slice(&changed[..size]);
    size
}

/// The metadata of a model's folder, or its model: `metadata.json`, a zero byte, `model.ubj`.
pub fn model_folder(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let end = data[..size].iter().position(|byte| *byte == 0);
    let Some(end) = end else { return fuzzer_mutate(data, size, most) };
    if seed % 2 == 0 {
        return end + 1 + in_place(&mut data[end + 1..], size - end - 1, most - end - 1, seed / 2);
    }
    let changed = damage::json(&data[..end], &mut Random::new((seed / 2).into()));
    let whole = [&changed, &data[end..size]].concat();
    let size = whole.len().min(most);
    data[..size].copy_from_slice(&whole[..size]);
    size
}
