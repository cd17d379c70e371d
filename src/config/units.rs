//! Quantities as people write them: `7d`, `256 KiB`, `80%`, `3h`. Pure, and strict: a number
//! without its unit is not guessed at.

use std::time::Duration;

use rust_decimal::Decimal;

use crate::plan::Per;

/// What a duration looks like, for messages.
pub(super) const DURATION: &str = "a duration such as \"500ms\", \"10s\", \"5m\", \"2h\" or \"7d\"";
/// What a size looks like, for messages.
pub(super) const SIZE: &str = "a size such as \"256 KiB\", \"4 MiB\" or \"20 GiB\"";
/// What a share looks like, for messages.
pub(super) const SHARE: &str = "a share such as \"80%\", from 0% to 100%";
/// What a window looks like, for messages.
pub(super) const WINDOW: &str =
    "calendar days such as \"1d\" (at most 400d) or rolling hours such as \"24h\"";

/// The longest duration that means anything here; also keeps sums of times in range.
const TEN_YEARS: Duration = Duration::from_secs(3_650 * 86_400);

/// Reads a duration.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let number: u64 = number.parse().ok()?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3_600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    };
    (duration <= TEN_YEARS).then_some(duration)
}

/// Writes a duration in its largest whole unit.
pub(super) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit))
        .map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

/// Reads a number of bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let number: u64 = number.parse().ok()?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Reads a percentage as basis points, 0 to 10,000.
pub(super) fn share(text: &str) -> Option<u32> {
    let number: Decimal = text.strip_suffix('%')?.trim_end().parse().ok()?;
    let basis_points = number.checked_mul(Decimal::ONE_HUNDRED)?;
    if !basis_points.is_integer() {
        return None;
    }
    u32::try_from(basis_points).ok().filter(|points| *points <= 10_000)
}

/// Reads the window of a frequency rule.
pub(super) fn window(text: &str) -> Option<Per> {
    let (number, unit) = number_and_unit(text)?;
    match unit {
        "d" => number.parse().ok().filter(|days| (1..=400).contains(days)).map(Per::Days),
        "h" => number.parse().ok().filter(|hours| (1..=9_600).contains(hours)).map(Per::Hours),
        _ => None,
    }
}

/// Whether ISO 3166-1 lists a code of two upper-case letters.
pub(super) fn is_country(code: &str) -> bool {
    code.len() == 2 && code.parse::<iso_currency::Country>().is_ok()
}

/// Whether a code is a subdivision such as `US-CA`: of a country that exists, and for the United
/// States one that has a state's own law (ISO 3166-2:US, states, district and outlying areas).
pub(super) fn is_subdivision(code: &str) -> bool {
    const US: &str = "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO \
                      MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY \
                      DC AS GU MP PR UM VI";
    let Some((country, part)) = code.split_once('-') else { return false };
    let shaped = (1..=3).contains(&part.len())
        && part.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    is_country(country) && shaped && (country != "US" || US.split_whitespace().any(|s| s == part))
}

fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    (!number.is_empty()).then(|| (number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500ms", 500),
            ("1s", 1_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            let read = duration(text).unwrap();
            assert_eq!(read.as_millis(), ms, "{text}");
            assert_eq!(show_duration(read), text);
        }
        for wrong in ["", "7", "d", "-1s", "1.5h", "7 days", "1w", "99999999999999999999s", "4000d"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("256 KiB"), Some(262_144));
        assert_eq!(size("20 GiB"), Some(21_474_836_480));
        assert_eq!(size("4MB"), Some(4_000_000));
        for wrong in ["256", "KiB", "1 kib", "1.5 MiB", "99999999999 TiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(share("100%"), Some(10_000));
        assert_eq!(share("12.5%"), Some(1_250));
        assert_eq!(share("0%"), Some(0));
        for wrong in ["80", "101%", "-1%", "0.001%", "%", "a%"] {
            assert_eq!(share(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn windows_countries_and_subdivisions() {
        assert_eq!(window("1d"), Some(Per::Days(1)));
        assert_eq!(window("24h"), Some(Per::Hours(24)));
        assert_eq!(window("0d"), None);
        assert_eq!(window("10m"), None);
        assert!(is_country("DE") && !is_country("UK") && !is_country("de") && !is_country(""));
        assert!(is_subdivision("US-CA") && is_subdivision("CA-QC") && is_subdivision("FR-75"));
        assert!(!is_subdivision("US-XX") && !is_subdivision("XX-AB") && !is_subdivision("US-"));
    }
}
