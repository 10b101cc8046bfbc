//! Seeded random bytes, so that a run can be had again. No generator for anything that must be secret.

/// xorshift64*.
pub struct Random(u64);

impl Random {
    /// From a seed; `stream` tells apart what one seed is used for.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Near seeds begin alike.
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// At least 0 and less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// As many bytes, of which the first satisfies the condition.
    pub fn bytes_with_first(&mut self, count: usize, first: impl Fn(u8) -> bool) -> Vec<u8> {
        loop {
            let bytes = self.bytes(count);
            if bytes.first().is_some_and(|byte| first(*byte)) {
                return bytes;
            }
        }
    }
}
