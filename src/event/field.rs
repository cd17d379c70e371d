//! The closed list of fields that an event can have, by the dotted path of the interface.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of fact a field holds; decides what may be kept and how it is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Identifies a person and can be hashed: never kept, logged or shown in clear.
    Identity,
    /// About a person or device, but sent in clear where a platform takes it: kept sealed.
    Personal,
    /// A click id or first-party cookie of one platform: kept sealed, seen by that platform only.
    Click,
    /// About the purchase or the page, not the person.
    Plain,
}

macro_rules! fields {
    ($($variant:ident $path:literal $class:ident,)*) => {
        /// One addressable field of an event. Stored by its position: append, never insert or reorder.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field {
            $(#[doc = concat!("`", $path, "`")] $variant,)*
        }

        impl Field {
            /// Every field; the order is that of the interface, with later additions at the end.
            pub const ALL: &'static [Field] = &[$(Field::$variant,)*];

            /// The dotted path, as rules and traces write it.
            pub fn path(self) -> &'static str {
                match self { $(Field::$variant => $path,)* }
            }

            /// What kind of fact it holds.
            pub fn class(self) -> Class {
                match self { $(Field::$variant => Class::$class,)* }
            }
        }
    };
}

fields! {
    ExternalId "user.external_id" Personal,
    AnonymousId "user.anonymous_id" Personal,
    Email "user.email" Identity,
    Phone "user.phone" Identity,
    FirstName "user.first_name" Identity,
    LastName "user.last_name" Identity,
    Gender "user.gender" Identity,
    DateOfBirth "user.date_of_birth" Identity,
    Street "user.street" Identity,
    City "user.city" Personal,
    Region "user.region" Personal,
    PostalCode "user.postal_code" Personal,
    Country "user.country" Personal,
    Company "user.company" Personal,
    JobTitle "user.job_title" Personal,
    SubscriptionId "user.subscription_id" Personal,
    CustomerType "user.customer_type" Plain,
    Ip "context.ip" Personal,
    UserAgent "context.user_agent" Personal,
    PageUrl "context.page_url" Personal,
    Referrer "context.referrer" Personal,
    LandingPage "context.landing_page" Personal,
    SessionId "context.session_id" Personal,
    Locale "context.locale" Plain,
    DeviceType "context.device_type" Plain,
    CampaignSource "context.campaign.source" Plain,
    CampaignMedium "context.campaign.medium" Plain,
    CampaignName "context.campaign.name" Plain,
    CampaignTerm "context.campaign.term" Plain,
    CampaignContent "context.campaign.content" Plain,
    AppId "context.app.id" Plain,
    AppVersion "context.app.version" Plain,
    AppOs "context.app.os" Plain,
    AppOsVersion "context.app.os_version" Plain,
    AppDeviceModel "context.app.device_model" Plain,
    AdvertisingId "context.app.advertising_id" Personal,
    VendorId "context.app.vendor_id" Personal,
    AttStatus "context.app.att_status" Plain,
    Gclid "click_ids.gclid" Click,
    Gbraid "click_ids.gbraid" Click,
    Wbraid "click_ids.wbraid" Click,
    Dclid "click_ids.dclid" Click,
    GoogleSessionAttributes "click_ids.google_session_attributes" Click,
    Fbclid "click_ids.fbclid" Click,
    Fbc "click_ids.fbc" Click,
    Fbp "click_ids.fbp" Click,
    CtwaClid "click_ids.ctwa_clid" Click,
    GaClientId "click_ids.ga_client_id" Click,
    GaSessionId "click_ids.ga_session_id" Click,
    GaAppInstanceId "click_ids.ga_app_instance_id" Click,
    Msclkid "click_ids.msclkid" Click,
    Uetvid "click_ids.uetvid" Click,
    Ttclid "click_ids.ttclid" Click,
    Ttp "click_ids.ttp" Click,
    Twclid "click_ids.twclid" Click,
    LiFatId "click_ids.li_fat_id" Click,
    Sccid "click_ids.sccid" Click,
    Scid "click_ids.scid" Click,
    Epik "click_ids.epik" Click,
    RdtCid "click_ids.rdt_cid" Click,
    RdtUuid "click_ids.rdt_uuid" Click,
    AmznClickId "click_ids.amzn_click_id" Click,
    Oppref "click_ids.oppref" Click,
    Qclid "click_ids.qclid" Click,
    Tblci "click_ids.tblci" Click,
    ObClickId "click_ids.ob_click_id" Click,
    CrtoId "click_ids.crto_id" Click,
    TtdId "click_ids.ttd_id" Click,
    LeadId "lead.id" Personal,
    LeadCrm "lead.crm" Plain,
    LeadMeta "lead.meta" Personal,
    LeadLinkedin "lead.linkedin" Personal,
    LeadTiktok "lead.tiktok" Personal,
    LeadSnapchat "lead.snapchat" Personal,
    Value "properties.value" Plain,
    Currency "properties.currency" Plain,
    OrderId "properties.order_id" Plain,
    Tax "properties.tax" Plain,
    Shipping "properties.shipping" Plain,
    Discount "properties.discount" Plain,
    Coupon "properties.coupon" Plain,
    Cost "properties.cost" Plain,
    NetRevenue "properties.net_revenue" Plain,
    PredictedLtv "properties.predicted_ltv" Plain,
    Items "properties.items" Plain,
    ItemNames "properties.items.name" Plain,
    SearchTerm "properties.search_term" Plain,
    StoreId "properties.store_id" Plain,
    OtherProperties "properties.*" Plain,
    Experiment "context.experiment" Plain,
    OtherContext "context.*" Personal,
    OtherClickIds "click_ids.*" Click,
    OtherLead "lead.*" Personal,
    Tcf "consent.tcf" Personal,
    Gpp "consent.gpp" Personal,
}

impl Field {
    /// Reads a dotted path.
    pub fn parse(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.path() == path)
    }

    /// Whether its text is a JSON object: what a sender added to a group of fields, and experiments.
    pub fn holds_json(self) -> bool {
        matches!(
            self,
            Field::Experiment | Field::OtherContext | Field::OtherClickIds | Field::OtherLead
        )
    }

    /// The last part of the path: the key under `user`, `click_ids` and so on.
    pub fn key(self) -> &'static str {
        self.path().rsplit('.').next().unwrap_or_default()
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

// Records on disk hold the position in `ALL` (one byte instead of twenty), JSON holds the path.
impl Serialize for Field {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.path())
        } else {
            serializer.serialize_u8(*self as u8)
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let path = String::deserialize(deserializer)?;
            Field::parse(&path).ok_or_else(|| Error::custom("unknown field"))
        } else {
            let position = u8::deserialize(deserializer)?;
            Field::ALL
                .get(usize::from(position))
                .copied()
                .ok_or_else(|| Error::custom("unknown field"))
        }
    }
}

/// A set of fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct FieldSet(u128);

impl FieldSet {
    /// No field.
    pub const EMPTY: FieldSet = FieldSet(0);

    /// A set of the given fields.
    pub const fn of(fields: &[Field]) -> Self {
        let mut bits = 0u128;
        let mut i = 0;
        while i < fields.len() {
            #[allow(
                clippy::indexing_slicing,
                reason = "bounded by the loop; iterators are not const"
            )]
            let field = fields[i];
            bits |= 1u128 << (field as u8);
            i += 1;
        }
        FieldSet(bits)
    }

    /// Every field.
    pub fn all() -> Self {
        Self::of(Field::ALL)
    }

    /// The fields of a group: an exact path, or every path below it (`user`, `click_ids`,
    /// `context.app`, `properties`). `None` where nothing bears the name.
    pub fn group(path: &str) -> Option<Self> {
        let mut set = Self::EMPTY;
        for field in Field::ALL {
            let below = field.path().strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
            if field.path() == path || below {
                set.insert(*field);
            }
        }
        (set != Self::EMPTY).then_some(set)
    }

    /// Whether a field is in the set.
    pub fn contains(self, field: Field) -> bool {
        self.0 & (1u128 << (field as u8)) != 0
    }

    /// How many of its fields are listed before one.
    pub fn before(self, field: Field) -> usize {
        (self.0 & ((1u128 << (field as u8)) - 1)).count_ones() as usize
    }

    /// Adds a field.
    pub fn insert(&mut self, field: Field) {
        self.0 |= 1u128 << (field as u8);
    }

    /// Takes a field away.
    pub fn remove(&mut self, field: Field) {
        self.0 &= !(1u128 << (field as u8));
    }

    /// Fields of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        FieldSet(self.0 | other.0)
    }

    /// Fields of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        FieldSet(self.0 & other.0)
    }

    /// Fields of the first that the second lacks.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        FieldSet(self.0 & !other.0)
    }

    /// The fields, in the order of the interface.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.iter().copied().filter(move |field| self.contains(*field))
    }

    /// The set as a number; the same for ever, since fields are only appended.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The set of such a number; what this version has no field for is left out.
    pub fn from_bits(bits: u128) -> Self {
        Self(bits).intersection(Self::all())
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

const _: () = assert!(Field::ALL.len() <= 128, "a FieldSet has 128 bits");
