//! Remembered clicks: the click ids that a visit brought with consent, for a deal that the same person
//! closes weeks later elsewhere. Pure; where they are kept is the queue's.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Grant, Purpose, State};
use crate::event::Field;

/// The source under which a remembered click appears in a trace.
pub const SOURCE: &str = "memory.click_ids";

/// Clicks of one person that are kept.
const MOST: usize = 4;

/// The ids that tell a click. Cookies, which tell a browser, are none.
const CLICK_IDS: [Field; 17] = [
    Field::Gclid,
    Field::Gbraid,
    Field::Wbraid,
    Field::Dclid,
    Field::Fbclid,
    Field::Fbc,
    Field::CtwaClid,
    Field::Msclkid,
    Field::Ttclid,
    Field::Twclid,
    Field::LiFatId,
    Field::Sccid,
    Field::Epik,
    Field::RdtCid,
    Field::AmznClickId,
    Field::Tblci,
    Field::ObClickId,
];

/// What a person is known by when a click is looked for, besides their order.
pub const KEYS: [Field; 3] = [Field::ExternalId, Field::Email, Field::LeadId];

/// Whether a field tells a click.
pub fn is_click(field: Field) -> bool {
    CLICK_IDS.contains(&field)
}

/// Whether a state is one in which a click, or a trait, may be remembered: both purposes granted,
/// nothing opted out of, no minor.
pub fn may_remember(state: &State) -> bool {
    let granted = |purpose| state.grants.get(purpose) == Grant::Granted;
    let allows = granted(Purpose::AdStorage) && granted(Purpose::AdUserData);
    allows && !state.opt_out.any() && !state.minor
}

/// Whether a state is one in which nothing remembered may be used.
pub fn refuses(state: &State) -> bool {
    let denied = |purpose| state.grants.get(purpose) == Grant::Denied;
    denied(Purpose::AdStorage) || denied(Purpose::AdUserData) || state.opt_out.any()
}

/// A click. Its ids are sealed where they are kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Click {
    /// When it happened, epoch milliseconds.
    pub at_ms: i64,
    /// Until when it is kept, epoch milliseconds.
    pub until_ms: i64,
    /// Its ids.
    pub ids: Vec<(Field, String)>,
}

impl fmt::Debug for Click {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Click").field("at_ms", &self.at_ms).finish_non_exhaustive()
    }
}

/// Adds a click to those of a person; the oldest goes where there are too many.
pub fn add(clicks: &mut Vec<Click>, click: Click) {
    match clicks.iter_mut().find(|known| known.ids == click.ids) {
        // The same click on every page of a visit: it happened when it was first seen.
        Some(known) => {
            known.at_ms = known.at_ms.min(click.at_ms);
            known.until_ms = known.until_ms.min(click.until_ms);
        }
        None => clicks.push(click),
    }
    clicks.sort_by_key(|click| click.at_ms);
    let surplus = clicks.len().saturating_sub(MOST);
    clicks.drain(..surplus);
}
