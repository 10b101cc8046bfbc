//! How a checkpoint lies in the store: small pieces of the state together in packs, larger ones by themselves. What the
//! pieces mean is not its matter.
//!
//! A piece belongs to one pack for ever, by its numbers, so that it has one place: a checkpoint reads the packs in
//! which something changed and writes them again. A pack alone says what there is: a piece that lies apart counts only
//! if its pack says so. The pack is one value, so a crash leaves the old one or the new one, never both copies of a
//! piece.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::*;
use crate::store::{Change as StoreChange, Store, StoreError};

/// Where the newest checkpoint is noted in the store: number and position (u64 each) and the version of its form (u32),
/// all little-endian. A store of another form is made again from the log.
const MARK_KEY: &[u8] = b"c";
/// Counts up when what a store holds changes its form: 1, without a number, had no bytes in the directory of blocks; 2
/// had every piece by itself; 3 had each waiting message as a piece; 4 had the entries of indexes unpacked.
const STORE_VERSION: u32 = 5;
/// First bytes of the keys of packs, and of pieces that lie apart.
const PACK: u8 = b'p';
const APART: u8 = b'a';
/// The pieces of a pack differ in so many low bits of their number only: where it has one, where it has two (those of
/// a group and a queue), and where it is a position in the log.
const ID_BITS: u32 = 6;
const ID_PAIR_BITS: u32 = 5;
const POSITION_BITS: u32 = 16;
/// Largest piece in a pack, and largest pack: pieces are moved out of a larger one.
const PACKED_PIECE_BYTES_MAX: usize = 4 * 1024;
const PACK_BYTES_MAX: usize = 80 * 1024;
/// What lies before each piece in a pack, at most: kind and two numbers, position, bytes and parts, as varints.
const HEADER_BYTES: usize = 1 + 10 + 10 + 10 + 10 + 5;
/// Bytes of one value of a piece that lies apart; longer ones take several.
const PART_BYTES: usize = 64 * 1024;
/// Changes that go into the store at once.
const BATCH_CHANGES: usize = 64;

const _: () = assert!(PACK_BYTES_MAX < crate::store::VALUE_BYTES_MAX);
// A pack out of which everything was moved is small enough. Of positions it has fewer: no message takes 64 bytes only.
const _: () = assert!(HEADER_BYTES << (2 * ID_PAIR_BITS) < PACK_BYTES_MAX);
const _: () = assert!(HEADER_BYTES << (POSITION_BITS - 6) < PACK_BYTES_MAX);
const _: () = assert!(PART_BYTES < crate::store::VALUE_BYTES_MAX);

/// Why a checkpoint was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the pack with key {key:02x?} is broken")]
    Broken { key: Vec<u8> },
}

/// A checkpoint on its way into the store: the state at a position, as far as it differs from the one before.
#[derive(Debug)]
pub(crate) struct CheckpointImage {
    pub number: u64,
    pub position: u64,
    pub pieces: Vec<Piece>,
}

/// A piece, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Packed<'a> {
    Here {
        as_of: u64,
        encoded: Cow<'a, [u8]>,
    },
    /// In so many values of its own.
    Apart {
        parts: u32,
    },
}

/// What lies before each piece of a pack.
#[derive(Serialize, Deserialize)]
struct Header {
    key: ItemKey,
    as_of: u64,
    bytes: usize,
    /// 0 for a piece that lies here.
    parts_apart: u32,
}

type Pack<'a> = BTreeMap<ItemKey, Packed<'a>>;

impl CheckpointImage {
    /// Gives the changes that it is to `apply`, some at a time, in the order in which the store must make them.
    pub fn store(
        mut self,
        store: &dyn Store,
        apply: &mut dyn FnMut(Vec<StoreChange>) -> Result<(), StoreError>,
    ) -> Result<(), PackError> {
        // A store may end up with the first of them only. What others point to comes before those, and of what is no
        // more, groups go before the topics that replay would remove them with.
        let order = |piece: &Piece| (piece.item.is_none(), pack_of(piece.key));
        self.pieces.sort_by_key(order);
        let mut batch = Vec::new();
        let mut removing = false;
        for pieces in self.pieces.chunk_by(|a, b| order(a) == order(b)) {
            let removes = pieces.first().is_some_and(|piece| piece.item.is_none());
            // A pack of which something remains and something goes is read again before the latter.
            if batch.len() >= BATCH_CHANGES || (removes && !removing) {
                apply(std::mem::take(&mut batch))?;
            }
            removing = removes;
            self.change_pack(store, pieces, &mut batch)?;
        }
        let mut mark = [self.number.to_le_bytes(), self.position.to_le_bytes()].concat();
        mark.extend_from_slice(&STORE_VERSION.to_le_bytes());
        batch.push((MARK_KEY.to_vec(), Some(mark)));
        Ok(apply(batch)?)
    }

    /// Changes pieces of one pack.
    fn change_pack(
        &self,
        store: &dyn Store,
        pieces: &[Piece],
        changes: &mut Vec<StoreChange>,
    ) -> Result<(), PackError> {
        let Some(first) = pieces.first() else { return Ok(()) };
        let key = store_key(PACK, pack_of(first.key));
        let found = store.get(&key)?;
        let mut pack = match &found {
            Some(bytes) => decode(bytes).ok_or_else(|| PackError::Broken { key: key.clone() })?,
            None => Pack::new(),
        };
        let mut needless: Vec<StoreChange> = Vec::new();
        for piece in pieces {
            let before = pack.get(&piece.key).map_or(0, Packed::parts_apart);
            match encode_piece(piece) {
                Some(encoded) if encoded.len() <= PACKED_PIECE_BYTES_MAX => {
                    pack.insert(piece.key, Packed::Here { as_of: self.position, encoded: encoded.into() });
                }
                Some(encoded) => put_apart(&mut pack, piece.key, self.position, &encoded, changes),
                None => drop(pack.remove(&piece.key)),
            }
            let after = pack.get(&piece.key).map_or(0, Packed::parts_apart);
            needless.extend((after..before).map(|part| (part_key(piece.key, part), None)));
        }
        while pack_bytes(&pack) > PACK_BYTES_MAX
            && let Some((largest, as_of, encoded)) = take_largest(&mut pack)
        {
            put_apart(&mut pack, largest, as_of, &encoded, changes);
        }
        let packed = Some(encode(&pack)).filter(|_| !pack.is_empty());
        if packed != found {
            changes.push((key, packed));
        }
        changes.extend(needless);
        Ok(())
    }
}

impl Packed<'_> {
    fn parts_apart(&self) -> u32 {
        match self {
            Packed::Here { .. } => 0,
            Packed::Apart { parts } => *parts,
        }
    }
}

/// The log position that a checkpoint is right for, and its items, each with the position of the checkpoint that wrote it.
pub(crate) type StoredCheckpoint = (u64, Vec<(u64, Item)>);

/// The store's checkpoint; `None` when there is none, or it is broken.
/// Removes what a crash left of pieces that belong to no pack.
pub(crate) fn read_checkpoint(store: &dyn Store) -> Result<Option<StoredCheckpoint>, StoreError> {
    let mark = store.get(MARK_KEY)?;
    let mark = mark.filter(|mark| mark.get(16..) == Some(&STORE_VERSION.to_le_bytes()));
    let position = mark.as_deref().and_then(|mark| mark.get(8..16)).and_then(|bytes| bytes.try_into().ok());
    let Some(position) = position.map(u64::from_le_bytes) else { return Ok(None) };
    let mut items = Vec::new();
    let mut apart = FxHashMap::default();
    let mut whole = true;
    store.scan(&[PACK], &mut |_, value| match decode(value) {
        Some(pack) => {
            for (key, packed) in pack {
                match packed {
                    Packed::Here { as_of, encoded } => whole &= decode_items(as_of, &encoded, &mut items),
                    Packed::Apart { .. } => drop(apart.insert(store_key(APART, place_of(key)), Vec::new())),
                }
            }
        }
        None => whole = false,
    })?;
    let mut stray: Vec<StoreChange> = Vec::new();
    store.scan(
        &[APART],
        &mut |key, value| match apart.get_mut(key.split_at(key.len().saturating_sub(4)).0) {
            Some(parts) => parts.push(value.to_vec()),
            None => stray.push((key.to_vec(), None)),
        },
    )?;
    for parts in apart.values() {
        whole &= join_parts(parts).is_some_and(|(as_of, encoded)| decode_items(as_of, &encoded, &mut items));
    }
    if !whole {
        tracing::warn!("the store's checkpoint is broken; the state is rebuilt from the log");
        return Ok(None);
    }
    if !stray.is_empty() {
        store.apply(stray)?;
    }
    Ok(Some((position, items)))
}

fn decode_items(as_of: u64, encoded: &[u8], items: &mut Vec<(u64, Item)>) -> bool {
    let decoded: Result<Vec<Item>, _> = postcard::from_bytes(encoded);
    let is_whole = decoded.is_ok();
    items.extend(decoded.unwrap_or_default().into_iter().map(|item| (as_of, item)));
    is_whole
}

/// The items of a piece: it, and of a queue its index.
fn encode_piece(piece: &Piece) -> Option<Vec<u8>> {
    let item = piece.item.as_ref()?;
    let index = match (piece.key, &piece.index) {
        (ItemKey::Queue(queue), Some(image)) => Some(Item::index(queue, image)),
        _ => None,
    };
    let items: Vec<&Item> = [Some(item), index.as_ref()].into_iter().flatten().collect();
    postcard::to_stdvec(&items).ok()
}

/// Kind and numbers of a pack, or of a piece.
type Place = (u8, [u64; 2]);

/// Where a piece belongs.
fn pack_of(key: ItemKey) -> Place {
    let (kind, numbers) = place_of(key);
    let bits = match key {
        ItemKey::Progress(..) | ItemKey::Window(..) => ID_PAIR_BITS,
        ItemKey::Waiting(_) => POSITION_BITS,
        _ => ID_BITS,
    };
    (kind, numbers.map(|number| number >> bits))
}

fn place_of(key: ItemKey) -> Place {
    let numbers = match key {
        ItemKey::Shard => [0, 0],
        ItemKey::Topic(id) => [id.0, 0],
        ItemKey::Queue(id) => [id.0, 0],
        ItemKey::Group(id) => [id.0, 0],
        ItemKey::Exchange(id) => [id.0, 0],
        ItemKey::Progress(group, queue) => [queue.0, group.0],
        ItemKey::Waiting(position) => [position, 0],
        ItemKey::Schedule | ItemKey::Audit => [0, 0],
        ItemKey::Halves(region) => [region, 0],
        ItemKey::User(id) => [id.0, 0],
        ItemKey::Window(topic, region) => [topic.0, region],
    };
    (key.rank(), numbers)
}

fn store_key(prefix: u8, (kind, numbers): Place) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(22);
    bytes.extend([prefix, kind]);
    numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes
}

fn part_key(key: ItemKey, part: u32) -> Vec<u8> {
    let mut bytes = store_key(APART, place_of(key));
    bytes.extend(part.to_be_bytes());
    bytes
}

fn encode(pack: &Pack<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(pack_bytes(pack));
    for (key, packed) in pack {
        let (as_of, encoded, parts_apart) = match packed {
            Packed::Here { as_of, encoded } => (*as_of, &**encoded, 0),
            Packed::Apart { parts } => (0, [].as_slice(), *parts),
        };
        let header = Header { key: *key, as_of, bytes: encoded.len(), parts_apart };
        // Writing to memory cannot fail, and the header has no shape that postcard refuses.
        let written = postcard::to_io(&header, &mut out);
        debug_assert!(written.is_ok(), "a header failed to encode");
        out.extend_from_slice(encoded);
    }
    out
}

fn decode(mut bytes: &[u8]) -> Option<Pack<'_>> {
    let mut pack = Pack::new();
    while !bytes.is_empty() {
        let (header, rest) = postcard::take_from_bytes::<Header>(bytes).ok()?;
        let (encoded, rest) = rest.split_at_checked(header.bytes)?;
        let packed = match header.parts_apart {
            0 => Packed::Here { as_of: header.as_of, encoded: encoded.into() },
            parts => Packed::Apart { parts },
        };
        pack.insert(header.key, packed);
        bytes = rest;
    }
    Some(pack)
}

/// No less than a pack takes.
fn pack_bytes(pack: &Pack<'_>) -> usize {
    let bytes = |packed: &Packed<'_>| match packed {
        Packed::Here { encoded, .. } => encoded.len(),
        Packed::Apart { .. } => 0,
    };
    pack.values().map(|packed| HEADER_BYTES + bytes(packed)).sum()
}

/// Takes the largest piece out of a pack.
fn take_largest<'a>(pack: &mut Pack<'a>) -> Option<(ItemKey, u64, Cow<'a, [u8]>)> {
    let here = pack.iter().filter_map(|(key, packed)| match packed {
        Packed::Here { encoded, .. } => Some((encoded.len(), *key)),
        Packed::Apart { .. } => None,
    });
    let (_, key) = here.max()?;
    match pack.remove(&key)? {
        Packed::Here { as_of, encoded } => Some((key, as_of, encoded)),
        Packed::Apart { .. } => None,
    }
}

fn put_apart(pack: &mut Pack<'_>, key: ItemKey, as_of: u64, encoded: &[u8], changes: &mut Vec<StoreChange>) {
    let values = split_parts(as_of, encoded);
    pack.insert(key, Packed::Apart { parts: u32::try_from(values.len()).unwrap_or(u32::MAX) });
    changes.extend((0u32..).zip(values).map(|(part, value)| (part_key(key, part), Some(value))));
}

/// The values of a piece that lies apart: `as_of`, number of the part and of all parts, then a part of the encoded
/// piece.
fn split_parts(as_of: u64, encoded: &[u8]) -> Vec<Vec<u8>> {
    let parts: Vec<&[u8]> = encoded.chunks(PART_BYTES).collect();
    let total = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let value = |(number, part): (u32, &&[u8])| {
        let mut value = as_of.to_le_bytes().to_vec();
        value.extend_from_slice(&number.to_le_bytes());
        value.extend_from_slice(&total.to_le_bytes());
        value.extend_from_slice(part);
        value
    };
    (0u32..).zip(&parts).map(value).collect()
}

/// Puts parts together again, in key order; `None` when one is missing or from another checkpoint.
fn join_parts(values: &[Vec<u8>]) -> Option<(u64, Vec<u8>)> {
    let mut encoded = Vec::new();
    let first_as_of = u64::from_le_bytes(*values.first()?.first_chunk()?);
    let mut total = 0;
    for (expected, value) in (0u32..).zip(values) {
        let (as_of, rest) = value.split_first_chunk::<8>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (parts, part) = rest.split_first_chunk::<4>()?;
        total = u32::from_le_bytes(*parts);
        if u64::from_le_bytes(*as_of) != first_as_of || u32::from_le_bytes(*number) != expected {
            return None;
        }
        encoded.extend_from_slice(part);
        if expected + 1 == total {
            break;
        }
    }
    (usize::try_from(total).ok()? <= values.len()).then_some((first_as_of, encoded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    /// A group whose name has so many bytes.
    fn group(id: u64, name_bytes: usize) -> Piece {
        let key = ItemKey::Group(GroupId(id));
        let (name, settings) = ("n".repeat(name_bytes), GroupSettings::at_once());
        let item = (name_bytes > 0).then_some(Item::Group { id: GroupId(id), name, settings });
        Piece { key, item, index: None }
    }

    /// Stores so many of the values of a checkpoint; returns how many it has.
    fn put(store: &MemoryStore, number: u64, pieces: Vec<Piece>, kept: usize) -> usize {
        let mut seen = 0;
        let image = CheckpointImage { number, position: number * 100, pieces };
        let apply = &mut |changes: Vec<StoreChange>| {
            let left = kept.saturating_sub(seen);
            seen += changes.len();
            store.apply(changes.into_iter().take(left).collect())
        };
        image.store(store, apply).unwrap();
        seen
    }

    /// Bytes of the names of groups, and where they are from.
    fn found(store: &MemoryStore) -> BTreeMap<u64, (usize, u64)> {
        let (_, items) = read_checkpoint(store).unwrap().expect("there is a checkpoint");
        let groups = items.into_iter().filter_map(|(as_of, item)| match item {
            Item::Group { id, name, .. } => Some((id.0, (name.len(), as_of))),
            _ => None,
        });
        groups.collect()
    }

    fn values(store: &MemoryStore) -> usize {
        let mut count = 0;
        store.scan(&[], &mut |_, _| count += 1).unwrap();
        count
    }

    #[test]
    fn many_small_pieces_take_few_values_and_one_of_them_is_changed_alone() {
        let store = MemoryStore::default();
        put(&store, 1, (0..640).map(|id| group(id, 10)).collect(), usize::MAX);
        assert_eq!(values(&store), 11, "ten packs and the mark");
        assert_eq!(put(&store, 2, vec![group(70, 20)], usize::MAX), 2, "its pack and the mark");
        let found = found(&store);
        assert_eq!((found.len(), found[&69], found[&70]), (640, (10, 100), (20, 200)));
    }

    #[test]
    fn a_piece_moves_out_of_its_pack_and_back_and_goes_whatever_a_crash_leaves() {
        let sizes = [10, 5_000, 200_000, 70_000, 20, 100_000, 0, 30];
        for steps in sizes.windows(2) {
            let before = [steps[0], steps[0] / 2];
            for kept in 0..8 {
                let store = MemoryStore::default();
                put(&store, 1, vec![group(1, before[0]), group(2, before[1]), group(3, 7)], usize::MAX);
                let all = put(&store, 2, vec![group(1, steps[1])], kept);
                let parts_are_torn =
                    before[0].max(steps[1]) > PART_BYTES && before[0] > PACKED_PIECE_BYTES_MAX;
                if parts_are_torn && kept < all {
                    // Then it is found to be broken, or as whole as ever.
                    let whole = read_checkpoint(&store).unwrap().is_none_or(|(_, items)| items.len() >= 2);
                    assert!(whole, "{steps:?}, {kept} of {all}");
                    continue;
                }
                let groups = found(&store);
                let one = groups.get(&1).copied().unwrap_or_default();
                let (old, new) = ((before[0], 100), (steps[1], 200));
                let is_either = [old, new].iter().any(|size| *size == one || (size.0 == 0 && one.0 == 0));
                assert!(is_either, "{steps:?}, {kept} of {all}: {one:?}");
                assert!(kept < all || one.0 == steps[1]);
                assert_eq!(groups[&3], (7, 100));
                // What a crash left is gone, and what comes next is whole.
                put(&store, 3, vec![group(1, 0), group(2, 0), group(3, 0)], usize::MAX);
                assert_eq!((found(&store).len(), values(&store)), (0, 1), "{steps:?}, {kept} of {all}");
            }
        }
    }

    #[test]
    fn a_pack_of_large_pieces_stays_below_its_limit() {
        let store = MemoryStore::default();
        put(&store, 1, (0..64).map(|id| group(id, 3_000)).collect(), usize::MAX);
        store.scan(&[], &mut |key, value| assert!(value.len() <= PACK_BYTES_MAX, "{key:?}")).unwrap();
        assert!(values(&store) > 30, "most lie apart");
        put(&store, 2, (0..64).map(|id| group(id, 10)).collect(), usize::MAX);
        assert_eq!((found(&store).len(), values(&store)), (64, 2));
    }

    #[test]
    fn a_store_of_another_version_is_not_read() {
        let store = MemoryStore::default();
        put(&store, 1, vec![group(1, 10)], usize::MAX);
        let mark = store.get(MARK_KEY).unwrap().unwrap();
        for other in [mark[..16].to_vec(), [&mark[..16], &2u32.to_le_bytes()].concat()] {
            store.apply(vec![(MARK_KEY.to_vec(), Some(other))]).unwrap();
            assert!(read_checkpoint(&store).unwrap().is_none());
        }
    }
}
