//! Numbers in cells of CSV, written as nearly all are: digits with a sign and a point or without.

/// Any number of so many digits fits into 64 bits.
const DIGITS_MOST: usize = 19;

/// Powers of ten, each of which is a 64-bit float.
const POWERS: [f64; DIGITS_MOST + 1] = {
    let (mut powers, mut exponent) = ([1.0; DIGITS_MOST + 1], 1);
    while exponent <= DIGITS_MOST {
        powers[exponent] = 10_u64.pow(exponent as u32) as f64;
        exponent += 1;
    }
    powers
};

/// The same, to divide by.
const DIVISORS: [Divisor; DIGITS_MOST + 1] = {
    let (mut divisors, mut exponent) = ([Divisor::of(1); DIGITS_MOST + 1], 1);
    while exponent <= DIGITS_MOST {
        divisors[exponent] = Divisor::of(10_u64.pow(exponent as u32));
        exponent += 1;
    }
    divisors
};

/// The number that a cell is, to the bit as the standard library reads it.
pub(super) fn usual_number(cell: &str) -> Option<f64> {
    let (is_negative, digits) = match cell.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let Some((digits, behind)) = decimal(digits) else { return cell.parse().ok() };
    let number = quotient(digits, behind);
    Some(if is_negative { -number } else { number })
}

/// All digits as one number, and how many of them stand behind the point.
fn decimal(text: &[u8]) -> Option<(u64, usize)> {
    let (whole, before, rest) = digits(0, text);
    let (number, behind, rest) = match rest {
        [b'.', rest @ ..] => digits(whole, rest),
        rest => (whole, 0, rest),
    };
    (rest.is_empty() && (1..=DIGITS_MOST).contains(&(before + behind))).then_some((number, behind))
}

/// `number` with the digits that `text` begins with behind its own, how many these are, and what follows them. Of too many digits the
/// number is any.
fn digits(mut number: u64, text: &[u8]) -> (u64, usize, &[u8]) {
    let mut rest = text;
    while let Some((eight, behind)) = rest.split_first_chunk()
        && let Some(eight) = eight_digits(*eight)
    {
        number = number.wrapping_mul(100_000_000).wrapping_add(eight);
        rest = behind;
    }
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        rest = behind;
    }
    (number, text.len() - rest.len(), rest)
}

/// Eight digits at once, as neighbours are put together to numbers of two, four and eight digits.
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    let text = u64::from_le_bytes(text);
    let digits = text.wrapping_sub(0x3030_3030_3030_3030);
    // A byte below '0' or above '9' shows in its highest bit.
    if (text.wrapping_add(0x4646_4646_4646_4646) | digits | text) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// The 64-bit float that is nearest to `number` divided by so many tens.
fn quotient(number: u64, tens: usize) -> f64 {
    /// Integers up to this one are 64-bit floats, and a quotient of two of them is rounded once.
    const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
    if number <= EXACT {
        return number as f64 / POWERS[tens];
    }
    let (divisor, zeros) = (DIVISORS[tens], number.leading_zeros());
    let number = number << zeros;
    let mut quotient = divisor.guess(number);
    // Halves of what a float can tell are multiples of this, so a guess far enough below the next one is rounded as the quotient is.
    let above_half = quotient % 512;
    if above_half == 0 || above_half + GUESS_SHORT >= 512 {
        let (floor, is_exact) = divisor.quotient(number);
        // The quotient has more bits than a float, so that what is lost behind them decides as any of them would.
        quotient = floor | u64::from(!is_exact);
    }
    let exponent = i64::from(divisor.zeros) - i64::from(zeros) - 63;
    quotient as f64 * f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// The quotient is at least what was guessed, and less than so much more.
const GUESS_SHORT: u64 = 3;

/// A number to divide by, moved to the left until its highest bit is set.
#[derive(Debug, Clone, Copy)]
struct Divisor {
    moved: u64,
    /// By so many bits.
    zeros: u32,
    /// `floor((2^128 - 1) / moved) - 2^64`.
    inverse: u64,
}

impl Divisor {
    const fn of(number: u64) -> Self {
        let zeros = number.leading_zeros();
        let moved = number << zeros;
        let inverse = (u128::MAX / moved as u128 - (1 << 64)) as u64;
        Self { moved, zeros, inverse }
    }

    /// Nearly `number * 2^63` divided by the moved divisor; the highest bit of `number` is set.
    fn guess(self, number: u64) -> u64 {
        let high = number >> 1;
        high + ((u128::from(self.inverse) * u128::from(high)) >> 64) as u64
    }

    /// The same as a whole number, and whether nothing is left over. As Möller and Granlund divide ("Improved division by invariant
    /// integers", 2011, algorithm 4).
    fn quotient(self, number: u64) -> (u64, bool) {
        let (high, low) = (number >> 1, number << 63);
        let guess = u128::from(self.inverse) * u128::from(high) + ((u128::from(high) << 64) | u128::from(low));
        let mut quotient = ((guess >> 64) as u64).wrapping_add(1);
        let mut left = low.wrapping_sub(quotient.wrapping_mul(self.moved));
        if left > guess as u64 {
            quotient = quotient.wrapping_sub(1);
            left = left.wrapping_add(self.moved);
        }
        if left >= self.moved {
            quotient = quotient.wrapping_add(1);
            left -= self.moved;
        }
        (quotient, left == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_number_is_what_the_standard_library_reads() {
        let mut random = testkit::random::Random::new(3);
        let mut cells: Vec<String> = [
            "",
            "-",
            ".",
            "-.",
            "1.",
            ".5",
            "-.5",
            "1..2",
            "1.2.3",
            "+1",
            "1e5",
            "-0",
            "-0.0",
            "00012",
            "0x1",
            " 1",
            "12345678\u{b5}",
            "1234567/",
            "1234567:",
            "\u{1}2345678",
            "123456789012345",
            "1234567890123456",
            "0.000000000000001",
            "99999999999999.9",
            "999999999999999",
            "9007199254740992",
            "9007199254740993",
            "9007199254740994",
            "9007199254740995",
            "9007199254740993.0",
            "9007199254740993.001",
            "900719925474099.25",
            "1801439850948198.5",
            "9999999999999999999",
            "99999999999999999999",
            "18446744073709551615",
            "0.9999999999999999999",
            ".9999999999999999999",
            "0.0000000000000000001",
            "0.00000000000000000001",
            "nan",
            "inf",
            "1_0",
        ]
        .map(str::to_owned)
        .to_vec();
        for _ in 0..200_000 {
            let digits: String = (0..1 + random.below(22)).map(|_| char::from(b'0' + random.below(10) as u8)).collect();
            let at = random.below(digits.len() as u64 + 1) as usize;
            let sign = if random.below(2) == 0 { "-" } else { "" };
            cells.push(format!("{sign}{}.{}", &digits[..at], &digits[at..]));
            cells.push(format!("{sign}{digits}"));
            cells.push(format!("{sign}{}", random.share()));
        }
        // Halfway between two floats, and next to that.
        for _ in 0..50_000 {
            let half = (((1_u64 << 53) | random.below(1 << 53)) << 1) | 1;
            for number in [half - 1, half, half + 1] {
                cells.push(format!("{number}"));
                cells.push(format!("{}.{}", number >> 2, (number & 3) * 25));
                cells.push(format!("{}.{}", number >> 3, (number & 7) * 125));
            }
        }
        for cell in cells {
            let read: Option<f64> = cell.parse().ok();
            assert_eq!(usual_number(&cell).map(f64::to_bits), read.map(f64::to_bits), "{cell}");
        }
    }
}
