//! The channels of a connection by number, and which of them have something to say at the end of a batch.
//!
//! Knows nothing of what happens inside a channel.

use crate::channel::{Channel, ChannelEnd, ChannelKey};

/// Open channels. The table grows with the highest number used, which the agreed maximum bounds.
#[derive(Debug)]
pub(super) struct Channels<L> {
    slots: Vec<Option<Slot<L>>>,
    openings: u32,
    touched: Vec<u16>,
    /// Those whose body has come in part, or was complete in this batch.
    assembling: Vec<u16>,
}

#[derive(Debug)]
struct Slot<L> {
    channel: Box<Channel<L>>,
    is_touched: bool,
}

impl<L> Default for Channels<L> {
    fn default() -> Self {
        Channels { slots: Vec::new(), openings: 0, touched: Vec::new(), assembling: Vec::new() }
    }
}

impl<L> Channels<L> {
    pub fn open(&mut self, number: u16) {
        let at = usize::from(number);
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        self.assembling.retain(|assembling| *assembling != number);
        self.openings = self.openings.wrapping_add(1);
        let key = ChannelKey { number, opening: self.openings };
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(Slot { channel: Box::new(Channel::new(key)), is_touched: false });
        }
    }

    pub fn get(&mut self, number: u16) -> Option<&mut Channel<L>> {
        self.slot(number).map(|slot| slot.channel.as_mut())
    }

    /// The channel, if it is still the same opening of its number.
    pub fn by_key(&mut self, key: ChannelKey) -> Option<&mut Channel<L>> {
        self.get(key.number).filter(|channel| channel.key() == key)
    }

    /// Remembers a channel that keeps part of a body.
    pub fn note_body(&mut self, number: u16) {
        if !self.assembling.contains(&number) {
            self.assembling.push(number);
        }
    }

    /// Bytes kept of bodies that are not complete.
    pub fn assembled_bytes(&self) -> usize {
        let slot = |number: &u16| self.slots.get(usize::from(*number)).and_then(Option::as_ref);
        self.assembling.iter().filter_map(slot).map(|slot| slot.channel.assembled_bytes()).sum()
    }

    /// Gives the room of bodies back that are complete.
    pub fn forget_bodies(&mut self) {
        let mut assembling = std::mem::take(&mut self.assembling);
        assembling.retain(|number| {
            let Some(channel) = self.get(*number) else { return false };
            channel.forget_published();
            channel.assembled_bytes() > 0
        });
        self.assembling = assembling;
    }

    pub fn is_waiting(&self, number: u16) -> bool {
        let slot = self.slots.get(usize::from(number)).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.channel.is_waiting())
    }

    pub fn remove(&mut self, number: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(number)) {
            *slot = None;
        }
    }

    /// Remembers that a channel may have confirms to send or credit to give.
    pub fn touch(&mut self, number: u16) {
        if let Some(slot) = self.slot(number)
            && !slot.is_touched
        {
            slot.is_touched = true;
            self.touched.push(number);
        }
    }

    /// Visits touched channels; one for which `visit` says that it is not done stays touched.
    pub fn visit_touched(&mut self, mut visit: impl FnMut(&mut Channel<L>) -> bool) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.retain(|number| {
            let Some(slot) = self.slot(*number).filter(|slot| slot.is_touched) else { return false };
            slot.is_touched = !visit(&mut slot.channel);
            slot.is_touched
        });
        self.touched = touched;
    }

    /// Removes all channels; `each` gets what they held.
    pub fn drain(&mut self, mut each: impl FnMut(ChannelEnd<L>)) {
        self.touched.clear();
        for mut slot in self.slots.drain(..).flatten() {
            each(slot.channel.end());
        }
    }

    fn slot(&mut self, number: u16) -> Option<&mut Slot<L>> {
        self.slots.get_mut(usize::from(number))?.as_mut()
    }
}
