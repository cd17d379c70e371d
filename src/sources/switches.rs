//! The `integrations` of a call: which destinations the sender wants it to go to. A switch only ever
//! takes away: what the plan or consent withholds stays where it is.

use super::json::Node;

/// Destinations that a sender switches off or on, by the names that its own platform gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switches {
    /// `All: false`: off but for those that are named.
    all_off: bool,
    named: Vec<(String, bool)>,
}

impl Switches {
    /// Reads the object. An object or a text as a value is options of a destination that is on.
    pub(super) fn read(node: Option<&Node<'_>>) -> Self {
        let mut switches = Self::default();
        let Some(Node::Object(members)) = node else { return switches };
        for (key, node) in members {
            let on = !matches!(node, Node::Bool(false) | Node::Null);
            match key.to_ascii_lowercase().as_str() {
                "all" => switches.all_off = !on,
                // A dead switch: it is the sender's own platform.
                "segment.io" => {}
                _ => switches.named.push((plain(key), on)),
            }
        }
        switches
    }

    /// Whether a destination is off, by any of its names.
    pub fn are_off<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        if !self.all_off && self.named.is_empty() {
            return false;
        }
        let mut found = None;
        for own in names.by_ref().map(plain) {
            for (_, on) in self.named.iter().filter(|(name, _)| *name == own) {
                // Of several names that mean it, one that is off is enough.
                found = Some(found.unwrap_or(true) && *on);
            }
        }
        found.map_or(self.all_off, |on| !on)
    }
}

/// Letters and digits only: names are written in many ways.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::json;

    fn off(integrations: &str, names: &[&str]) -> bool {
        let node = json::parse(integrations, 9).unwrap();
        Switches::read(Some(&node)).are_off(names.iter().copied())
    }

    #[test]
    fn a_switch_takes_away() {
        let names = ["meta", "Facebook Pixel"];
        for (integrations, expected) in [
            ("{}", false),
            ("null", false),
            (r#"{"All": true}"#, false),
            (r#"{"All": false}"#, true),
            (r#"{"all": false}"#, true),
            (r#"{"All": false, "Facebook Pixel": true}"#, false),
            (r#"{"All": false, "Facebook Pixel": {"x": 1}}"#, false),
            (r#"{"All": false, "Mixpanel": true}"#, true),
            (r#"{"Facebook Pixel": false}"#, true),
            (r#"{"facebook_pixel": false}"#, true),
            (r#"{"Facebook Pixel": false, "meta": true}"#, true),
            (r#"{"Mixpanel": false, "Segment.io": false}"#, false),
        ] {
            assert_eq!(off(integrations, &names), expected, "{integrations}");
        }
    }
}
