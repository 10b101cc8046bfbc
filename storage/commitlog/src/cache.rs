//! The newest bytes of the log, kept as the very pieces that were submitted. One thread adds; readers take no lock.
//! What is not here is in the files: a miss says nothing about a position.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::Position;
use crate::width::narrow;

/// Pieces in one span. A span is the unit in which old bytes are dropped.
const SPAN_PIECES_MAX: usize = 256;
/// A span is also closed at this part of the cache's size, so that dropping one drops little.
const SPAN_PART_OF_CACHE: usize = 16;

/// A row of pieces in growing order of position. A slot is filled once and then never changes.
type Span = Box<[OnceLock<(Position, Bytes)>]>;

/// What readers see: the spans, oldest first.
#[derive(Debug)]
pub(crate) struct Cache {
    spans: ArcSwap<Vec<Arc<Span>>>,
    /// Bytes in all spans but the last.
    bytes: AtomicUsize,
}

impl Cache {
    pub fn new() -> Self {
        Self { spans: ArcSwap::from_pointee(Vec::new()), bytes: AtomicUsize::new(0) }
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The `len` bytes at `position`, as a part of the piece they were submitted in.
    pub fn get(&self, position: Position, len: usize) -> Option<Bytes> {
        let spans = self.spans.load();
        let starts_before = |span: &&Arc<Span>| matches!(first(span), Some(start) if start <= position);
        let span = spans.iter().rev().find(starts_before)?;
        let after = span.partition_point(|slot| matches!(slot.get(), Some((start, _)) if *start <= position));
        let (start, piece) = span.get(after.checked_sub(1)?)?.get()?;
        let from = narrow(position - start);
        let to = from.checked_add(len)?;
        (to <= piece.len()).then(|| piece.slice(from..to))
    }
}

fn first(span: &Span) -> Option<Position> {
    span.first()?.get().map(|(position, _)| *position)
}

/// The one that adds pieces.
#[derive(Debug)]
pub(crate) struct CacheFiller {
    bytes_max: usize,
    /// Bytes of each span that readers see, in the same order.
    span_bytes: VecDeque<usize>,
    open: Arc<Span>,
    open_pieces: usize,
}

impl CacheFiller {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, span_bytes: VecDeque::new(), open: Arc::new(Box::new([])), open_pieces: 0 }
    }

    /// Adds a piece; `position` must be past all pieces before it.
    pub fn add(&mut self, cache: &Cache, position: Position, piece: Bytes) {
        let bytes = piece.len();
        if bytes > self.bytes_max {
            return;
        }
        let open_bytes = self.span_bytes.back().copied().unwrap_or(0);
        let part_max = self.bytes_max / SPAN_PART_OF_CACHE;
        if self.open_pieces == self.open.len() || (open_bytes > 0 && open_bytes + bytes > part_max) {
            self.start_span(cache, bytes);
        }
        if let Some(slot) = self.open.get(self.open_pieces) {
            // The slot is empty: only this method fills slots, each once.
            let _ = slot.set((position, piece));
            self.open_pieces += 1;
        }
        if let Some(span) = self.span_bytes.back_mut() {
            *span += bytes;
        }
    }

    /// Puts a new empty span last and drops as many of the oldest as `incoming` more bytes require.
    fn start_span(&mut self, cache: &Cache, incoming: usize) {
        let mut held: usize = self.span_bytes.iter().sum();
        let mut dropped = 0;
        while held + incoming > self.bytes_max
            && let Some(oldest) = self.span_bytes.pop_front()
        {
            held -= oldest;
            dropped += 1;
        }
        self.open = Arc::new((0..SPAN_PIECES_MAX).map(|_| OnceLock::new()).collect());
        self.open_pieces = 0;
        self.span_bytes.push_back(0);
        cache.bytes.store(held, Ordering::Relaxed);
        let spans = cache.spans.load();
        let kept = spans.iter().skip(dropped).cloned().chain([Arc::clone(&self.open)]).collect();
        cache.spans.store(Arc::new(kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::width::wide;

    fn piece(fill: u8, len: usize) -> Bytes {
        Bytes::from(vec![fill; len])
    }

    #[test]
    fn any_part_of_a_piece_is_found_without_a_copy() {
        let cache = Cache::new();
        let mut filler = CacheFiller::new(1 << 20);
        let whole = piece(7, 100);
        filler.add(&cache, 1000, whole.clone());
        filler.add(&cache, 1164, piece(8, 50));
        let part = cache.get(1010, 20).unwrap();
        assert_eq!(part.as_ptr(), whole[10..].as_ptr());
        assert_eq!(cache.get(1164, 50).unwrap(), piece(8, 50));
        for (position, len) in [(999, 1), (1090, 11), (1100, 1), (1163, 1), (1164, 51), (1214, 1)] {
            assert_eq!(cache.get(position, len), None, "{position} {len}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_the_bound_holds() {
        let cache = Cache::new();
        let mut filler = CacheFiller::new(16_000);
        let position = |index: u64| 5000 + index * 300;
        for index in 0..1000 {
            filler.add(&cache, position(index), piece(index as u8, 200));
            let held: usize = filler.span_bytes.iter().sum();
            assert!(held <= 16_000, "{held} bytes after {index}");
            assert_eq!(cache.get(position(index), 200), Some(piece(index as u8, 200)));
        }
        let found = (0..1000).filter(|&index| cache.get(position(index), 200).is_some()).count();
        assert!((70..=80).contains(&found), "{found} of at most 80 pieces");
        assert!(cache.get(position(1000 - found as u64), 200).is_some(), "the found ones are the newest");
    }

    #[test]
    fn many_small_pieces_fill_many_spans() {
        let cache = Cache::new();
        let mut filler = CacheFiller::new(1 << 20);
        for index in 0..5000u64 {
            filler.add(&cache, index * 8, piece(index as u8, 8));
        }
        assert!((0..5000u64).all(|index| cache.get(index * 8, 8) == Some(piece(index as u8, 8))));
    }

    #[test]
    fn a_span_has_so_many_pieces_and_the_next_begins_another() {
        let cache = Cache::new();
        let mut filler = CacheFiller::new(1 << 20);
        for index in 0..=wide(SPAN_PIECES_MAX) {
            filler.add(&cache, index * 8, piece(7, 8));
            let expected = if index < wide(SPAN_PIECES_MAX) { 1 } else { 2 };
            assert_eq!(cache.spans.load().len(), expected, "after {index}");
            assert_eq!(cache.get(index * 8, 8), Some(piece(7, 8)));
        }
    }

    #[test]
    fn a_piece_larger_than_the_cache_is_not_kept() {
        let cache = Cache::new();
        let mut filler = CacheFiller::new(100);
        filler.add(&cache, 0, piece(1, 101));
        assert_eq!(cache.get(0, 1), None);
    }
}
