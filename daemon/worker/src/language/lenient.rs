//! JSON as models write it: fenced, in the middle of prose, with trailing commas, single quotes, bare keys, comments, or cut off. Knows
//! nothing of what the JSON is about; never believes a number whose end it hasn't seen.

use serde_json::{Map, Number, Value};

/// Text beyond it is not looked at.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Objects and lists in each other.
const DEPTH_MAX: usize = 64;
/// Steps for each byte of the text, over all attempts: prose full of brackets costs no more.
const STEPS_PER_BYTE: usize = 24;

/// The first object or list in the text that `wanted` accepts.
pub fn find(text: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    let mut steps = text.len().saturating_mul(STEPS_PER_BYTE).saturating_add(1_000);
    let mut from = 0;
    while let Some(start) = text[from..].find(['{', '[']).map(|at| from + at) {
        let mut reader = Reader { text, at: start, steps, depth: 0 };
        let found = reader.value(Inside::Nothing);
        steps = reader.steps;
        from = start + 1;
        match found {
            // Where it isn't wanted, what is inside of it may be: `[{"segments": …}]`.
            Ok(Read::Whole(value)) if wanted(&value) => return Some(value),
            Ok(Read::CutOff(value)) if wanted(&value) => return Some(value),
            _ => {}
        }
        if steps == 0 {
            return None;
        }
    }
    None
}

/// Where a value stands; decides what may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    Object,
    List,
}

#[derive(Debug)]
enum Read {
    Whole(Value),
    /// The text ended in the middle; what was there is kept.
    CutOff(Value),
    /// The text ended before anything of it could be believed.
    Nothing,
}

/// No JSON, however leniently read.
#[derive(Debug)]
struct NotJson;

struct Reader<'t> {
    text: &'t str,
    at: usize,
    steps: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// So many bytes further, which must end a character.
    fn step(&mut self, bytes: usize) -> Result<(), NotJson> {
        self.at += bytes;
        self.steps = self.steps.saturating_sub(bytes.max(1));
        if self.steps == 0 { Err(NotJson) } else { Ok(()) }
    }

    /// Over spaces and comments.
    fn skip(&mut self) -> Result<(), NotJson> {
        loop {
            let bytes = blank(self.rest());
            if bytes == 0 {
                return Ok(());
            }
            self.step(bytes)?;
        }
    }

    fn value(&mut self, inside: Inside) -> Result<Read, NotJson> {
        self.skip()?;
        match self.peek() {
            None => Ok(Read::Nothing),
            Some('{') => self.nested(Self::object),
            Some('[') => self.nested(Self::list),
            Some(quote) if closing(quote).is_some() => {
                let (text, whole) = self.quoted(quote, inside, false)?;
                Ok(if whole { Read::Whole(Value::String(text)) } else { Read::CutOff(Value::String(text)) })
            }
            Some(_) => self.bare(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Read, NotJson>) -> Result<Read, NotJson> {
        if self.depth == DEPTH_MAX {
            return Err(NotJson);
        }
        self.depth += 1;
        self.step(1)?;
        let read = read(self)?;
        self.depth -= 1;
        Ok(read)
    }

    fn object(&mut self) -> Result<Read, NotJson> {
        let mut members = Map::new();
        loop {
            self.skip()?;
            let key = match self.peek() {
                None => return Ok(Read::CutOff(Value::Object(members))),
                Some('}') => {
                    self.step(1)?;
                    return Ok(Read::Whole(Value::Object(members)));
                }
                Some(',') => {
                    self.step(1)?;
                    continue;
                }
                Some(quote) if closing(quote).is_some() => match self.quoted(quote, Inside::Object, true)? {
                    (key, true) => key,
                    (_, false) => return Ok(Read::CutOff(Value::Object(members))),
                },
                Some(_) => {
                    let end = self.rest().find(|c: char| !is_of_bare_key(c)).unwrap_or(self.rest().len());
                    if end == 0 {
                        return Err(NotJson);
                    }
                    let key = self.rest()[..end].to_owned();
                    self.step(end)?;
                    key
                }
            };
            self.skip()?;
            match self.peek() {
                None => return Ok(Read::CutOff(Value::Object(members))),
                Some(':' | '=' | '：') => {
                    let colon = self.peek().map_or(1, char::len_utf8);
                    self.step(colon)?;
                    // `=>`
                    if self.rest().starts_with('>') {
                        self.step(1)?;
                    }
                }
                Some(_) => return Err(NotJson),
            }
            match self.value(Inside::Object)? {
                Read::Whole(value) => drop(members.insert(key, value)),
                Read::CutOff(value) => {
                    members.insert(key, value);
                    return Ok(Read::CutOff(Value::Object(members)));
                }
                Read::Nothing => return Ok(Read::CutOff(Value::Object(members))),
            }
        }
    }

    fn list(&mut self) -> Result<Read, NotJson> {
        let mut items = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                None => return Ok(Read::CutOff(Value::Array(items))),
                Some(']') => {
                    self.step(1)?;
                    return Ok(Read::Whole(Value::Array(items)));
                }
                Some(',') => {
                    self.step(1)?;
                    continue;
                }
                Some(_) => {}
            }
            match self.value(Inside::List)? {
                Read::Whole(value) => items.push(value),
                Read::CutOff(value) => {
                    items.push(value);
                    return Ok(Read::CutOff(Value::Array(items)));
                }
                Read::Nothing => return Ok(Read::CutOff(Value::Array(items))),
            }
        }
    }

    /// A text in quotes, and whether its end was there. A quote that nothing fitting follows is one of the text's own.
    fn quoted(&mut self, open: char, inside: Inside, key: bool) -> Result<(String, bool), NotJson> {
        let close = closing(open).ok_or(NotJson)?;
        self.step(open.len_utf8())?;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else { return Ok((text, false)) };
            if c == '\\' {
                self.step(1)?;
                self.escape(&mut text)?;
            } else if c == close && self.ends_here(c.len_utf8(), inside, key)? {
                self.step(c.len_utf8())?;
                return Ok((text, true));
            } else {
                text.push(c);
                self.step(c.len_utf8())?;
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), NotJson> {
        let Some(c) = self.peek() else { return Ok(()) };
        let plain = match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let (c, bytes) = unicode(&self.rest()[1..]);
                self.step(1 + bytes)?;
                text.push(c);
                return Ok(());
            }
            other => other,
        };
        text.push(plain);
        self.step(c.len_utf8())
    }

    /// Whether the quote here is the text's end: what follows it could follow a text that has ended.
    fn ends_here(&mut self, quote: usize, inside: Inside, key: bool) -> Result<bool, NotJson> {
        let mut ahead = Reader { text: self.text, at: self.at, steps: self.steps, depth: self.depth };
        let ends = ahead.step(quote).and_then(|()| ahead.skip()).map(|()| {
            let rest = ahead.rest();
            match rest.chars().next() {
                None => true,
                Some(':' | '：') if key => true,
                Some('=') if key => true,
                Some('}') if !key && inside == Inside::Object => true,
                Some(']') if !key && inside == Inside::List => true,
                Some(',') if !key => follows(&rest[1..], inside),
                // A comma that was forgotten, at the end of a line.
                Some(_) if !key => {
                    let gap = &self.text[self.at + quote..ahead.at];
                    gap.contains('\n') && follows(rest, inside)
                }
                Some(_) => false,
            }
        });
        self.steps = ahead.steps;
        ends
    }

    /// A number, a word of JSON or Python, or a text that somebody forgot to quote.
    fn bare(&mut self) -> Result<Read, NotJson> {
        let rest = self.rest();
        let end = rest.find([',', '}', ']', '\n', '{', '[']).unwrap_or(rest.len());
        let mut word = &rest[..end];
        for comment in [" //", "\t//", " /*", " #", "\t#"] {
            word = word.split(comment).next().unwrap_or_default();
        }
        let word = word.trim();
        if word.is_empty() || word.chars().any(char::is_control) {
            return Err(NotJson);
        }
        let cut_off = end == rest.len();
        self.step(end)?;
        if cut_off {
            // Perhaps its last digits are missing.
            return Ok(Read::Nothing);
        }
        Ok(Read::Whole(match word {
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            "null" | "None" | "NULL" | "undefined" | "NaN" | "nan" | "Infinity" | "-Infinity" => Value::Null,
            word => number(word).map_or_else(|| Value::String(word.to_owned()), Value::Number),
        }))
    }
}

/// Bytes of spaces, or of one comment, that the text begins with.
fn blank(text: &str) -> usize {
    let spaces = text.len() - text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').len();
    if spaces > 0 {
        return spaces;
    }
    let line = |text: &str| text.find('\n').unwrap_or(text.len());
    match text.as_bytes() {
        [b'/', b'/', ..] | [b'#', ..] => line(text),
        [b'/', b'*', ..] => text[2..].find("*/").map_or(text.len(), |end| end + 4),
        _ => 0,
    }
}

/// Whether the next member of an object, or item of a list, begins here, or its end.
fn follows(text: &str, inside: Inside) -> bool {
    let mut text = text;
    loop {
        let bytes = blank(text);
        if bytes == 0 {
            break;
        }
        text = &text[bytes..];
    }
    let Some(first) = text.chars().next() else { return true };
    match inside {
        Inside::Nothing => false,
        Inside::List => {
            closing(first).is_some()
                || matches!(first, '{' | '[' | ']' | '-' | '0'..='9')
                || ["true", "false", "null", "None", "True", "False"].iter().any(|word| text.starts_with(word))
        }
        Inside::Object => {
            if first == '}' {
                return true;
            }
            // A key and its colon, in what is left of this line.
            let line = text.lines().next().unwrap_or_default();
            let after = match closing(first) {
                Some(close) => {
                    let inner = &line[first.len_utf8()..];
                    let mut escaped = false;
                    let end = inner.find(|c: char| {
                        let ends = c == close && !escaped;
                        escaped = c == '\\' && !escaped;
                        ends
                    });
                    let Some(end) = end else { return false };
                    &inner[end + close.len_utf8()..]
                }
                None => {
                    let end = line.find(|c: char| !is_of_bare_key(c)).unwrap_or(line.len());
                    if end == 0 {
                        return false;
                    }
                    &line[end..]
                }
            };
            after.trim_start().starts_with([':', '：', '='])
        }
    }
}

fn closing(quote: char) -> Option<char> {
    match quote {
        '"' | '\'' | '`' => Some(quote),
        '“' => Some('”'),
        '‘' => Some('’'),
        '「' => Some('」'),
        _ => None,
    }
}

fn is_of_bare_key(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '.')
}

/// The character that four hexadecimal digits name (or twice four), and how many bytes that took.
fn unicode(text: &str) -> (char, usize) {
    let code = |text: &str| {
        let digits = text.get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(first) = code(text) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if let (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) =
        (first, text.get(4..).and_then(|t| t.strip_prefix("\\u")).and_then(code))
    {
        let both = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

fn number(word: &str) -> Option<Number> {
    let plain = word.strip_prefix('+').unwrap_or(word);
    let begins = plain.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !begins {
        return None;
    }
    let whole = plain.parse::<i64>().map(Number::from).or_else(|_| plain.parse::<u64>().map(Number::from));
    whole.ok().or_else(|| Number::from_f64(plain.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Option<Value> {
        find(text, |_| true)
    }

    #[test]
    fn what_models_write_is_read() {
        let long = format!("{}\n{{\"a\": 1}}\n{}", "Lorem ipsum, dolor. ".repeat(2_500), "et cetera ".repeat(5_000));
        assert!(long.len() > 100_000);
        let brackets = format!("{}{{\"a\": 1}}", "(see [note) {so} ".repeat(6_000));
        for (text, value) in [
            // As it should be.
            (r#"{"a": 1, "b": [true, false, null], "c": "x"}"#, json!({"a": 1, "b": [true, false, null], "c": "x"})),
            ("[]", json!([])),
            (r#"{"a": -1.5e3, "b": 18446744073709551615}"#, json!({"a": -1500.0, "b": u64::MAX})),
            // Fences and prose.
            ("```json\n{\"a\": 1}\n```", json!({"a": 1})),
            ("```\n[1, 2]\n```", json!([1, 2])),
            ("Sure! Here is the plan:\n\n```json\n{\"a\": 1}\n```\nLet me know.", json!({"a": 1})),
            ("The answer is {\"a\": 1}, I think.", json!({"a": 1})),
            (long.as_str(), json!({"a": 1})),
            // Commas.
            (r#"{"a": 1, "b": [1, 2, 3,],}"#, json!({"a": 1, "b": [1, 2, 3]})),
            ("{\"a\": 1\n \"b\": 2}", json!({"a": 1, "b": 2})),
            ("{\"a\": \"x\"\n \"b\": 2}", json!({"a": "x", "b": 2})),
            (r#"{"a": 1,, "b": 2}"#, json!({"a": 1, "b": 2})),
            // Quotes.
            ("{'a': 'it''s'}", json!({"a": "it''s"})),
            ("{'a': 'it's fine, isn't it', 'b': 'don't'}", json!({"a": "it's fine, isn't it", "b": "don't"})),
            (r#"{"a": "he said "yes" and left", "b": 2}"#, json!({"a": "he said \"yes\" and left", "b": 2})),
            (r#"{"a": "he said "yes", then left", "b": 2}"#, json!({"a": "he said \"yes\", then left", "b": 2})),
            (r#"["one "two" three", "four"]"#, json!(["one \"two\" three", "four"])),
            ("{“a”: “curly”}", json!({"a": "curly"})),
            (r#"{"a": "escaped \" and \\ and \u00e9 \ud83c\udfac \q"}"#, json!({"a": "escaped \" and \\ and é 🎬 q"})),
            (r#"{"a": "half a pair \ud83c end"}"#, json!({"a": "half a pair \u{fffd} end"})),
            ("{\"a\": \"two\nlines\"}", json!({"a": "two\nlines"})),
            // Keys.
            ("{a: 1, b_2: 'x', start-time: 3}", json!({"a": 1, "b_2": "x", "start-time": 3})),
            ("{精彩: 1}", json!({"精彩": 1})),
            ("{\"a\" = 1, \"b\" => 2}", json!({"a": 1, "b": 2})),
            // Comments.
            ("{\"a\": 1, // one\n /* two\n { */ \"b\": 2 # three\n}", json!({"a": 1, "b": 2})),
            // What looks like one of these and isn't.
            (
                r#"{"a": "https://example.org/x?y=1#z", "b": "/* no */ // no"}"#,
                json!({"a": "https://example.org/x?y=1#z", "b": "/* no */ // no"}),
            ),
            ("{a: https://example.org/x, b: 2}", json!({"a": "https://example.org/x", "b": 2})),
            (r#"{"a": "{not: json}", "b": "[1,"}"#, json!({"a": "{not: json}", "b": "[1,"})),
            (r#"{"a": "trailing, comma,}"}"#, json!({"a": "trailing, comma,}"})),
            // Words.
            ("{'a': True, 'b': None, 'c': NaN}", json!({"a": true, "b": null, "c": null})),
            ("{a: +3, b: .5, c: 12s, d: 00:15}", json!({"a": 3, "b": 0.5, "c": "12s", "d": "00:15"})),
            // Emoji and other scripts.
            (r#"{"a": "🎬🔥 高潮", "🎉": 1}"#, json!({"a": "🎬🔥 高潮", "🎉": 1})),
            ("\u{feff}{\"a\": 1}", json!({"a": 1})),
            // Cut off: closed where that is sensible; a number whose end nobody has seen is not believed.
            (r#"{"a": [{"s": 1, "e": 2}, {"s": 3, "e": 4"#, json!({"a": [{"s": 1, "e": 2}, {"s": 3}]})),
            (r#"{"a": "and then the"#, json!({"a": "and then the"})),
            (r#"{"a": 1, "b"#, json!({"a": 1})),
            (r#"{"a": 1, "b":"#, json!({"a": 1})),
            (r#"{"a": [1, 2, "#, json!({"a": [1, 2]})),
            (r#"{"a": tru"#, json!({})),
            // Brackets in prose cost no more than prose.
            (brackets.as_str(), json!({"a": 1})),
        ] {
            let wanted = |found: &Value| found.get("a").is_some() || value.get("a").is_none();
            let shown: String = text.chars().take(200).collect();
            assert_eq!(find(text, wanted), Some(value.clone()), "{shown}");
        }
    }

    #[test]
    fn what_is_none_is_none() {
        for text in [
            "",
            "no brackets at all",
            "a [b) {c",
            "{]",
            "🎬",
            "{\"a\" 1}",
            &"[".repeat(100_000),
            &"{\"a\":".repeat(50_000),
        ] {
            let found = find(text, |value| value.get("a").is_some_and(Value::is_number));
            assert_eq!(found, None, "{}", text.chars().take(40).collect::<String>());
        }
    }

    #[test]
    fn the_one_that_is_wanted_is_found_among_others() {
        let text = r#"As [1] says, {"note": "x"}: [{"segments": [1, 2]}] and {"segments": [3]}"#;
        assert_eq!(find(text, |value| value.get("segments").is_some()), Some(json!({"segments": [1, 2]})));
    }

    #[test]
    fn hostile_text_takes_no_more_time_than_its_length_allows() {
        let began = std::time::Instant::now();
        for piece in ["{\"a\":\"", "[\"", "{a:", "\"},{\"", "[[{", "'", "/*", "//\n{", "{\"a\", "] {
            let _ = find(&piece.repeat(TEXT_BYTES_MAX / 8 / piece.len()), |_| false);
        }
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e12..1e12f64).prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("[a-zA-Z 精é\"\\\\':]{1,6}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_brings_it_down(text in "\\PC*") {
            let _ = read(&text);
        }

        #[test]
        fn no_heap_of_json_s_own_signs_brings_it_down(text in "[\\[\\]{}:,\"'a1 /*#\\\\\n-]{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn clean_json_is_read_as_it_is(value in any_json()) {
            prop_assume!(value.is_object() || value.is_array());
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                prop_assert_eq!(read(&text), Some(value.clone()));
                prop_assert_eq!(read(&format!("Here:\n```json\n{text}\n```\nDone.")), Some(value.clone()));
            }
        }

        #[test]
        fn cut_off_anywhere_it_gives_a_beginning(value in any_json(), share in 0.0..1.0f64) {
            prop_assume!(value.is_object());
            let text = value.to_string();
            let at = 1 + ((text.len() - 1) as f64 * share) as usize;
            let at = (1..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            let read = find(&text[..at], Value::is_object);
            prop_assert!(read.is_some());
        }
    }
}
