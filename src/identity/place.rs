//! Cities, states, postal codes and countries.

use super::{Dropped, name};

/// Lower case without punctuation, special characters and spaces.
pub(super) fn compact(text: &str) -> String {
    name::without_symbols_and_space(text)
}

/// ISO 3166-1 alpha-2 in upper case, of any case. `UK`, which the standard reserves for it, is `GB`,
/// and `XK` is Kosovo, which has no other. A name, three letters and what is no country (`EU`, `XX`)
/// are refused, not translated.
pub fn country_code(text: &str) -> Option<String> {
    let code = text.trim().to_ascii_uppercase();
    match code.as_str() {
        "UK" => Some("GB".to_owned()),
        "XK" => Some(code),
        "" => None,
        _ => code.parse::<iso_currency::Country>().is_ok().then_some(code),
    }
}

pub(super) fn country(text: &str) -> Result<String, Dropped> {
    country_code(text).ok_or(Dropped::Invalid)
}

/// In the USA the state's two letters, from the code, the ISO 3166-2 code or the name.
pub(super) fn state(text: &str, country: Option<&str>) -> Result<String, Dropped> {
    let lower = text.to_lowercase();
    if !is_us(country) {
        return Ok(compact(&lower));
    }
    let state = compact(lower.strip_prefix("us-").unwrap_or(&lower));
    US_STATES
        .iter()
        .find(|(code, name)| *code == state || *name == state)
        .map(|(code, _)| (*code).to_owned())
        .ok_or(Dropped::Invalid)
}

/// Lower case without spaces and what else is `left_out`; in the USA the five digits.
pub(super) fn postal(
    text: &str,
    country: Option<&str>,
    left_out: fn(char) -> bool,
) -> Result<String, Dropped> {
    let mut code = text.to_lowercase();
    code.retain(|c| !c.is_whitespace() && !left_out(c));
    if !is_us(country) {
        return Ok(code);
    }
    match code.get(..5) {
        Some(five) if five.bytes().all(|b| b.is_ascii_digit()) => Ok(five.to_owned()),
        _ => Err(Dropped::Invalid),
    }
}

fn is_us(country: Option<&str>) -> bool {
    country.is_some_and(|country| country.trim().eq_ignore_ascii_case("US"))
}

/// USPS codes with the names as [`compact`] leaves them.
#[rustfmt::skip]
const US_STATES: [(&str, &str); 59] = [
    ("al", "alabama"), ("ak", "alaska"), ("az", "arizona"), ("ar", "arkansas"),
    ("ca", "california"), ("co", "colorado"), ("ct", "connecticut"), ("de", "delaware"),
    ("dc", "districtofcolumbia"), ("fl", "florida"), ("ga", "georgia"), ("hi", "hawaii"),
    ("id", "idaho"), ("il", "illinois"), ("in", "indiana"), ("ia", "iowa"), ("ks", "kansas"),
    ("ky", "kentucky"), ("la", "louisiana"), ("me", "maine"), ("md", "maryland"),
    ("ma", "massachusetts"), ("mi", "michigan"), ("mn", "minnesota"), ("ms", "mississippi"),
    ("mo", "missouri"), ("mt", "montana"), ("ne", "nebraska"), ("nv", "nevada"),
    ("nh", "newhampshire"), ("nj", "newjersey"), ("nm", "newmexico"), ("ny", "newyork"),
    ("nc", "northcarolina"), ("nd", "northdakota"), ("oh", "ohio"), ("ok", "oklahoma"),
    ("or", "oregon"), ("pa", "pennsylvania"), ("ri", "rhodeisland"), ("sc", "southcarolina"),
    ("sd", "southdakota"), ("tn", "tennessee"), ("tx", "texas"), ("ut", "utah"),
    ("vt", "vermont"), ("va", "virginia"), ("wa", "washington"), ("wv", "westvirginia"),
    ("wi", "wisconsin"), ("wy", "wyoming"), ("as", "americansamoa"), ("gu", "guam"),
    ("mp", "northernmarianaislands"), ("pr", "puertorico"), ("vi", "virginislands"),
    ("aa", "armedforcesamericas"), ("ae", "armedforceseurope"), ("ap", "armedforcespacific"),
];
