//! E-mail addresses: five vendors, five opinions about what comes before the `@`.

use md5::{Digest as _, Md5};

use super::Dropped;

/// What becomes of `+suffix` at Google's own domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    Removed,
    Kept,
}

pub(super) fn plain(text: &str) -> Result<String, Dropped> {
    let lower = text.to_lowercase();
    // An address has no space inside; joining what a person typed apart would be a guess.
    if lower.contains(char::is_whitespace) {
        return Err(Dropped::Invalid);
    }
    parts(&lower)?;
    Ok(lower)
}

pub(super) fn google(text: &str, suffix: Suffix) -> Result<String, Dropped> {
    let lower = lower_no_space(text);
    let (local, domain) = parts(&lower)?;
    if !matches!(domain, "gmail.com" | "googlemail.com") {
        return Ok(lower);
    }
    let local = match suffix {
        Suffix::Removed => before_plus(local),
        Suffix::Kept => local,
    };
    join(&local.replace('.', ""), domain)
}

pub(super) fn bare_local(text: &str) -> Result<String, Dropped> {
    let lower = plain(text)?;
    let (local, domain) = parts(&lower)?;
    join(&before_plus(local).replace('.', ""), domain)
}

pub(super) fn alphanumeric_local(text: &str) -> Result<String, Dropped> {
    let lower = plain(text)?;
    let (local, domain) = parts(&lower)?;
    let local: String = before_plus(local).chars().filter(|c| c.is_alphanumeric()).collect();
    join(&local, domain)
}

pub(super) fn amazon(text: &str) -> Result<String, Dropped> {
    let kept = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '@' | '-' | '+');
    let lower: String = text.to_lowercase().chars().filter(kept).collect();
    parts(&lower)?;
    Ok(lower)
}

pub(super) fn md5(text: &str) -> Result<String, Dropped> {
    let digest = Md5::digest(plain(text)?.as_bytes());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The two sides of exactly one `@`, neither empty.
fn parts(address: &str) -> Result<(&str, &str), Dropped> {
    match address.split_once('@') {
        Some((local, domain))
            if !local.is_empty() && !domain.is_empty() && !domain.contains('@') =>
        {
            Ok((local, domain))
        }
        _ => Err(Dropped::Invalid),
    }
}

fn join(local: &str, domain: &str) -> Result<String, Dropped> {
    if local.is_empty() { Err(Dropped::Invalid) } else { Ok(format!("{local}@{domain}")) }
}

fn before_plus(local: &str) -> &str {
    local.split('+').next().unwrap_or_default()
}

fn lower_no_space(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect()
}
