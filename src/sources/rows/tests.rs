use serde_json::{Value, json};

use super::*;

fn events(csv: &str, map: Option<&str>) -> Vec<Result<Value, Rejection>> {
    let map = map.map(|text| RowMap::parse(text).unwrap());
    let outcomes = file(csv.as_bytes(), map.as_ref(), None, None).unwrap();
    let json = |told: Told<'_>| {
        let mut bytes = Vec::new();
        told.node.write(&mut bytes);
        serde_json::from_slice(&bytes).unwrap()
    };
    outcomes.into_iter().map(|outcome| outcome.map(|told| json(told.unwrap()))).collect()
}

fn one(csv: &str, map: Option<&str>) -> Value {
    events(csv, map).remove(0).unwrap()
}

const MAP: &str = r#"
time_zone = "Europe/Berlin"
decimal_comma = true
[fields]
timestamp = "Closed at"
user.email = "E-Mail"
properties.value = "Deal value"
properties.order_id = "Deal"
properties.margin = { cel = "double(body['Deal']) / 2.0" }
properties.stage = "'won'"
consent.ad_user_data = { column = ["Missing", "Consent"] }
[const]
event = "deal_won"
site = "shop"
consent.region = "DE"
"#;

#[test]
fn a_map_names_columns_constants_and_expressions() {
    let csv = "\u{feff}Deal;E-Mail;Closed at;Deal value;Consent\r\n\
               17;jane@example.com;22.11.2026 14:30;\"1.234,50 \u{20ac}\";Granted\r\n";
    assert_eq!(
        one(csv, Some(MAP)),
        json!({
            "timestamp": "2026-11-22T13:30:00Z", "event": "deal_won", "site": "shop",
            "event_id": "17", "user": {"email": "jane@example.com"},
            "properties": {"value": serde_json::from_str::<Value>("1234.5").unwrap(),
                "order_id": "17", "margin": serde_json::from_str::<Value>("8.5").unwrap(),
                "stage": "won"},
            "consent": {"ad_user_data": "granted", "region": "DE"},
        })
    );
}

#[test]
fn templates_are_known_by_their_headers() {
    let clicks = "Parameters:TimeZone=America/New_York,,,,\n\
        Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency\n\
        Cj0abc,purchase,11/22/2026 02:30:00 PM,\"1,234.50\",usd\n\
        Cj0abd,purchase,2026-11-22 14:30:00+0100,5,USD\n";
    let event = one(clicks, None);
    assert_eq!(event["click_ids"]["gclid"], "Cj0abc");
    assert_eq!(event["timestamp"], "2026-11-22T19:30:00Z");
    assert_eq!(event["properties"]["value"].to_string(), "1234.5");
    assert_eq!(event["properties"]["currency"], "USD");
    let second = events(clicks, None).remove(1).unwrap();
    assert_eq!(second["timestamp"], "2026-11-22T13:30:00Z", "{second}");
    let offline = "email,phone,fn,ln,event_name,event_time,value,currency,order_id\n\
        b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514,,,Doe,Purchase,1795357800,\
        9.90,EUR,77\n";
    let event = one(offline, None);
    assert_eq!((&event["event"], &event["event_id"]), (&json!("Purchase"), &json!("77")));
    assert_eq!(event["timestamp"].to_string(), "1795357800");
    assert_eq!(event["user"]["email"].as_str().unwrap().len(), 64);
    assert_eq!(event["action_source"], "physical_store");
}

#[test]
fn every_shipped_template_is_a_map() {
    for text in [
        include_str!("templates/click_conversions.toml"),
        include_str!("templates/offline_events.toml"),
    ] {
        RowMap::parse(text).unwrap();
    }
}

#[test]
fn what_is_wrong_with_a_map_is_told_at_once() {
    let wrong = "time_zone = \"Mars\"\ndecimal_coma = true\n[fields]\nuser.emial = \"x\"\n";
    let problems = RowMap::parse(wrong).unwrap_err().join("\n");
    for part in ["Mars", "decimal_comma", "user.email"] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
    let map = RowMap::parse("[fields]\nevent = \"'x'\"\nuser.email = \"E mial\"\n").unwrap();
    let problems = Rows::bind(&["E mail", "When"], Some(&map), None).unwrap_err().join("\n");
    assert!(problems.contains("\"E mail\""), "{problems}");
    assert!(Rows::bind(&["a", "b"], None, None).is_err(), "no template has these");
    assert!(Rows::bind(&[], None, None).is_err());
}

#[test]
fn nothing_is_guessed() {
    let map = "[fields]\ntimestamp = \"t\"\nevent = \"e\"\nproperties.value = \"v\"\n";
    let read = |t: &str, v: &str| events(&format!("t|e|v\n{t}|x|{v}\n"), Some(map)).remove(0);
    for (written, expected) in [
        ("1234.50", "1234.5"),
        ("$1,234.50", "1234.5"),
        ("1.234,50", "1234.5"),
        ("-5", "-5"),
        ("abc", "\"abc\""),
        ("1.2.3", "\"1.2.3\""),
        ("12.3456.7,1", "\"12.3456.7,1\""),
    ] {
        let event = read("2026-11-22T10:00:00Z", written).unwrap();
        assert_eq!(event["properties"]["value"].to_string(), expected, "{written}");
    }
    assert_eq!(read("2026-11-22T10:00:00Z", "1,234").unwrap_err().path, "/v");
    for unclear in ["11/12/2026 10:00", "2026-11-22 10:00", "yesterday", "12"] {
        assert_eq!(read(unclear, "1").unwrap_err().path, "/t", "{unclear}");
    }
    for clear in ["2026-11-22 10:00:00 Europe/Berlin", "2026-11-22T10:00:00+01:00"] {
        assert_eq!(read(clear, "1").unwrap()["timestamp"], "2026-11-22T09:00:00Z", "{clear}");
    }
    let none = read("", "1").unwrap_err();
    assert_eq!((none.code, none.path.as_str()), (RejectionCode::MissingField, "/t"));
}

#[test]
fn rows_are_documents_too() {
    let row = r#"{"Conversion Name": "purchase", "Conversion Time": "2026-11-22 10:00:00Z"}"#;
    let node = crate::sources::json::parse(row, 4).unwrap();
    let envelope = Envelope { call: None, site: Some("shop"), live: false, planned: &|_| None };
    let is_event = |node: &Node<'_>| matches!(read(node, &envelope).remove(0), Ok(Some(_)));
    assert!(is_event(&node));
    assert!(!is_event(&Node::Null));
}

/// As the template is downloaded: instructions and parameters, each with the commas of a spreadsheet.
#[test]
fn what_stands_before_a_templates_header_is_passed_over() {
    let csv = "### INSTRUCTIONS ###,,,,,,\n\
               \"# IMPORTANT: set the TimeZone in the \"\"parameters\"\" row, or in your times\",,,,,,\n\
               # For instructions on time zones see the help pages,,,,,,\n\
               ,,,,,,\n\
               ### TEMPLATE ###,,,,,,\n\
               Parameters:TimeZone=America/New_York,,,,,,\n\
               Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Ad User Data,Ad Personalization\n\
               Cj0abc,purchase,11/22/2026 09:00:00 AM,12.50,USD,Granted,Denied\n";
    let event = one(csv, None);
    assert_eq!(event["timestamp"], "2026-11-22T14:00:00Z", "{event}");
    assert_eq!(event["consent"]["ad_personalization"], "denied", "{event}");
    // A column of row numbers is no comment.
    let numbered =
        "#,fbclid,event_name,event_time,value,currency\n1,IwAR0,Purchase,1795320000,9,EUR\n";
    assert_eq!(one(numbered, None)["click_ids"]["fbclid"], "IwAR0");
}

/// What `import` refuses of a file, whoever reads it refuses.
#[test]
fn a_row_has_the_headers_columns_and_says_which_it_is_about() {
    let map = |more: &str| {
        format!(
            "{more}\n[fields]\ntimestamp = \"When\"\nuser.email = \"Mail\"\n[const]\nevent = \"x\"\n"
        )
    };
    let zoned = map("time_zone = \"Europe/Berlin\"");
    for (row, map, path, message) in [
        ("2026-11-22 10:00", &zoned, "", "columns"),
        ("2026-11-22 10:00,a@example.com,more", &zoned, "", "columns"),
        ("03/04/2026,a@example.com", &zoned, "/When", "time_formats"),
        ("2026-11-22 10:00,a@example.com", &map(""), "/When", "time_zone"),
        ("2026-11-22T10:00:00Z,a@example.com", &map(""), "taken", ""),
        ("1795357800,a@example.com,", &map(""), "taken", ""),
    ] {
        let csv = format!("When,Mail\n{row}\n");
        match events(&csv, Some(map)).remove(0) {
            Ok(_) => assert_eq!(path, "taken", "{row}"),
            Err(rejection) => {
                assert_eq!(rejection.path, path, "{row}");
                assert!(rejection.message.contains(message), "{row}: {}", rejection.message);
            }
        }
    }
    let map = RowMap::parse(&zoned).unwrap();
    let bytes = b"When,Mail\n2026-11-22 10:00,\xff@example.com\n";
    let refused = file(bytes, Some(&map), None, None).unwrap().remove(0).unwrap_err();
    assert_eq!((refused.path.as_str(), refused.message.contains("UTF-8")), ("/Mail", true));
    assert!(file(b"When,\xff\n", Some(&map), None, None).is_err());
}

/// What a spreadsheet leaves behind is no row, and what a quote swallows is not lost silently.
#[test]
fn rows_that_say_nothing_are_none_and_a_quote_must_be_closed() {
    let map =
        "[fields]\ntimestamp = \"When\"\nproperties.note = \"Note\"\n[const]\nevent = \"x\"\n";
    let at = "2026-11-22T10:00:00Z";
    let all = |rows: &str| events(&format!("When,Note\n{rows}"), Some(map));
    assert_eq!(all(&format!("\n,\n{at},a\n , \n,,,\n\n   \n")).len(), 1);
    let good = all(&format!("{at},\"two\nlines\"\n{at},\"also\n\"\n\n"));
    assert!(good.len() == 2 && good.iter().all(Result::is_ok), "{good:?}");
    let swallowed = all(&format!("{at},a\n{at},\"b\n{at},c\n{at},d\n"));
    assert_eq!(swallowed.len(), 2);
    assert!(swallowed[0].is_ok(), "{swallowed:?}");
    assert!(swallowed[1].as_ref().unwrap_err().message.contains("never closed"), "{swallowed:?}");
    // Two columns of one name: nobody knows which is meant.
    let map = RowMap::parse(map).unwrap();
    let problems = Rows::bind(&["When", "Note", "Note"], Some(&map), None).unwrap_err().join("\n");
    assert!(problems.contains("more than one column \"Note\""), "{problems}");
    assert!(Rows::bind(&["When", "Note", "", "", "Other", "Other"], Some(&map), None).is_ok());
}

/// A refused row is found by its line, wherever empty lines stand and however lines end.
#[test]
fn a_row_begins_where_it_is_written() {
    for (text, expected) in [
        ("a,b\n1,2\n3,4\n", vec![2, 3]),
        ("a,b\n\n\n1,2\n\n\"x\ny\",4\n\n5,6\n", vec![4, 6, 9]),
        ("a,b\r\n1,2\r\n\r\n\r\n\"x\r\ny\",4\r\n5,6", vec![2, 5, 7]),
    ] {
        let start = Start::of(text.as_bytes());
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.byte_headers().unwrap();
        let (mut lines, mut row) = (Vec::new(), csv::ByteRecord::new());
        loop {
            let before = reader.position().line();
            if !reader.read_byte_record(&mut row).unwrap() {
                break;
            }
            lines.push(start.line_of(before, reader.position().line(), &row));
        }
        assert_eq!(lines, expected, "{text:?}");
    }
}

#[test]
fn an_amount_that_can_be_read_in_two_ways_is_refused_with_what_to_do() {
    const MAP: &str = "[fields]\ntimestamp = \"At\"\nproperties.value = \"Sum\"\n\
                       [const]\nevent = \"purchase\"\nsite = \"shop\"\n";
    let read = |separator: char, says: &str, sum: &str| {
        let csv = format!("At{separator}Sum\n2026-11-22T10:00:00Z{separator}\"{sum}\"\n");
        let event = events(&csv, Some(&format!("{says}{MAP}"))).remove(0);
        event.map(|event| event["properties"]["value"].to_string()).map_err(|why| why.message)
    };
    let value = |text: &str| Ok(text.to_owned());
    for (separator, sum, wanted) in [
        (';', "1.234,56", "1234.56"),
        (';', "12.5", "12.5"),
        (';', "0.125", "0.125"),
        (';', "1234.567", "1234.567"),
        (',', "1.234", "1.234"),
        (',', "12.500 KWD", "12.5"),
    ] {
        assert_eq!(read(separator, "", sum), value(wanted), "{sum}");
    }
    for (separator, sum) in
        [(';', "1.234"), (';', "12.500 EUR"), (';', "0,50"), (',', "1,234"), (';', "1.234.567")]
    {
        let why = read(separator, "", sum).unwrap_err();
        assert!(why.contains("decimal_comma = true"), "{sum}: {why}");
    }
    assert_eq!(read(';', "decimal_comma = true\n", "1.234"), value("1234"));
    assert_eq!(read(';', "decimal_comma = true\n", "0,50"), value("0.5"));
    assert_eq!(read(';', "decimal_comma = false\n", "1.234"), value("1.234"));
    assert!(read(';', "decimal_comma = false\n", "12,5").unwrap_err().contains("decimal_comma"));
    // What no map makes an amount is told by the field's own rule.
    assert!(read(';', "", "soon").is_ok());
}
