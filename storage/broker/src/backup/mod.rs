//! Backups: a running broker's log up to a synced position, as a tar archive, and a data folder made of one. The log is
//! all there is to keep; the store is rebuilt from it. Who sends an archive where is not decided here.
//!
//! An archive holds, in this order and with nothing between or behind:
//! ```text
//! mailrail-backup.txt      lines of a key and a value: see Manifest
//! log/<20 digits>.seg      the log's segments by position; the last one ends where the backup does
//! mailrail-backup.crc32c   CRC-32C of all bytes before this entry, 8 hexadecimal digits and a line end
//! ```
//! Any tar unpacks it into a folder that a broker starts on. Reading is stricter: each header must be, to the byte, what
//! [`Backup`] writes, so that a flipped bit is found wherever it is.

mod format;
mod pack;
mod restore;
mod unpack;

pub use format::ArchiveError;
pub use pack::Backup;
pub use restore::{RestoreError, Restored, restore};
pub use unpack::{Contents, Piece, Unpacker};
