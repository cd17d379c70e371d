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
                _ => switches.named.push((key.to_string(), on)),
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
        for own in names.by_ref().map(stem) {
            for (_, on) in self.named.iter().filter(|(name, _)| stem(name) == own) {
                // Of several names that mean it, one that is off is enough.
                found = Some(found.unwrap_or(true) && *on);
            }
        }
        found.map_or(self.all_off, |on| !on)
    }

    /// Those that switch something off which none of these names means.
    pub fn in_vain<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<&str> {
        let off = self.named.iter().filter(|(_, on)| !on);
        let mut off: Vec<&str> = off.map(|(name, _)| name.as_str()).collect();
        if !off.is_empty() {
            let known: Vec<String> = names.map(stem).collect();
            off.retain(|name| !known.contains(&stem(name)));
        }
        off
    }
}

/// A name without the word by which Segment marks one kind of its integrations: `Actions X`,
/// `X (Actions)`.
fn stem(name: &str) -> String {
    let plain = plain(name);
    plain.trim_start_matches("actions").trim_end_matches("actions").to_owned()
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
            (r#"{"Actions Facebook Pixel": false}"#, true),
            (r#"{"Facebook Pixel (Actions)": false}"#, true),
            (r#"{"FACEBOOK_PIXEL": false}"#, true),
        ] {
            assert_eq!(off(integrations, &names), expected, "{integrations}");
        }
    }

    #[test]
    fn what_means_nobody_is_told() {
        let node = json::parse(r#"{"Mixpanel": false, "Meta": false, "Kissmetrics": true}"#, 9);
        let switches = Switches::read(Some(&node.unwrap()));
        assert_eq!(switches.in_vain(["meta"].into_iter()), ["Mixpanel"]);
    }
}
