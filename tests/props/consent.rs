//! Withdrawing consent never adds a field or a job; adding an opt-out neither.

use conversion_relay::{
    consent::{
        Decision, DestinationRule, Grant, Grants, IpForm, Model, OptOut, OptOutClaim, Purpose,
        Purposes, Question, Region, RegionRule, Rules, Signals, State, VendorIds, WhenDenied,
        WhenOptedOut, decide, read,
    },
    event::{ActionSource, Field, FieldSet},
};
use proptest::prelude::*;

use crate::strings::{Tc, gpp, usca};

fn default_fields(_: ActionSource) -> FieldSet {
    FieldSet::of(&[Field::UserAgent, Field::Fbp])
}

fn can_restrict(_: &Region, has_ip: bool, _: ActionSource) -> bool {
    has_ip
}

const PURPOSES: Purposes = Purposes {
    needs: None,
    personalization_flag: true,
    restricted_in: &["US"],
    can_restrict,
    default_fields,
    takes: FieldSet::of(&[Field::Email, Field::Ip, Field::UserAgent, Field::Fbp]),
    with_ad_user_data: FieldSet::EMPTY,
};

fn grant() -> impl Strategy<Value = Grant> {
    prop_oneof![Just(Grant::Granted), Just(Grant::Denied), Just(Grant::NotAsked)]
}

prop_compose! {
    fn rules()(
        needs in proptest::sample::subsequence(Purpose::ALL.map(|(p, _)| p).to_vec(), 0..=4),
        us_opt_out in any::<bool>(),
        outcome in prop_oneof![Just(WhenOptedOut::Drop), Just(WhenOptedOut::Limited), Just(WhenOptedOut::Send)],
        denied in prop_oneof![Just(None), Just(Some(WhenDenied::Flag)), Just(Some(WhenDenied::Drop))],
        send_all in any::<bool>(),
    ) -> Rules {
        let region = |name: &str, matches: &str, model, ip| RegionRule {
            name: name.to_owned(), matches: vec![matches.to_owned()], model, ip,
        };
        let us = if us_opt_out { Model::OptOut } else { Model::OptIn };
        Rules {
            regions: vec![
                region("us", "US", us, IpForm::Full),
                region("other", "*", Model::OptIn, IpForm::None),
            ],
            destinations: vec![DestinationRule {
                needs,
                may_send: send_all.then(FieldSet::all),
                when_opted_out: outcome,
                when_personalization_denied: denied,
                ..DestinationRule::named("d")
            }],
            ..Rules::deny_all()
        }
    }
}

prop_compose! {
    fn states()(
        grants in [grant(), grant(), grant(), grant()],
        opted_out in any::<bool>(),
        region in prop_oneof![Just(None), Just(Some("US".to_owned())), Just(Some("DE".to_owned()))],
    ) -> State {
        let [ad_storage, ad_user_data, ad_personalization, analytics_storage] = grants;
        State {
            region,
            grants: Grants { ad_storage, ad_user_data, ad_personalization, analytics_storage },
            opt_out: OptOut { sale: opted_out, ..OptOut::default() },
            sources: vec!["consent_mode".to_owned()],
            ..State::default()
        }
    }
}

fn ask(rules: &Rules, state: &State) -> Decision {
    decide(
        rules,
        &Question {
            destination: "d",
            platform: "p",
            purposes: &PURPOSES,
            action_source: ActionSource::Website,
            present: FieldSet::all(),
            state,
            sensitive: false,
        },
    )
}

proptest! {
    #[test]
    fn withdrawing_never_adds(
        rules in rules(),
        state in states(),
        purpose in proptest::sample::select(Purpose::ALL.map(|(p, _)| p).to_vec()),
        to_denied in any::<bool>(),
        opt_out in any::<bool>(),
    ) {
        let mut less = state.clone();
        if opt_out {
            less.opt_out.sale = true;
        }
        let grant = less.grants.get_mut(purpose);
        if to_denied {
            *grant = Grant::Denied;
        } else if *grant == Grant::Granted {
            *grant = Grant::NotAsked;
        }
        nothing_added(&ask(&rules, &state), &ask(&rules, &less))?;
    }

    /// The same of the signals themselves: whatever one of them takes back, in whatever company.
    #[test]
    fn withdrawing_a_signal_never_adds(
        rules in rules(),
        choice in choices(),
        withdrawals in prop::collection::vec(withdrawals(), 1..4),
        ids in prop::sample::select(IDS.to_vec()),
        region in prop::sample::select(vec![None, Some("US"), Some("US-CA"), Some("DE")]),
    ) {
        let region: Region = region.map(str::to_owned);
        let mut less = choice.clone();
        withdrawals.iter().for_each(|withdrawal| less.withdraw(*withdrawal));
        let state = |choice: &Choice| {
            let reading = read(&rules, &choice.signals(), region.clone(), false);
            let state = reading.seen.state_for(&reading.state, &rules, ids).into_owned();
            (state, reading.state)
        };
        let ((before, all), (after, _)) = (state(&choice), state(&less));
        nothing_added(&ask(&rules, &before), &ask(&rules, &after))?;
        // A vendor never has what the person did not give.
        for (purpose, _) in Purpose::ALL {
            let more = before.grants.get(purpose) == Grant::Granted
                && all.grants.get(purpose) != Grant::Granted;
            prop_assert!(!more, "{purpose:?}");
        }
        // What a job keeps decides as it did.
        prop_assert_eq!(&*before.again(&rules, ids), &before);
    }
}

fn nothing_added(before: &Decision, after: &Decision) -> Result<(), TestCaseError> {
    let Ok(after) = &after.permit else { return Ok(()) };
    prop_assert!(before.permit.is_ok(), "a job appeared by withdrawing");
    let Ok(before) = &before.permit else { return Ok(()) };
    prop_assert!(after.fields.difference(before.fields).is_empty());
    prop_assert!(after.limited || !before.limited);
    prop_assert!(after.personalization_denied || !before.personalization_denied);
    for (purpose, _) in Purpose::ALL {
        let invented = after.grants.get(purpose) == Grant::Granted
            && before.grants.get(purpose) != Grant::Granted;
        prop_assert!(!invented, "a grant was invented");
    }
    Ok(())
}

const IDS: [VendorIds; 4] = [
    VendorIds { tcf: None, ac: None },
    VendorIds { tcf: Some(755), ac: None },
    VendorIds { tcf: None, ac: Some(89) },
    VendorIds { tcf: Some(755), ac: Some(89) },
];

/// What a person chose, in every signal that there is.
#[derive(Debug, Clone)]
struct Choice {
    consent_mode: [Grant; 4],
    tcf: Option<Tc>,
    /// Where European strings stand: on their own or in a GPP string.
    in_gpp: bool,
    providers: Option<Vec<u32>>,
    /// Sale, sharing, GPC.
    california: Option<[bool; 3]>,
    us_privacy: Option<bool>,
    gpc: bool,
    opt_out: bool,
    categories: [Option<bool>; 2],
    onetrust: Option<bool>,
    /// Signals that were spoilt on the way.
    garbage: [bool; 4],
}

/// What may be taken back.
#[derive(Debug, Clone, Copy)]
enum Withdrawal {
    Grant(usize),
    Deny(usize),
    Purpose(u32),
    Vendor,
    Provider,
    California(usize),
    Sale,
    Gpc,
    OptOut,
    Category(usize),
    OneTrust,
    Spoil(usize),
}

fn withdrawals() -> impl Strategy<Value = Withdrawal> {
    prop_oneof![
        (0..4_usize).prop_map(Withdrawal::Grant),
        (0..4_usize).prop_map(Withdrawal::Deny),
        prop::sample::select(vec![1, 3, 4, 7]).prop_map(Withdrawal::Purpose),
        Just(Withdrawal::Vendor),
        Just(Withdrawal::Provider),
        (0..3_usize).prop_map(Withdrawal::California),
        Just(Withdrawal::Sale),
        Just(Withdrawal::Gpc),
        Just(Withdrawal::OptOut),
        (0..2_usize).prop_map(Withdrawal::Category),
        Just(Withdrawal::OneTrust),
        (0..4_usize).prop_map(Withdrawal::Spoil),
    ]
}

prop_compose! {
    fn choices()(
        consent_mode in [grant(), grant(), grant(), grant()],
        purposes in proptest::sample::subsequence(vec![1_u32, 3, 4, 7], 0..=4),
        vendors in proptest::sample::subsequence(vec![755_u32, 804], 0..=2),
        has_tcf in any::<bool>(),
        in_gpp in any::<bool>(),
        providers in prop::option::of(proptest::sample::subsequence(vec![7_u32, 89], 0..=2)),
        california in prop::option::weighted(0.3, any::<[bool; 3]>()),
        us_privacy in prop::option::weighted(0.3, any::<bool>()),
        gpc in prop::bool::weighted(0.1),
        opt_out in prop::bool::weighted(0.1),
        categories in any::<[Option<bool>; 2]>(),
        onetrust in prop::option::weighted(0.3, any::<bool>()),
    ) -> Choice {
        let tcf = has_tcf.then(|| Tc { purposes, vendors, ..Tc::default() });
        Choice {
            consent_mode, tcf, in_gpp, providers, california, us_privacy, gpc, opt_out, categories,
            onetrust, garbage: [false; 4],
        }
    }
}

impl Choice {
    fn withdraw(&mut self, withdrawal: Withdrawal) {
        match withdrawal {
            Withdrawal::Grant(i) => {
                if self.consent_mode[i] == Grant::Granted {
                    self.consent_mode[i] = Grant::NotAsked;
                }
            }
            Withdrawal::Deny(i) => self.consent_mode[i] = Grant::Denied,
            Withdrawal::Purpose(purpose) => {
                self.refusable().purposes.retain(|p| *p != purpose);
            }
            Withdrawal::Vendor => self.refusable().vendors.retain(|vendor| *vendor != 755),
            // A list that refuses is not taken away: that would be to take back a refusal.
            Withdrawal::Provider => {
                if let Some(providers) = &mut self.providers {
                    providers.retain(|provider| *provider != 89);
                }
            }
            Withdrawal::California(i) => self.california.get_or_insert_default()[i] = true,
            Withdrawal::Sale => self.us_privacy = Some(true),
            Withdrawal::Gpc => self.gpc = true,
            Withdrawal::OptOut => self.opt_out = true,
            Withdrawal::Category(i) => self.categories[i] = Some(false),
            Withdrawal::OneTrust => self.onetrust = Some(false),
            Withdrawal::Spoil(i) => self.garbage[i] = true,
        }
    }

    /// The string, or one that allows nothing: a new one that allowed anything would add.
    fn refusable(&mut self) -> &mut Tc {
        self.tcf.get_or_insert_with(|| Tc { purposes: Vec::new(), ..Tc::default() })
    }

    fn signals(&self) -> Signals {
        let [ad_storage, ad_user_data, ad_personalization, analytics_storage] = self.consent_mode;
        let european = self.tcf.as_ref().map(Tc::text);
        let mut sections = Vec::new();
        if let (Some(text), true) = (&european, self.in_gpp) {
            sections.push((2, text.clone()));
        }
        if let Some([sale, sharing, gpc]) = self.california {
            let value = |out| if out { 1 } else { 2 };
            let gpc = if gpc { ".YA" } else { ".QA" };
            sections.push((8, usca(value(sale), value(sharing), 0, [2, 2, 2]) + gpc));
        }
        let spoil = |i: usize, text: Option<String>| match self.garbage[i] {
            true => Some("spoilt".to_owned()),
            false => text,
        };
        let list = |ids: &Vec<u32>| {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            format!("2~{}~dv.", ids.join("."))
        };
        let names = ["C0002", "C0004"].map(str::to_owned);
        let answers = names.into_iter().zip(self.categories);
        let cookie = self.onetrust.map(|on| {
            let groups = format!("interactionCount=1&groups=C0004:{}", u8::from(on));
            let closed = ("OptanonAlertBoxClosed".to_owned(), "2026-11-02T10:00:00Z".to_owned());
            [("OptanonConsent".to_owned(), groups), closed]
        });
        Signals {
            grants: Grants { ad_storage, ad_user_data, ad_personalization, analytics_storage },
            tcf: spoil(0, european.filter(|_| !self.in_gpp)),
            additional_consent: spoil(1, self.providers.as_ref().map(list)),
            gpp: spoil(2, (!sections.is_empty()).then(|| gpp(&sections))),
            us_privacy: spoil(
                3,
                self.us_privacy.map(|out| if out { "1YYN" } else { "1YNN" }.to_owned()),
            ),
            gpc: self.gpc.then_some(true),
            opt_out: OptOutClaim { sale: self.opt_out.then_some(true), ..OptOutClaim::default() },
            categories: answers.filter_map(|(id, answer)| Some((id, answer?))).collect(),
            cookies: cookie.into_iter().flatten().collect(),
            ..Signals::default()
        }
    }
}
