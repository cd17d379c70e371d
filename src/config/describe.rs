//! The effective configuration as JSON: every default filled in, every secret redacted.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    Config, DestinationConfig, PLACEHOLDER, RateLimit, TlsFiles, WriteKey, units::show_duration,
};
use crate::{
    consent::{DestinationRule, RegionSource, Rules, VendorId},
    event::FieldSet,
    plan::{By, Count, Per, PlanEvent},
    value::{EntryValue, Source, ValueRule},
};

impl Config {
    /// What is in force, for people to read and compare.
    pub fn describe(&self) -> Value {
        let named = |map: &mut dyn Iterator<Item = (&String, Value)>| -> Value {
            Value::Object(map.map(|(name, value)| (name.clone(), value)).collect())
        };
        let sites = &mut self.sites.iter().map(|(name, site)| {
            let site = json!({
                "hosts": site.hosts,
                "controller": site.controller,
                "country": site.country,
                "currency": site.currency,
                "time_zone": site.time_zone.iana_name(),
                "sensitive": site.sensitive,
                "minimum_age": site.minimum_age,
            });
            (name, site)
        });
        let webhooks = &mut self.webhooks.iter().map(|(name, source)| {
            let kind = format!("{:?}", source.kind).to_lowercase();
            (name, json!({"type": kind, "secret": PLACEHOLDER, "site": source.site}))
        });
        let doors = &self.listen.doors;
        let tls = |files: &TlsFiles| json!({"cert": files.cert, "key": files.key});
        json!({
            "config": self.hash,
            "relay": {
                "mode": self.mode.name(),
                "geoip": self.geoip,
                "keep_query": self.keep_query,
                "listen": {
                    "public": self.listen.public,
                    "admin": self.listen.admin,
                    "sandbox": self.listen.sandbox,
                    "trusted_proxies": self.listen.trusted_proxies,
                    "client_ip_header": self.listen.client_ip_header,
                    "public_tls": doors.public_tls.as_ref().map(tls),
                    "admin_tls": doors.admin_tls.as_ref().map(tls),
                    "max_connections": doors.max_connections,
                    "max_connections_per_peer": doors.max_connections_per_peer,
                    "header_bytes": doors.header_bytes,
                    "head_timeout": show_duration(doors.head_timeout),
                    "body_timeout": show_duration(doors.body_timeout),
                    "held_bytes": doors.held_bytes,
                },
                "sites": named(sites),
                "write_keys": self.write_keys.iter().map(write_key).collect::<Vec<_>>(),
                "admin_tokens": self.admin_tokens.iter().map(|token| json!({
                    "name": token.name,
                    "token": PLACEHOLDER,
                    "roles": words(&token.roles),
                })).collect::<Vec<_>>(),
                "queue": self.queue(),
                "limits": {
                    "event_bytes": self.limits.event_bytes,
                    "request_bytes": self.limits.request_bytes,
                    "events_per_request": self.limits.events_per_request,
                    "nesting": self.limits.nesting,
                },
                "retention": self.retention(),
                "webhooks": named(webhooks),
                "evidence": {
                    "enabled": self.evidence.enabled,
                    "webhook": self.evidence.webhook.as_ref().map(|_| PLACEHOLDER),
                    "allow_private": self.evidence.allow_private,
                },
                "alert_when": self.alert_when(),
                "alerts": self.alerts.iter().map(|webhook| json!({
                    "webhook": PLACEHOLDER,
                    "allow_private": webhook.allow_private,
                })).collect::<Vec<_>>(),
            },
            "events": {
                "unknown_events": words(&[self.plan.unknown_events]).pop(),
                "rates": self.rates.is_some(),
                "funnels": named(&mut self.plan.funnels.iter().map(|(name, funnel)| {
                    (name, json!({"steps": funnel.steps, "macro": funnel.macro_event}))
                })),
                "events": named(
                    &mut self.plan.events.iter().map(|(name, event)| (name, plan_event(event)))
                ),
            },
            "consent": consent(&self.consent),
            "destinations": named(
                &mut self.destinations.iter().map(|(name, one)| (name, destination(one)))
            ),
        })
    }

    fn queue(&self) -> Value {
        let queue = &self.queue;
        json!({
            "engine": queue.engine.name(),
            "max_pending": queue.max_pending,
            "max_pending_per_destination": queue.max_pending_per_destination,
            "max_disk_bytes": queue.max_disk,
            "encryption_key": queue.encryption_key.as_ref().map(|_| PLACEHOLDER),
            "previous_keys": queue.previous_keys.len(),
            "subject_key": queue.subject_key.as_ref().map(|_| PLACEHOLDER),
        })
    }

    fn alert_when(&self) -> Value {
        let when = &self.alert_when;
        let share = |points: u32| format!("{}%", f64::from(points) / 100.0);
        json!({
            "oldest_age": show_duration(when.oldest_age),
            "window": show_duration(when.window),
            "dead_share": share(when.dead_share),
            "dead_at_least": when.dead_at_least,
            "held_rise": share(when.held_rise),
            "held_at_least": when.held_at_least,
            "silent_after": show_duration(when.silent_after),
            "disk_left": share(when.disk_left),
            "version_ends_in": show_duration(when.version_ends_in),
        })
    }

    fn retention(&self) -> Value {
        let keep = &self.retention;
        json!({
            "event_ids": {
                "keep": show_duration(keep.event_ids),
                "at_most": keep.event_ids_at_most,
            },
            "frequency": show_duration(keep.frequency),
            "choices": show_duration(keep.choices),
            "queue": show_duration(keep.queue),
            "traces": show_duration(keep.traces),
            "dead_letters": show_duration(keep.dead_letters),
            "evidence": show_duration(keep.evidence),
            "journeys": show_duration(keep.journeys),
        })
    }
}

/// The words of fieldless enums as configuration writes them (`OptIn` → `opt_in`).
fn words<T: std::fmt::Debug>(values: &[T]) -> Vec<String> {
    let snake = |word: String| {
        let mut text = String::new();
        for letter in word.chars() {
            if letter.is_uppercase() && !text.is_empty() {
                text.push('_');
            }
            text.extend(letter.to_lowercase());
        }
        text
    };
    values.iter().map(|value| snake(format!("{value:?}"))).collect()
}

fn write_key(key: &WriteKey) -> Value {
    json!({
        "name": key.name,
        "key": PLACEHOLDER,
        "sites": key.sites,
        "kind": words(&[key.kind]).pop(),
        "events": key.events,
        "may": words(&key.may),
        "rate_limit": key.rate_limit.as_ref().map(rate_limit),
        "rate_limit_per_address": rate_limit(&key.rate_limit_per_address),
        "origins": key.origins,
        "max_value": key.max_value,
    })
}

fn rate_limit(limit: &RateLimit) -> Value {
    json!({
        "requests_per_second": limit.requests_per_second,
        "events_per_second": limit.events_per_second,
        "burst": limit.burst,
        "requests_per_day": limit.requests_per_day,
    })
}

fn plan_event(event: &PlanEvent) -> Value {
    let count = match &event.count {
        Count::Every => json!("every"),
        Count::Limited { at_most, per, by, not_after } => json!({
            "at_most": at_most,
            "per": per.map(|per| match per {
                Per::Days(days) => format!("{days}d"),
                Per::Hours(hours) => format!("{hours}h"),
            }),
            "by": match by { By::User => "user", By::Session => "session" },
            "not_after": not_after,
        }),
    };
    json!({
        "kind": event.kind.name(),
        "stage": event.stage,
        "intent": event.intent,
        "type": event.event_type,
        "owner": event.owner,
        "description": event.description,
        "from": event.from,
        "when": event.when.as_ref().map(|when| when.source()),
        "count": count,
        "same_as": event.same_as.as_ref().map(|same_as| same_as.source()),
        "required": event.required,
        "value": event.value.as_ref().map(value_rule),
        "browser": event.browser,
    })
}

fn value_rule(rule: &ValueRule) -> Value {
    let mut shown = match &rule.source {
        Source::Fixed(amount) => json!({ "fixed": amount }),
        Source::FixedBySite(amounts) => json!({ "fixed": amounts }),
        Source::Field { path, times } => json!({ "field": path, "times": times }),
        Source::Formula(formula) => json!({ "formula": formula.source() }),
    };
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("currency".to_owned(), json!(rule.currency));
        shown.insert("minimum".to_owned(), json!(rule.bounds.minimum));
        shown.insert("maximum".to_owned(), json!(rule.bounds.maximum));
    }
    shown
}

fn consent(rules: &Rules) -> Value {
    let sources = rules.region_from.iter().map(|source| match source {
        RegionSource::Event => "event".to_owned(),
        RegionSource::Header(name) => format!("header:{name}"),
        RegionSource::Geoip => "geoip".to_owned(),
    });
    let regions: Map<String, Value> = rules
        .regions
        .iter()
        .map(|region| {
            let shown = json!({"match": region.matches, "model": region.model, "ip": region.ip});
            (region.name.clone(), shown)
        })
        .collect();
    let destinations: Map<String, Value> =
        rules.destinations.iter().map(|rule| (rule.name.clone(), consent_rule(rule))).collect();
    json!({
        "version": rules.version,
        "require_approval": rules.require_approval,
        "region_from": sources.collect::<Vec<_>>(),
        "gpc": if rules.gpc_everywhere { "everywhere" } else { "opt_out_regions" },
        "trust_gdpr_applies": rules.trust_gdpr_applies,
        "memory": {
            "max_age": show_duration(rules.memory.max_age),
            "use_for": rules.memory.use_for,
            "click_ids": rules.memory.click_ids.map(show_duration),
            "traits": rules.memory.traits.map(show_duration),
        },
        "regions": regions,
        "categories": rules.categories.iter().cloned().map(|(name, purposes)| {
            (name, json!(purposes))
        }).collect::<Map<_, _>>(),
        "destinations": destinations,
    })
}

fn consent_rule(rule: &DestinationRule) -> Value {
    let fields = |set: FieldSet, properties: &[String]| {
        let own = properties.iter().map(|name| format!("properties.{name}"));
        set.iter().map(|field| field.path().to_owned()).chain(own).collect::<Vec<_>>()
    };
    let vendor = |id: VendorId| match id {
        VendorId::Known => json!("known"),
        VendorId::Id(id) => json!(id),
        VendorId::None => json!("none"),
    };
    json!({
        "needs": rule.needs,
        "may_send": rule.may_send.map(|set| fields(set, &rule.may_send_properties)),
        "never_send": fields(rule.never_send, &rule.never_send_properties),
        "when_personalization_denied": rule.when_personalization_denied,
        "when_opted_out": rule.when_opted_out,
        "regions": rule.regions.iter().map(|part| {
            let shown = json!({
                "needs": part.needs,
                "may_send": part.may_send.as_ref().map(|(set, own)| fields(*set, own)),
                "never_send": fields(part.never_send, &part.never_send_properties),
                "when_personalization_denied": part.when_personalization_denied,
                "when_opted_out": part.when_opted_out,
            });
            (part.region.clone(), shown)
        }).collect::<Map<_, _>>(),
        "tcf_vendor_id": vendor(rule.tcf_vendor_id),
        "ac_provider_id": vendor(rule.ac_provider_id),
        "role": rule.role,
        "recipient": rule.recipient,
        "country": rule.country,
        "mechanism": rule.mechanism,
        "legal_basis": rule.legal_basis,
        "retention": rule.retention,
    })
}

fn destination(one: &DestinationConfig) -> Value {
    let wait = |duration: Duration| show_duration(duration);
    let entry = |entry: &EntryValue| json!({"value": entry.rule.as_ref().map(value_rule), "currency": entry.currency});
    let delivery = &one.delivery;
    json!({
        "platform": one.platform.name,
        "sites": one.sites,
        "mode": one.mode.name(),
        "share": format!("{}%", rust_decimal::Decimal::new(i64::from(one.share), 2).normalize()),
        "only": one.only.as_ref().map(|only| only.source()),
        "endpoint": one.shown_endpoint,
        "entries": one.entries.iter().map(|(event, entries)| {
            (event.clone(), entries.iter().map(entry).collect())
        }).collect::<Map<_, _>>(),
        "rate_limit": rate_limit(&delivery.rate_limit),
        "batch": {"max_events": delivery.max_events, "linger": wait(delivery.linger)},
        "retry": {
            "first": wait(delivery.retry.first),
            "max": wait(delivery.retry.max),
            "attempts": delivery.retry.attempts,
        },
        "when_full": words(&[delivery.when_full]).pop(),
        "on_unknown": words(&[delivery.on_unknown]).pop(),
        "fresh_share": format!("{}%", delivery.fresh_share),
        "timeout": wait(delivery.timeout),
        "concurrency": delivery.concurrency,
        "allow_private": delivery.allow_private,
    })
}
