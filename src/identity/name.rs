//! Names and streets: what counts as punctuation, as a symbol and as white space.

/// Lower case without white space.
pub(super) fn lower_no_space(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect()
}

/// Lower case, only `a-z` and `0-9`.
pub(super) fn lower_alphanumeric(text: &str) -> String {
    text.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Lower case without punctuation and white space; letters of every script stay as they are.
pub(super) fn without_punctuation(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| !c.is_whitespace() && !is_punctuation(*c)).collect()
}

/// Lower case without punctuation, symbols and white space.
pub(super) fn without_symbols_and_space(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| !c.is_whitespace() && !is_symbol(*c)).collect()
}

/// Lower case without symbols, trimmed; spaces inside stay.
pub(super) fn without_symbols(text: &str) -> String {
    let kept: String = text.to_lowercase().chars().filter(|c| !is_symbol(*c)).collect();
    kept.trim().to_owned()
}

/// The same, and without digits.
pub(super) fn without_digits_and_symbols(text: &str) -> String {
    let kept: String =
        text.to_lowercase().chars().filter(|c| !c.is_numeric() && !is_symbol(*c)).collect();
    kept.trim().to_owned()
}

/// Punctuation of ASCII, Latin-1, Unicode's general block, and CJK with its full-width forms.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(
            c,
            '¡' | '§' | '«' | '´' | '¶' | '·' | '»' | '¿'
                | '\u{2010}'..='\u{2027}'
                | '\u{2030}'..='\u{205E}'
                | '\u{3001}'..='\u{3003}'
                | '\u{3008}'..='\u{3011}'
                | '\u{3014}'..='\u{301F}'
                | '\u{30FB}'
                | '\u{FF01}'..='\u{FF0F}'
                | '\u{FF1A}'..='\u{FF20}'
                | '\u{FF3B}'..='\u{FF40}'
                | '\u{FF5B}'..='\u{FF65}'
        )
}

/// Punctuation, and currency, mathematics, arrows, technical signs, dingbats and emoji.
fn is_symbol(c: char) -> bool {
    is_punctuation(c)
        || matches!(
            c,
            '¢'..='©' | '¬' | '®' | '¯' | '°' | '±' | '¸' | '×' | '÷'
                | '\u{20A0}'..='\u{20CF}'
                | '\u{2100}'..='\u{214F}'
                | '\u{2190}'..='\u{2BFF}'
                | '\u{FE0F}'
                | '\u{1F000}'..='\u{1FAFF}'
        )
}
