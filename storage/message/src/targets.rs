//! The targets annex: which queues a message is in. It has one of two forms.
//!
//! Plain: (queue id u64, offset u64) each, little-endian. A draft reserves room for one, which is filled in where it
//! lies. Older versions wrote several so.
//!
//! Packed, for several: the varint of their number, then for each the varint of its queue's step (zigzag of the difference
//! to the queue before it, or to 0) with one bit below, which is set where the offset is another than the one before (or
//! than 0); only then a varint follows, the zigzag of that difference. Queues that were bound together have equal offsets,
//! or near ones, so most take 1 or 2 bytes.
//!
//! The length tells the form: 16 bytes or several times as many are plain, and packed targets that would be as long have
//! a zero behind them. A version that knows the plain form only then finds half a target, and stops, where it would
//! otherwise take the message for one in no queue.

use crate::annex::AnnexKind;
use crate::layout::*;
use crate::read::{LayoutError, bytes_at, len_u32};

/// One queue a message is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub queue: u64,
    pub offset: u64,
}

impl Target {
    pub(crate) fn to_bytes(self) -> [u8; TARGET_BYTES] {
        let mut bytes = [0; TARGET_BYTES];
        let (queue, offset) = bytes.split_at_mut(8);
        queue.copy_from_slice(&self.queue.to_le_bytes());
        offset.copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Target, LayoutError> {
        Ok(Target {
            queue: u64::from_le_bytes(bytes_at(bytes, 0)?),
            offset: u64::from_le_bytes(bytes_at(bytes, 8)?),
        })
    }
}

/// The targets annex of a message that goes to several queues; it replaces the last [`TargetSlot::BYTES`] bytes. Of so
/// many bytes for each target, it takes no more.
pub fn targets_annex(targets: &[Target]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(2 * targets.len() + ANNEX_HEADER_BYTES);
    put_varint(&mut packed, u128::from(len_u32(targets.len())));
    let (mut queue, mut offset) = (0, 0);
    for target in targets {
        let step = u128::from(zigzag(target.queue.wrapping_sub(queue)));
        let is_other = target.offset != offset;
        put_varint(&mut packed, step << 1 | u128::from(is_other));
        if is_other {
            put_varint(&mut packed, zigzag(target.offset.wrapping_sub(offset)).into());
        }
        (queue, offset) = (target.queue, target.offset);
    }
    if is_plain(&packed) {
        packed.push(0);
    }
    let header = u32::from(AnnexKind::Targets.number()) << 24 | len_u32(packed.len());
    [&header.to_le_bytes()[..], &packed].concat()
}

/// The targets that an annex holds.
pub(crate) fn targets(annex: &[u8]) -> Result<Vec<Target>, LayoutError> {
    if is_plain(annex) {
        return annex.chunks(TARGET_BYTES).map(Target::from_bytes).collect();
    }
    let mut rest = annex;
    let count = count(&mut rest)?;
    let mut targets = Vec::with_capacity(count);
    let (mut queue, mut offset) = (0u64, 0u64);
    for _ in 0..count {
        let step = varint(&mut rest)?;
        queue = queue.wrapping_add(difference(step >> 1)?);
        if step & 1 == 1 {
            offset = offset.wrapping_add(difference(varint(&mut rest)?)?);
        }
        targets.push(Target { queue, offset });
    }
    if matches!(rest, [] | [0]) { Ok(targets) } else { Err(out_of_range(rest.len())) }
}

/// Number of the targets that an annex holds.
pub(crate) fn target_count(annex: &[u8]) -> usize {
    if is_plain(annex) { annex.len() / TARGET_BYTES } else { count(&mut &*annex).unwrap_or(0) }
}

fn is_plain(annex: &[u8]) -> bool {
    annex.len().is_multiple_of(TARGET_BYTES)
}

/// The number in front of packed targets, of which each takes a byte at least.
fn count(rest: &mut &[u8]) -> Result<usize, LayoutError> {
    let count = varint(rest)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= rest.len());
    count.ok_or(out_of_range(rest.len()))
}

fn out_of_range(value: usize) -> LayoutError {
    LayoutError::Range { field: "the targets annex", value: len_u32(value).into() }
}

/// A difference, so that those near zero are small whatever their sign.
fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

fn difference(zigzag: u128) -> Result<u64, LayoutError> {
    let zigzag = u64::try_from(zigzag).map_err(|_| out_of_range(0))?;
    Ok(((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed()).cast_unsigned())
}

/// Of up to 70 bits: a step has 65.
fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn varint(rest: &mut &[u8]) -> Result<u128, LayoutError> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or(LayoutError::Short { need: 1, have: 0 })?;
        *rest = tail;
        value |= u128::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(out_of_range(rest.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target((queue, offset): (u64, u64)) -> Target {
        Target { queue, offset }
    }

    fn packed(targets: &[(u64, u64)]) -> Vec<u8> {
        let targets: Vec<Target> = targets.iter().copied().map(target).collect();
        targets_annex(&targets).split_off(ANNEX_HEADER_BYTES)
    }

    #[test]
    fn packed_targets_lie_as_they_always_will() {
        assert_eq!(targets_annex(&[target((3, 5)), target((5, 5))]), [4, 0, 0, 1, 2, 6 << 1 | 1, 10, 4 << 1]);
        let back_and_far = [(300, 5), (299, 4), (300, 1 << 20)];
        let steps = [3, 0xB1, 9, 10, 1 << 1 | 1, 1, 2 << 1 | 1, 0xF8, 0xFF, 0x7F];
        assert_eq!(packed(&back_and_far), steps);
    }

    #[test]
    fn a_hundred_queues_that_were_bound_together_take_little_more_than_a_byte_each() {
        let queues =
            |offset: fn(u64) -> u64| (0..100).map(|n| target((1_000 + 2 * n, offset(n)))).collect::<Vec<_>>();
        assert_eq!(targets_annex(&queues(|_| 1_000_000)).len(), ANNEX_HEADER_BYTES + 1 + 100 + 1 + 3);
        let near = targets_annex(&queues(|n| 1_000_000 + n % 7)).len();
        assert!(near <= ANNEX_HEADER_BYTES + 1 + 200 + 1 + 3, "{near}");
    }

    #[test]
    fn more_targets_than_there_are_bytes_are_refused() {
        for count in
            [[2, 0x80, 0x80].as_slice(), &[0xFF; 9], &[0xFF, 0xFF, 0xFF, 0xFF, 0x7F], &[3, 2, 2], &[]]
        {
            assert!(targets(&[count, &[0x80; 8]].concat()).is_err(), "{count:?}");
        }
        assert_eq!(target_count(&[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), 0);
        assert!(targets(&[1, 2, 1]).is_err(), "something behind them");
    }

    proptest! {
        #[test]
        fn unpacks_what_was_packed_and_survives_damage(
            near in proptest::collection::vec((0u64..1 << 20, 0u64..40), 0..100),
            far in proptest::collection::vec(any::<(u64, u64)>(), 0..20),
            damage in any::<(usize, u8)>(),
        ) {
            let all: Vec<(u64, u64)> = near.into_iter().chain(far).collect();
            let bytes = packed(&all);
            prop_assert!(!is_plain(&bytes), "an older version would misread it");
            prop_assert!(bytes.len() <= TargetSlot::BYTES * (all.len() + 1) - ANNEX_HEADER_BYTES);
            let expected: Vec<Target> = all.iter().copied().map(target).collect();
            prop_assert_eq!(targets(&bytes), Ok(expected));
            prop_assert_eq!(target_count(&bytes), all.len());
            let plain: Vec<u8> = all.iter().copied().flat_map(|each| target(each).to_bytes()).collect();
            prop_assert_eq!(target_count(&plain), all.len());
            let mut broken = bytes.clone();
            let at = damage.0 % broken.len();
            broken[at] ^= damage.1;
            let (found, counted) = (targets(&broken), target_count(&broken));
            prop_assert!(found.is_err() || found.is_ok_and(|found| found.len() == counted));
            let cut = targets(&bytes[..at]);
            prop_assert!(cut.is_err() || is_plain(&bytes[..at]));
        }
    }
}
