//! Pieces of the state as records of a snapshot: what is too large for one record is cut.

use super::*;
use crate::access::AuditEntry;

/// Bytes of bindings that one record of a snapshot holds, and one binding more.
const RECORD_BINDINGS_BYTES: usize = 512 * 1024;
/// Runs of removed offsets that one has.
const RECORD_REMOVED_RUNS: usize = 16 * 1024;
/// Entries of the list of changes that one has.
const RECORD_AUDIT_ENTRIES: usize = 100;

impl Item {
    /// The item in pieces that fit into a record each, however many bindings it has: restoring a piece adds its own.
    pub fn into_records(self) -> Vec<Item> {
        match self {
            Item::Topic { id, name, settings, queues, bindings } => {
                let piece = |bindings| {
                    let (name, settings, queues) = (name.clone(), settings.clone(), queues.clone());
                    Item::Topic { id, name, settings, queues, bindings }
                };
                in_pieces(bindings).into_iter().map(piece).collect()
            }
            Item::Exchange { id, name, settings, bindings } => {
                let piece = |bindings| {
                    let (name, settings) = (name.clone(), settings.clone());
                    Item::Exchange { id, name, settings, bindings }
                };
                in_pieces(bindings).into_iter().map(piece).collect()
            }
            Item::Schedule(image) => {
                image.into_pieces().into_iter().map(|image| Item::Schedule(Box::new(image))).collect()
            }
            Item::Audit(entries) => in_records_of_audit(entries),
            Item::QueueCompacted { queue, removed } => {
                let piece = |part: &[(u64, u64)]| {
                    let (queue, removed) = (queue.clone(), part.to_vec());
                    Item::QueueCompacted { queue, removed }
                };
                removed.chunks(RECORD_REMOVED_RUNS).map(piece).collect()
            }
            other => vec![other],
        }
    }
}

fn in_records_of_audit(entries: Vec<AuditEntry>) -> Vec<Item> {
    entries.chunks(RECORD_AUDIT_ENTRIES).map(|entries| Item::Audit(entries.to_vec())).collect()
}

/// One piece at least.
fn in_pieces(bindings: Vec<Binding>) -> Vec<Vec<Binding>> {
    let mut pieces = vec![Vec::new()];
    let mut bytes = 0;
    for binding in bindings {
        if bytes >= RECORD_BINDINGS_BYTES {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += size_of::<Binding>() + binding.key.len() + binding.attributes.len();
        if let Some(piece) = pieces.last_mut() {
            piece.push(binding);
        }
    }
    pieces
}
