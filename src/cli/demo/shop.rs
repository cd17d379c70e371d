//! A simulated shop: visitors from three countries walk a funnel, each with their own consent.
//!
//! Pure: given a seed it always tells the same story. The people are made up.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The steps of a visit; each visitor stops somewhere.
const STEPS: [&str; 4] = ["view_item", "add_to_cart", "begin_checkout", "purchase"];

/// Where visitors come from, and what they said to the banner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A US visitor who was never asked.
    American,
    /// A US visitor whose browser sends Global Privacy Control.
    AmericanGpc,
    /// A German visitor who agreed to everything.
    GermanGranted,
    /// A German visitor who allowed measurement but no personalisation.
    GermanMeasured,
    /// A German visitor who refused.
    GermanDenied,
    /// A German visitor without any signal: a bug of the page.
    GermanSilent,
}

const MANNERS: [Manner; 6] = [
    Manner::American,
    Manner::AmericanGpc,
    Manner::GermanGranted,
    Manner::GermanMeasured,
    Manner::GermanDenied,
    Manner::GermanSilent,
];

/// Products: id, name, price in minor units.
const PRODUCTS: [(&str, &str, u64); 4] = [
    ("SKU-1", "Running shoe", 12_990),
    ("SKU-2", "Rain jacket", 8_950),
    ("SKU-3", "Socks, three pairs", 1_495),
    ("SKU-4", "Water bottle", 2_200),
];

/// The shop.
#[derive(Debug)]
pub(super) struct Shop {
    state: u64,
    visitors: u64,
    walking: Vec<Visit>,
}

#[derive(Debug, Clone)]
struct Visit {
    number: u64,
    manner: Manner,
    product: usize,
    step: usize,
    last_step: usize,
}

impl Shop {
    /// A shop that tells the story of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed | 1, visitors: 0, walking: Vec::new() }
    }

    /// The events of the next moment: somebody arrives, somebody goes on.
    pub(super) fn next(&mut self, now: Timestamp) -> Vec<Value> {
        if self.walking.len() < 6 || self.below(3) == 0 {
            self.visitors += 1;
            let manner =
                pick(&MANNERS, self.below(MANNERS.len() as u64)).unwrap_or(Manner::American);
            let last_step = match self.below(10) {
                0..=2 => 0,
                3..=4 => 1,
                5..=6 => 2,
                _ => 3,
            };
            let product = usize::try_from(self.below(PRODUCTS.len() as u64)).unwrap_or_default();
            let visit = Visit { number: self.visitors, manner, product, step: 0, last_step };
            self.walking.push(visit);
        }
        let at = usize::try_from(self.below(self.walking.len() as u64)).unwrap_or_default();
        let Some(visit) = self.walking.get_mut(at) else { return Vec::new() };
        let event = visit.event(now);
        visit.step += 1;
        if visit.step > visit.last_step {
            self.walking.swap_remove(at);
        }
        let mut events = vec![event];
        // Now and then a page sends the same event again, as pages do.
        if self.below(25) == 0 {
            events.extend(events.first().cloned());
        }
        events
    }

    /// A small linear congruential generator: the story needs variety, not secrecy.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % bound.max(1)
    }
}

fn pick<T: Copy>(list: &[T], at: u64) -> Option<T> {
    list.get(usize::try_from(at).ok()?).copied()
}

impl Visit {
    fn event(&self, now: Timestamp) -> Value {
        let name = STEPS.get(self.step).copied().unwrap_or("view_item");
        let german = !matches!(self.manner, Manner::American | Manner::AmericanGpc);
        let (site, currency, region) =
            if german { ("shop_eu", "EUR", "DE") } else { ("shop_us", "USD", "US-CA") };
        let (sku, product, price) = PRODUCTS.get(self.product).copied().unwrap_or(("SKU", "", 100));
        let price = format!("{}.{:02}", price / 100, price % 100);
        let number = self.number;
        let host = if german { "shop-eu.example" } else { "shop.example" };
        let mut user = Map::new();
        user.insert("anonymous_id".to_owned(), json!(format!("anon-{number}")));
        // Who reaches the checkout has typed an address.
        if self.step >= 2 {
            let phone = if german {
                format!("030 {:07}", 5_550_000 + number % 9_999)
            } else {
                format!("(415) 555-{:04}", 100 + number % 100)
            };
            user.insert("external_id".to_owned(), json!(format!("customer-{number}")));
            user.insert("email".to_owned(), json!(format!("Visitor.{number}@Example.com")));
            user.insert("phone".to_owned(), json!(phone));
            user.insert("first_name".to_owned(), json!("Robin"));
            user.insert("last_name".to_owned(), json!("Example"));
            user.insert("city".to_owned(), json!(if german { "Berlin" } else { "San Francisco" }));
            user.insert("postal_code".to_owned(), json!(if german { "10115" } else { "94107" }));
            user.insert("country".to_owned(), json!(if german { "DE" } else { "US" }));
        }
        json!({
            "event": name,
            "event_id": format!("visit-{number}-{name}"),
            "timestamp": now.to_string(),
            "site": site,
            "user": user,
            "context": {
                "ip": format!("203.0.113.{}", number % 250 + 1),
                "user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15",
                "page_url": format!("https://{host}/{name}?utm_source=newsletter&gclid=demo-{number}&fbclid=demo-{number}"),
                "session_id": format!("session-{number}")
            },
            "click_ids": {
                "fbp": format!("fb.1.1795305600000.{}", 1_000_000_000 + number),
                "ga_client_id": format!("{}.1795305600", 1_000_000_000 + number),
                "ga_session_id": "1795305600"
            },
            "consent": self.consent(region),
            "properties": {
                "value": price,
                "currency": currency,
                "order_id": if name == "purchase" { format!("order-{number}") } else { String::new() },
                "cart_size": 1,
                "items": [{"id": sku, "name": product, "quantity": 1, "price": price}]
            }
        })
    }

    fn consent(&self, region: &str) -> Value {
        let all = |value: &str, personalization: &str| {
            json!({
                "ad_storage": value, "ad_user_data": value,
                "ad_personalization": personalization, "analytics_storage": value,
                "region": region, "method": "banner"
            })
        };
        match self.manner {
            Manner::American | Manner::GermanSilent => json!({ "region": region }),
            Manner::AmericanGpc => json!({ "region": region, "gpc": true }),
            Manner::GermanGranted => all("granted", "granted"),
            Manner::GermanMeasured => all("granted", "denied"),
            Manner::GermanDenied => all("denied", "denied"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_same_story_and_reaches_the_purchase() {
        let now = "2026-11-22T04:00:00Z".parse().unwrap();
        let story = |seed| {
            let mut shop = Shop::new(seed);
            (0..200).flat_map(|_| shop.next(now)).collect::<Vec<_>>()
        };
        assert_eq!(story(7), story(7));
        assert_ne!(story(7), story(8));
        assert!(story(7).iter().any(|event| event["event"] == "purchase"));
    }
}
