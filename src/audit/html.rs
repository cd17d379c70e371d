//! The report as one HTML document that a lawyer can read, print and file: no script, nothing
//! loaded from anywhere, a page a recipient.

use super::{
    Beyond,
    combinations::{Outcome, Row},
    regions::sorted,
    report::{Page, Report, is_without_consent},
    words::{self, join, places, states},
};
use crate::consent::{Approval, Purpose};

const STYLE: &str = include_str!("report.css");

/// A document under construction: what is not our own markup comes in by [`Html::text`], escaped.
#[derive(Default)]
struct Html(String);

impl Html {
    /// Markup of our own.
    fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text of the configuration or of ours, escaped.
    fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// An element that holds text.
    fn element(&mut self, name: &str, text: &str) -> &mut Self {
        let tag = name.split(' ').next().unwrap_or(name);
        self.raw("<").raw(name).raw(">").text(text).raw("</").raw(tag).raw(">\n")
    }

    fn list(&mut self, items: impl IntoIterator<Item = String>) -> &mut Self {
        self.raw("<ul>\n");
        for item in items {
            self.element("li", &item);
        }
        self.raw("</ul>\n")
    }

    /// A table of two columns: what, and what it is.
    fn facts(&mut self, facts: &[(&str, String)]) -> &mut Self {
        self.raw("<table class=\"record\">\n");
        for (name, value) in facts {
            self.raw("<tr>").element("th scope=\"row\"", name).element("td", value).raw("</tr>\n");
        }
        self.raw("</table>\n")
    }

    fn head(&mut self, columns: &[(&str, &str)]) -> &mut Self {
        self.raw("<table>\n<thead><tr>");
        for (name, width) in columns {
            self.element(&format!("th scope=\"col\" style=\"width:{width}\""), name);
        }
        self.raw("</tr></thead>\n<tbody>\n")
    }
}

impl Report<'_> {
    /// The document; the same bytes for the same configuration.
    pub fn html(&self) -> String {
        let mut html = Html::default();
        html.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
            .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
            .raw("<title>Privacy report</title>\n<style>\n")
            .raw(STYLE)
            .raw("</style>\n</head>\n<body>\n");
        self.front(&mut html);
        for page in &self.pages {
            recipient(&mut html, page);
        }
        self.appendix(&mut html);
        html.raw("</body>\n</html>\n");
        html.0
    }

    fn front(&self, html: &mut Html) {
        html.element("h1", "Privacy report");
        let config = self.config;
        html.element(
            "p class=\"small\"",
            &format!(
                "Rules of version {:?}, mode {}, configuration {}. Generated from what is in \
                 force; it holds no personal data.",
                config.consent.version,
                config.mode.name(),
                config.hash
            ),
        );
        if self.alarms.is_empty() {
            html.raw("<section class=\"fine\">");
            html.element("p", "Nothing leaves without consent, by any rule, anywhere.");
        } else {
            html.raw("<section class=\"alarm\">");
            html.element("h2", "Sent without consent, or worth a second look");
            html.list(self.alarms.iter().cloned());
        }
        html.raw("</section>\n");
        if let Some(changes) = &self.changes {
            html.element("h2", &format!("What changed since {}", changes.against));
            news(html, "Newly released", &changes.released, "newly gets");
            news(html, "No longer released", &changes.withheld, "no longer gets");
        }
        if let Some(beyond) = &self.beyond_lock {
            html.element("h2", "Beyond the lock");
            html.element(
                "p",
                "What the rules would let leave and consent.lock does not hold. In live mode it is \
                 held until it is approved.",
            );
            news(html, "Not approved", beyond, "would get");
        }
        html.element("h2", "Recipients");
        html.raw("<nav>");
        for page in &self.pages {
            let name = &page.record.destination;
            html.raw("<a href=\"#").text(name).raw("\">").text(name).raw("</a>");
        }
        html.raw("</nav>\n");
    }

    fn appendix(&self, html: &mut Html) {
        html.raw("<section class=\"appendix\">\n").element("h2", "Data flow");
        let steps: Vec<(&str, String)> =
            self.flow.iter().map(|step| (step.name, step.text.clone())).collect();
        html.facts(&steps);
        html.element("h2", "Retention");
        html.head(&[("Store", "22%"), ("Holds", "56%"), ("Keeps", "22%")]);
        for kept in &self.kept {
            html.raw("<tr>").element("td", kept.store).element("td", kept.what);
            html.element("td", &kept.how_long).raw("</tr>\n");
        }
        html.raw("</tbody></table>\n");
        approvals(html, &self.config.approval);
        html.raw("</section>\n");
    }
}

fn news(html: &mut Html, title: &str, items: &[Beyond], verb: &str) {
    html.element("h3", title);
    if items.is_empty() {
        html.element("p", "Nothing.");
        return;
    }
    html.raw("<div class=\"new\">");
    html.list(items.iter().map(|item| words::news(item, verb)));
    html.raw("</div>\n");
}

fn recipient(html: &mut Html, page: &Page) {
    let record = &page.record;
    html.raw("<section class=\"recipient\" id=\"").text(&record.destination).raw("\">\n");
    let entity = record.legal_entity.as_deref().unwrap_or("recipient not stated");
    html.element("h2", &format!("{}: {entity}", record.destination));
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "not stated".to_owned());
    let needs = |needs: &[Purpose]| join(needs.iter().map(|p| p.name().to_owned()), "and");
    let mut granted =
        if record.has_rule { needs(&record.needs) } else { "no rule: nothing leaves".to_owned() };
    for (region, needed) in &record.needs_in {
        granted.push_str(&format!("; in {region}: {}", needs(needed)));
    }
    html.facts(&[
        ("Platform", format!("{} ({})", record.title, record.platform)),
        ("Sent to", record.address.clone()),
        ("Mode", record.mode.to_owned()),
        ("Role", record.role.unwrap_or("not stated").to_owned()),
        ("Country", said(&record.country)),
        ("Transfer mechanism", said(&record.mechanism)),
        ("Legal basis", said(&record.legal_basis)),
        ("Recipient's retention", said(&record.retention)),
        ("Purpose", record.purpose().to_owned()),
        ("Must be granted", granted),
        ("Persons concerned", format!("visitors and customers of {}", record.sites.join(", "))),
        ("Controller", record.controllers.join(", ")),
        ("Events", join(page.events.iter().cloned(), "and")),
        (
            "Always sent",
            "event name, id, time, where it happened, and what is known of consent".to_owned(),
        ),
    ]);
    if !record.gaps().is_empty() {
        let gaps = record.gaps().join(", ");
        html.element("p class=\"small\"", &format!("consent.toml does not state: {gaps}."));
    }
    html.element("h3", "Data, at the most");
    html.head(&[("Category", "24%"), ("Fields, and the form in which they leave", "76%")]);
    for category in &record.categories {
        let fields = category.fields.iter().map(|(path, form)| match *form {
            "sha256" => format!("{path} (as SHA-256)"),
            "truncated" => format!("{path} (truncated)"),
            _ => path.clone(),
        });
        let fields = fields.collect::<Vec<_>>().join(", ");
        html.raw("<tr>").element("td", category.name).element("td", &fields).raw("</tr>\n");
    }
    html.raw("</tbody></table>\n");
    html.element("h3", "What leaves, when");
    if page.events.is_empty() {
        html.element("p", "No event is mapped to it: nothing leaves.");
    } else {
        outcomes(html, page);
    }
    html.raw("</section>\n");
}

/// A row of the table: equal endings in several regions are one, with every rule that led there.
struct Ending<'r> {
    row: &'r Row<Outcome>,
    regions: Vec<String>,
    rules: Vec<&'r str>,
    is_red: bool,
}

fn endings(page: &Page) -> Vec<Ending<'_>> {
    let mut endings: Vec<Ending<'_>> = Vec::new();
    for row in &page.rows {
        let is_red = row.states.iter().any(|state| is_without_consent(*state, &row.what));
        let known = endings.iter_mut().find(|known| {
            let other = known.row;
            other.sites == row.sites
                && other.sources == row.sources
                && other.states == row.states
                && other.what.is_alike(&row.what)
        });
        match known {
            Some(known) => {
                known.regions.extend(row.regions.iter().cloned());
                if !known.rules.contains(&row.what.rule()) {
                    known.rules.push(row.what.rule());
                }
            }
            None => endings.push(Ending {
                row,
                regions: row.regions.clone(),
                rules: vec![row.what.rule()],
                is_red,
            }),
        }
    }
    for ending in &mut endings {
        ending.regions = sorted(std::mem::take(&mut ending.regions).into_iter());
    }
    endings.sort_by_key(|one| (!one.is_red, one.row.what.terms().is_none()));
    endings
}

fn outcomes(html: &mut Html, page: &Page) {
    let all = sorted(page.rows.iter().flat_map(|row| row.regions.iter().cloned()));
    // What is the same in every row is not said in each.
    let is_one_kind_of_site = page.rows.windows(2).all(|rows| match rows {
        [a, b] => a.sites == b.sites,
        _ => true,
    });
    html.head(&[("Where", "19%"), ("When", "29%"), ("What happens", "40%"), ("Rule", "12%")]);
    for ending in endings(page) {
        let row = ending.row;
        let class = match (ending.is_red, row.what.terms()) {
            (true, _) => " class=\"red\"",
            (false, None) => " class=\"held\"",
            (false, Some(_)) => "",
        };
        html.raw("<tr").raw(class).raw(">");
        let everywhere = ending.regions == all;
        let mut place =
            if everywhere { "every region".to_owned() } else { places(&ending.regions) };
        if !is_one_kind_of_site {
            place.push_str(&format!("; site {}", row.sites.join(", ")));
        }
        place.push_str(&words::sources(&row.sources));
        html.element("td", &place).element("td", &states(&row.states));
        html.raw("<td>").element("div", &words::outcome(row));
        if let Some(terms) = row.what.terms() {
            let mut fields = super::difference::paths(terms).join(", ");
            if !terms.except.is_empty() {
                fields.push_str(&format!("; never {}", terms.except.join(", ")));
            }
            html.element("div class=\"fields\"", &fields);
        }
        html.raw("</td>").element("td", &ending.rules.join(", ")).raw("</tr>\n");
    }
    html.raw("</tbody></table>\n");
}

fn approvals(html: &mut Html, approval: &Approval) {
    html.element("h2", "Approvals");
    let standing = match (&approval.lock, &approval.void) {
        (Some(_), None) => "The lock is signed and in force.".to_owned(),
        (_, Some(void)) => format!("Nothing is approved: {void}."),
        (None, None) => "There is no lock.".to_owned(),
    };
    html.element("p", &standing);
    if !approval.hash.is_empty() {
        html.element("p class=\"small\"", &format!("consent.lock sha256:{}", approval.hash));
    }
    if approval.signed.is_empty() {
        return;
    }
    html.head(&[("Who", "24%"), ("When", "26%"), ("What", "38%"), ("Signature", "12%")]);
    for one in approval.signed.iter().rev() {
        let what = if one.lock == approval.hash {
            format!("this lock, {} combinations", one.combinations)
        } else {
            format!("an earlier lock ({}), {} combinations", one.lock, one.combinations)
        };
        html.raw("<tr>").element("td", &one.by).element("td", &one.at).element("td", &what);
        html.element("td", if one.ssh.is_some() { "SSH" } else { "by name" }).raw("</tr>\n");
    }
    html.raw("</tbody></table>\n");
}
