//! The decision log: for every event and destination what was decided, on what grounds, and what
//! became of it; and what people decided about themselves. Append-only, without clear identity.
//!
//! The queue leaves what is to be told in its outbox, in the same batch as what it tells of. One
//! [`Writer`] turns that into records, each with the hash of the one before, and appends them to
//! daily files of sealed, compressed blocks; how long the chain is and which hash it ends with
//! stands in the store, in the same batch that empties the outbox. [`verify()`] holds the files
//! against that, [`read`] shows them.
//!
//! It decides nothing, and nothing is ever changed in a file: an erasure leaves the log as it is,
//! since what it holds of people are keyed hashes.

mod chain;
mod configurations;
mod files;
mod record;
mod verify;
mod writer;

pub use chain::{Chain, DayEnd};
pub use configurations::keep as keep_configuration;
pub use record::Wanted;
pub use verify::{Problem, Report, read, verify};
pub use writer::{Announce, Writer, WriterError};
