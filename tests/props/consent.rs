//! Withdrawing consent never adds a field or a job; adding an opt-out neither.

use conversion_relay::{
    consent::{
        Decision, DestinationRule, Grant, Grants, IpForm, Model, OptOut, Purpose, Purposes,
        Question, Region, RegionRule, Rules, State, WhenDenied, WhenOptedOut, decide,
    },
    event::{ActionSource, Field, FieldSet},
};
use proptest::prelude::*;

fn default_fields(_: ActionSource) -> FieldSet {
    FieldSet::of(&[Field::UserAgent, Field::Fbp])
}

fn can_restrict(_: &Region, has_ip: bool) -> bool {
    has_ip
}

const PURPOSES: Purposes = Purposes {
    needs: None,
    personalization_flag: true,
    restricted_in: &["US"],
    can_restrict,
    default_fields,
    takes: FieldSet::of(&[Field::Email, Field::Ip, Field::UserAgent, Field::Fbp]),
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
            minor: false,
            at_ms: 0,
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
        let (before, after) = (ask(&rules, &state), ask(&rules, &less));
        if let Ok(after) = after.permit {
            let before = before.permit.expect("a job appeared by withdrawing");
            prop_assert!(after.fields.difference(before.fields).is_empty());
            prop_assert!(after.limited || !before.limited);
            prop_assert!(after.personalization_denied || !before.personalization_denied);
            for (purpose, _) in Purpose::ALL {
                let invented = after.grants.get(purpose) == Grant::Granted
                    && less.grants.get(purpose) != Grant::Granted;
                prop_assert!(!invented, "a grant was invented");
            }
        }
    }
}
