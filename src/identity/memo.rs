//! What the preparations of one event share: a phone number is parsed once, and a text normalised by
//! a rule and hashed once, however many destinations take it.

use std::{cell::RefCell, fmt};

use super::{Digest, Dropped, Normalized, Rule, e164, ip_in_form, normalize, scrub_text};
use crate::{consent::IpForm, event::Personal};

/// Lives as long as one event is in the pipeline; holds personal text in memory only.
#[derive(Default)]
pub struct Memo {
    phones: RefCell<Vec<Phone>>,
    addresses: RefCell<Vec<(Personal, IpForm, Option<String>)>>,
    hashed: RefCell<Hashed>,
    /// Of normalised texts: several rules often make the same of one.
    digests: RefCell<Vec<(Personal, [u8; 32])>>,
    /// Ids of the sender's own that were looked through for identity.
    ids: RefCell<Vec<(Personal, bool)>>,
    /// Hashes of remembered values, each with what it is under each rule's number.
    remembered: RefCell<Vec<Remembered>>,
}

type Remembered = ([u8; 32], Vec<(u8, [u8; 32])>);

/// Digests of texts as they came, by rule, in one country.
#[derive(Default)]
struct Hashed {
    country: Option<String>,
    known: Vec<(Rule, Personal, Result<[u8; 32], Dropped>)>,
}

struct Phone {
    text: Personal,
    country: Option<String>,
    parsed: Result<Personal, Dropped>,
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[memo]")
    }
}

impl Memo {
    /// [`ip_in_form`], read once an address and form.
    pub fn address(&self, ip: &str, form: IpForm) -> Option<String> {
        let mut addresses = self.addresses.borrow_mut();
        let known = addresses.iter().find(|(text, of, _)| *of == form && text.expose() == ip);
        if let Some((.., address)) = known {
            return address.clone();
        }
        let address = ip_in_form(ip, form);
        addresses.push((Personal::new(ip), form, address.clone()));
        address
    }

    /// The digest of what a rule makes of a text, computed once.
    pub fn hashed(&self, rule: Rule, text: &str, country: Option<&str>) -> Result<Digest, Dropped> {
        let mut hashed = self.hashed.borrow_mut();
        if hashed.country.as_deref() != country {
            *hashed = Hashed { country: country.map(str::to_owned), known: Vec::new() };
        }
        let mut known = hashed.known.iter();
        let bytes = match known.find(|(by, known, _)| *by == rule && known.expose() == text) {
            Some((.., bytes)) => *bytes,
            None => {
                let normalized = self.normalize(rule, text, country);
                let bytes = normalized.map(|normalized| self.digest(&normalized).bytes);
                hashed.known.push((rule, Personal::new(text), bytes));
                bytes
            }
        };
        bytes.map(|bytes| Digest { bytes, appendix: None })
    }

    /// [`normalize()`], with phone numbers parsed once.
    pub fn normalize(
        &self,
        rule: Rule,
        text: &str,
        country: Option<&str>,
    ) -> Result<Normalized, Dropped> {
        match rule {
            Rule::PhoneE164 => Ok(Normalized(self.phone(text, country)?)),
            Rule::PhoneDigits => Ok(Normalized(super::phone::digits(self.phone(text, country)?))),
            _ => normalize(rule, text, country),
        }
    }

    /// [`Normalized::digest`], computed once a text.
    pub fn digest(&self, normalized: &Normalized) -> Digest {
        let text = normalized.expose();
        let mut digests = self.digests.borrow_mut();
        let known = digests.iter().find(|(known, _)| known.expose() == text);
        let bytes = match known {
            Some((_, bytes)) => *bytes,
            None => {
                let bytes = normalized.digest().bytes;
                digests.push((Personal::new(text), bytes));
                bytes
            }
        };
        Digest { bytes, appendix: None }
    }

    /// Whether an id of the sender's own is, or holds, an e-mail address or a phone number. Digits
    /// alone are a customer's number, and a UUID is never a phone's.
    pub fn holds_identity(&self, id: &str, country: Option<&str>) -> bool {
        let mut ids = self.ids.borrow_mut();
        if let Some((_, holds)) = ids.iter().find(|(known, _)| known.expose() == id) {
            return *holds;
        }
        let holds =
            uuid::Uuid::try_parse(id.trim()).is_err() && scrub_text(id, country).removed > 0;
        ids.push((Personal::new(id), holds));
        holds
    }

    /// Notes what a remembered hash is under each rule.
    pub fn remember(&self, digest: [u8; 32], forms: Vec<(u8, [u8; 32])>) {
        if !forms.is_empty() {
            self.remembered.borrow_mut().push((digest, forms));
        }
    }

    /// What a hash that came instead of a text is under a rule: itself where a sender made it; of a
    /// remembered value its hash under that rule, if it was kept.
    pub fn rehash(&self, rule: Rule, digest: Digest) -> Result<Digest, Dropped> {
        let remembered = self.remembered.borrow();
        let Some((_, forms)) = remembered.iter().find(|(known, _)| *known == digest.bytes) else {
            return if rule.takes_hashes() { Ok(digest) } else { Err(Dropped::Hashed) };
        };
        let form = forms.iter().find(|(number, _)| *number == rule.number());
        let (_, bytes) = form.ok_or(Dropped::Hashed)?;
        Ok(Digest { bytes: *bytes, appendix: None })
    }

    fn phone(&self, text: &str, country: Option<&str>) -> Result<String, Dropped> {
        let mut phones = self.phones.borrow_mut();
        let same =
            |phone: &&Phone| phone.text.expose() == text && phone.country.as_deref() == country;
        if let Some(phone) = phones.iter().find(same) {
            return phone.parsed.as_ref().map(|e164| e164.expose().to_owned()).map_err(|why| *why);
        }
        let parsed = e164(text, country);
        phones.push(Phone {
            text: Personal::new(text),
            country: country.map(str::to_owned),
            parsed: parsed.clone().map(Personal::new),
        });
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_gives_what_the_rules_give() {
        let memo = Memo::default();
        let cases = [
            (Rule::PhoneE164, "(415) 555-0133", Some("US")),
            (Rule::PhoneDigits, "(415) 555-0133", Some("US")),
            (Rule::PhoneDigits, "(415) 555-0133", None),
            (Rule::EmailPlain, "Jane@Example.com", None),
        ];
        for _ in 0..2 {
            for (rule, text, country) in cases {
                let plain = normalize(rule, text, country);
                assert_eq!(memo.normalize(rule, text, country), plain);
                if let Ok(normalized) = plain {
                    assert_eq!(memo.digest(&normalized), normalized.digest());
                }
            }
        }
        assert_eq!(memo.phones.borrow().len(), 2);
        assert_eq!(memo.digests.borrow().len(), 3);
        for _ in 0..2 {
            for (rule, text, country) in cases {
                let plain = normalize(rule, text, country).map(|normalized| normalized.digest());
                assert_eq!(memo.hashed(rule, text, country), plain);
            }
            for form in [IpForm::Full, IpForm::Truncated, IpForm::None] {
                assert_eq!(memo.address(" 203.0.113.9", form), ip_in_form("203.0.113.9", form));
            }
        }
        assert_eq!(memo.addresses.borrow().len(), 3);
    }
}
