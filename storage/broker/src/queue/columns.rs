//! Columns of numbers, packed: of up to [`COLUMN_VALUES`] each, in the shortest of three forms.
//!
//! Layout: u8 form. Up to 64: the varint of the least number follows, then each one's difference to it in so many bits,
//! the lowest first. [`RUNS`]: varints of a number and of how often it comes, in turn. [`EACH`]: a varint for each. So a
//! column takes at most a byte more than its numbers as varints, and few bytes where most of them are equal.

use super::block::{put_varint, take, varint};
use super::chunk::wide;

pub(super) const COLUMN_VALUES: usize = 128;
/// A form and a number.
pub(super) const COLUMN_BYTES_MIN: usize = 2;
const WORD_BITS: u8 = 64;
const RUNS: u8 = 65;
const EACH: u8 = 66;

/// Packs the first [`COLUMN_VALUES`] of some numbers.
pub(super) fn put(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
    let (mut column, mut count) = ([0; COLUMN_VALUES], 0);
    for (place, number) in column.iter_mut().zip(numbers) {
        *place = number;
        count += 1;
    }
    let column = column.get(..count).unwrap_or(&[]);
    let runs = || column.chunk_by(|a, b| a == b).filter_map(|run| Some((*run.first()?, run.len())));
    let (mut least, mut most, mut runs_bytes, mut each_bytes) = (u64::MAX, 0, 0, 0);
    for (number, times) in runs() {
        (least, most) = (least.min(number), most.max(number));
        runs_bytes += varint_bytes(number) + varint_bytes(wide(times));
        each_bytes += varint_bytes(number) * times;
    }
    let bits = bits_of(most.wrapping_sub(least));
    if varint_bytes(least) + packed_bytes(count, bits) <= runs_bytes.min(each_bytes) {
        out.push(bits);
        put_varint(out, least);
        put_bits(out, column, least, bits);
    } else if runs_bytes <= each_bytes {
        out.push(RUNS);
        for (number, times) in runs() {
            put_varint(out, number);
            put_varint(out, wide(times));
        }
    } else {
        out.push(EACH);
        column.iter().for_each(|number| put_varint(out, *number));
    }
}

/// Fills a column with what was packed; `None` when that is damaged.
pub(super) fn fill(column: &mut [u64], rest: &mut &[u8]) -> Option<()> {
    match take(rest)? {
        [RUNS] => {
            let mut left = column;
            while !left.is_empty() {
                let (number, times) = (varint(rest)?, usize::try_from(varint(rest)?).ok()?);
                let (run, others) = left.split_at_mut_checked(times)?;
                run.fill(number);
                left = others;
            }
        }
        [EACH] => {
            for place in column {
                *place = varint(rest)?;
            }
        }
        [0] => column.fill(varint(rest)?),
        [bits] => {
            let least = varint(rest)?;
            fill_from_bits(column, rest, least, bits)?;
        }
    }
    Some(())
}

fn put_bits(out: &mut Vec<u8>, column: &[u64], least: u64, bits: u8) {
    let (mut word, mut used) = (0, 0);
    for number in column {
        let number = number.wrapping_sub(least);
        word |= number << used;
        if used + bits >= WORD_BITS {
            out.extend_from_slice(&word.to_le_bytes());
            word = shifted(number, WORD_BITS - used);
            used = used + bits - WORD_BITS;
        } else {
            used += bits;
        }
    }
    out.extend(word.to_le_bytes().iter().take(usize::from(used.div_ceil(8))));
}

fn fill_from_bits(column: &mut [u64], rest: &mut &[u8], least: u64, bits: u8) -> Option<()> {
    let mask = u64::MAX >> WORD_BITS.checked_sub(bits)?;
    let (packed, behind) = rest.split_at_checked(packed_bytes(column.len(), bits))?;
    *rest = behind;
    let mut words = packed.chunks(8).map(|bytes| match bytes.try_into() {
        Ok(whole) => u64::from_le_bytes(whole),
        Err(_) => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    });
    let (mut word, mut left) = (0, 0);
    for place in column {
        let mut number = word;
        if left < bits {
            let next = words.next()?;
            number |= next << left;
            word = shifted(next, bits - left);
            left += WORD_BITS - bits;
        } else {
            word = shifted(word, bits);
            left -= bits;
        }
        *place = least.wrapping_add(number & mask);
    }
    Some(())
}

fn shifted(word: u64, bits: u8) -> u64 {
    word.checked_shr(bits.into()).unwrap_or(0)
}

fn packed_bytes(count: usize, bits: u8) -> usize {
    (count * usize::from(bits)).div_ceil(8)
}

/// Bits that a number takes.
fn bits_of(number: u64) -> u8 {
    u8::try_from(u64::BITS - number.leading_zeros()).unwrap_or(64)
}

/// Bytes that it takes as a varint.
fn varint_bytes(number: u64) -> usize {
    usize::from(bits_of(number | 1).div_ceil(7))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(column: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, column.iter().copied());
        out
    }

    #[test]
    fn columns_lie_as_they_always_will() {
        assert_eq!(packed(&[300; COLUMN_VALUES]), [0, 0xAC, 2]);
        assert_eq!(packed(&[7, 8, 7, 7, 8, 8, 8, 8, 7]), [1, 7, 0b1111_0010, 0]);
        assert_eq!(packed(&[0, 0, 0, 0, 0, 0, 0, 64, 0, 0]), [RUNS, 0, 7, 64, 1, 0, 2]);
        assert_eq!(packed(&[1, 2, 1 << 20]), [EACH, 1, 2, 0x80, 0x80, 0x40]);
    }

    proptest! {
        #[test]
        fn fills_in_what_was_packed_in_no_more_than_varints_and_a_byte(
            bits in proptest::collection::vec(0u32..=64, 1..4),
            numbers in proptest::collection::vec((any::<u64>(), any::<prop::sample::Index>(), 1usize..9), 1..COLUMN_VALUES),
            damage in any::<(usize, u8)>(),
        ) {
            let run = |(number, bits_at, times): &(u64, prop::sample::Index, usize)| {
                vec![number.checked_shr(64 - bits_at.get(&bits)).unwrap_or(0); *times]
            };
            let mut column: Vec<u64> = numbers.iter().flat_map(run).collect();
            column.truncate(COLUMN_VALUES);
            let bytes = packed(&column);
            let mut each = Vec::new();
            column.iter().for_each(|number| put_varint(&mut each, *number));
            prop_assert!((COLUMN_BYTES_MIN..=each.len() + 1).contains(&bytes.len()), "{column:?}: {bytes:?}");
            let (mut filled, mut rest) = (vec![0; column.len()], bytes.as_slice());
            prop_assert_eq!(fill(&mut filled, &mut rest), Some(()));
            prop_assert_eq!((filled.as_slice(), rest.len()), (column.as_slice(), 0));
            prop_assert_eq!(fill(&mut filled, &mut &bytes[..bytes.len() - 1]), None);
            let mut broken = bytes.clone();
            let at = damage.0 % broken.len();
            broken[at] ^= damage.1;
            let _ = fill(&mut filled, &mut broken.as_slice());
        }
    }
}
