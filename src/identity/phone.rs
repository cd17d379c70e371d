//! Phone numbers to E.164.

use super::Dropped;

/// Parses with the country's rules; the result has a leading `+`.
pub fn e164(text: &str, country: Option<&str>) -> Result<String, Dropped> {
    let _ = (text, country);
    unimplemented!()
}
