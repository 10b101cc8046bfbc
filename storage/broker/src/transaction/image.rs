//! Half messages as pieces of the state: those whose records lie in one region of the log together.

use serde::{Deserialize, Serialize};

use super::{Half, Halves, REGION_BITS, region_of};

/// A half message in a checkpoint or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HalfImage {
    position: u64,
    bytes: u32,
    group: String,
    next_check_ms: u64,
    checks: u32,
}

impl Halves {
    /// Regions in which there are any.
    pub fn regions(&self) -> Vec<u64> {
        let mut regions = Vec::new();
        let mut from = 0;
        while let Some((position, _)) = self.halves.range(from..).next() {
            let region = region_of(*position);
            regions.push(region);
            from = (region + 1) << REGION_BITS;
        }
        regions
    }

    /// Those in a region; `None` where there are none.
    pub fn image(&self, region: u64) -> Option<Vec<HalfImage>> {
        let inside = self.halves.range(region << REGION_BITS..(region + 1) << REGION_BITS);
        let image = inside.map(|(position, half)| HalfImage {
            position: *position,
            bytes: half.bytes,
            group: half.group.to_string(),
            next_check_ms: half.next_check_ms,
            checks: half.checks,
        });
        let image: Vec<HalfImage> = image.collect();
        Some(image).filter(|image| !image.is_empty())
    }

    /// Puts a region back that was taken at `as_of`.
    pub fn restore(&mut self, as_of: u64, region: u64, image: Vec<HalfImage>) {
        self.as_of.insert(region, as_of);
        for HalfImage { position, bytes, group, next_check_ms, checks } in image {
            self.add(position, Half { bytes, group: group.as_str().into(), next_check_ms, checks });
        }
    }
}
