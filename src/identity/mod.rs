//! Identity: one function a normalisation rule, hashes from normalised text only, and the address.
//!
//! Platforms name a [`Rule`] for each field they take; nobody else normalises anything.

mod address;
mod email;
mod hash;
mod memo;
mod name;
mod normalize;
mod phone;
mod place;
mod scrub;
mod subject;

pub use address::ip_in_form;
pub use hash::{Digest, Normalized, recognise_hash};
pub use memo::Memo;
pub use normalize::{Dropped, Rule, birth_date, normalize};
pub use phone::e164;
pub use place::country_code;
pub use scrub::{Scrubbed, is_kept, scrub_emails, scrub_text, scrub_url};
pub use subject::{country_of, is_nobodys, names_a_person, subject_digest, subject_digests};
