//! A picture of the state as it was at one position of the log, taken piece by piece while the state goes on changing:
//! what a checkpoint or a snapshot consists of. Writes nothing.

use super::*;
use crate::queue::IndexImage;

/// One piece of the state as it was.
#[derive(Debug)]
pub(crate) struct Piece {
    pub key: ItemKey,
    /// `None` for a piece that was no more.
    pub item: Option<Item>,
    /// Of a queue, for a checkpoint.
    pub index: Option<IndexImage>,
}

impl Piece {
    /// What it takes to take and encode it, in small pieces.
    fn weight(&self) -> usize {
        let parts = self.item.as_ref().map_or(0, Item::parts);
        1 + (parts + self.index.as_ref().map_or(0, IndexImage::blocks)) / PARTS_OF_A_SMALL_PIECE
    }
}

/// Numbers, names or bindings in a piece that make it twice as costly as one without any.
const PARTS_OF_A_SMALL_PIECE: usize = 16;

/// A picture that is being taken.
///
/// Every piece of it is as it was when the picture was begun, however many turns it takes: whatever changes a piece
/// calls [`State::before_change`] first, which takes the piece if that was not done yet. So the pieces fit each other.
/// They hold what the records below the position of that moment did, and nothing of those from there on, which is all
/// that a replay from there needs to know. (Pieces taken at different positions would not do: what a record does to one
/// piece may depend on others, such as whether a group that is nowhere else goes with its topic.)
#[derive(Debug)]
pub(super) struct Picture {
    /// Pieces not looked at yet.
    left: Vec<ItemKey>,
    wanted: Wanted,
    taken: Vec<Piece>,
}

#[derive(Debug)]
enum Wanted {
    /// These, with indexes: what a checkpoint has to write.
    These(FxHashSet<ItemKey>),
    /// All but these, which were taken or were not there, without indexes: what a snapshot holds.
    AllBut(FxHashSet<ItemKey>),
}

impl Wanted {
    /// Whether a piece is still to be taken; from now on it is not.
    fn take(&mut self, key: ItemKey) -> bool {
        match self {
            Wanted::These(keys) => keys.remove(&key),
            Wanted::AllBut(keys) => keys.insert(key),
        }
    }
}

impl State {
    /// Begins a picture of what changed since the last one of this kind; returns its keys.
    pub fn begin_picture_of_changes(&mut self) -> Vec<ItemKey> {
        self.dirty.insert(ItemKey::Shard);
        let wanted = self.take_dirty();
        let keys: Vec<ItemKey> = wanted.iter().copied().collect();
        self.begin_picture(keys.clone(), Wanted::These(wanted));
        keys
    }

    /// Begins a picture of everything but indexes, which retained messages carry.
    pub fn begin_picture_of_all(&mut self) {
        self.begin_picture(self.all_keys(), Wanted::AllBut(FxHashSet::default()));
    }

    fn begin_picture(&mut self, left: Vec<ItemKey>, wanted: Wanted) {
        debug_assert!(self.picture.is_none(), "one picture at a time");
        self.picture = Some(Picture { left, wanted, taken: Vec::new() });
        // What it consists of changes without notice.
        self.before_change(ItemKey::Shard);
    }

    /// True from the beginning of a picture until all of it was taken out.
    pub fn has_picture(&self) -> bool {
        self.picture.is_some()
    }

    pub fn drop_picture(&mut self) {
        self.picture = None;
    }

    /// What has been taken of the picture, with up to so many further pieces, or less where they are large. The picture
    /// ends with the last of them.
    pub fn take_pieces(&mut self, max: usize) -> Vec<Piece> {
        let mut weight = 0;
        while weight < max
            && let Some(key) = self.picture.as_mut().and_then(|picture| picture.left.pop())
        {
            let taken = self.before_change(key);
            weight += taken.max(1);
        }
        let Some(picture) = &mut self.picture else { return Vec::new() };
        let taken = std::mem::take(&mut picture.taken);
        if picture.left.is_empty() {
            self.picture = None;
        }
        taken
    }

    /// Takes a piece that is about to change, to appear or to go, if a picture still wants it; returns its weight.
    #[inline]
    pub(super) fn before_change(&mut self, key: ItemKey) -> usize {
        if self.picture.is_some() { self.take_piece(key) } else { 0 }
    }

    fn take_piece(&mut self, key: ItemKey) -> usize {
        let Some(picture) = &mut self.picture else { return 0 };
        if !picture.wanted.take(key) {
            return 0;
        }
        let of_changes = matches!(picture.wanted, Wanted::These(_));
        let index = if of_changes { self.index(key) } else { None };
        let item = if of_changes { self.item(key) } else { self.item_for_snapshot(key) };
        let piece = Piece { key, item, index };
        let weight = piece.weight();
        if let Some(picture) = &mut self.picture {
            picture.taken.extend(Some(piece).filter(|piece| of_changes || piece.item.is_some()));
        }
        weight
    }

    fn index(&self, key: ItemKey) -> Option<IndexImage> {
        let ItemKey::Queue(id) = key else { return None };
        let queue = self.queues.get(&id)?;
        Some(queue.shared.image(queue.next_offset)).filter(|index| !index.is_empty())
    }
}
