//! E-mail addresses: five vendors, five opinions about what comes before the `@`.

use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};

use super::Dropped;

/// What becomes of `+suffix` at Google's own domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    Removed,
    Kept,
}

pub(super) fn plain(text: &str) -> Result<String, Dropped> {
    let lower = bare(text);
    parts(&lower)?;
    Ok(lower)
}

pub(super) fn google(text: &str, suffix: Suffix) -> Result<String, Dropped> {
    let mut lower = bare(text);
    lower.retain(|c| !c.is_whitespace());
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

/// `others`: what is left besides letters and digits.
pub(super) fn amazon(text: &str, others: &str) -> Result<String, Dropped> {
    let kept = |c: &char| c.is_ascii_alphanumeric() || others.contains(*c);
    // Of an address: what is none would become one, and another's.
    let lower: String = plain(text)?.chars().filter(kept).collect();
    parts(&lower)?;
    Ok(lower)
}

pub(super) fn md5(text: &str) -> Result<String, Dropped> {
    let digest = Md5::digest(plain(text)?.as_bytes());
    Ok(HEXLOWER.encode(&digest))
}

/// Lower case, without what a link puts before an address and what nobody sees in it.
fn bare(text: &str) -> String {
    let mut lower = text.to_lowercase();
    lower.retain(|c| !is_invisible(c));
    let bare = lower.trim();
    bare.strip_prefix("mailto:").unwrap_or(bare).trim().to_owned()
}

/// Soft hyphens, zero-width characters and marks of direction, which are copied along.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}' | '\u{FEFF}'
    )
}

/// The two sides of exactly one `@`, each of what may stand there: characters of an atom (RFC 5322,
/// 3.2.3; 6531 for other scripts) and dots before it, the labels of a host after it. A sentence's
/// or a list's punctuation, a name with its brackets, a space inside make it no address: joining
/// what somebody typed apart would be a guess.
fn parts(address: &str) -> Result<(&str, &str), Dropped> {
    let is_other = |c: char| !c.is_ascii() && !c.is_control() && !c.is_whitespace();
    let in_atom =
        |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(c) || is_other(c);
    let in_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || is_other(c);
    let is_host =
        |host: &str| host.split('.').all(|label| !label.is_empty() && label.chars().all(in_label));
    match address.split_once('@') {
        Some((local, domain))
            if !local.is_empty() && local.chars().all(in_atom) && is_host(domain) =>
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
