//! Parses `.env` files.
//!
//! dotenvy (0.15) does not fit: it substitutes `$NAME` in values, which would change tokens and
//! passphrases that contain a `$`; it stops at the first bad line, and it gives no line numbers. The older
//! system took values literally.

/// One `KEY=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub key: String,
    pub value: String,
    /// Number of the line, from 1.
    pub line: usize,
}

/// Contents of a file. A bad line does not hide the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DotEnv {
    pub assignments: Vec<Assignment>,
    /// Problems, such as `line 3: …`.
    pub problems: Vec<String>,
}

/// Parses lines of the form `KEY=value`, with or without `export` before them. `#` starts a comment at the
/// start of a line, or after white space behind a value. `'…'` is taken literally. In `"…"` the escapes
/// `\n \t \r \" \\ \$` are known. Both may span lines. An unquoted value that starts with `[` or `{`
/// (JSON) may span lines as well, up to the closing bracket.
#[must_use]
pub fn parse(text: &str) -> DotEnv {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = DotenvReader {
        rest: text,
        line: 1,
        patience: text.len().saturating_mul(VAIN_SEARCHES),
    };
    let mut found = DotEnv::default();
    while !reader.rest.is_empty() {
        let line = reader.line;
        match reader.assignment() {
            Ok(None) => {}
            Ok(Some((key, value))) => found.assignments.push(Assignment { key, value, line }),
            Err(problem) => {
                found.problems.push(format!("line {line}: {problem}"));
                reader.take_line();
            }
        }
    }
    found
}

/// Times that all of the text may be searched for closing brackets in vain.
const VAIN_SEARCHES: usize = 16;

struct DotenvReader<'a> {
    rest: &'a str,
    line: usize,
    /// Bytes that may still be searched in vain, so that reading takes time in proportion to the text.
    patience: usize,
}

impl<'a> DotenvReader<'a> {
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Takes the rest of the line, and returns it without its end.
    fn take_line(&mut self) -> &'a str {
        let len = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
        self.take(len).trim_end_matches(['\n', '\r'])
    }

    fn assignment(&mut self) -> Result<Option<(String, String)>, String> {
        let line_end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = self.rest[..line_end].trim();
        if line.is_empty() || line.starts_with('#') {
            self.take_line();
            return Ok(None);
        }
        let Some(equals) = self.rest[..line_end].find('=') else {
            // The line itself is not quoted, since it may be a secret on the wrong line.
            return Err("no `=` in it; write KEY=value".to_owned());
        };
        let key = self.rest[..equals].trim();
        let key = key.strip_prefix("export ").unwrap_or(key).trim();
        if !is_key(key) {
            return Err("the text before `=` is not a name of letters, digits and `_`".to_owned());
        }
        let key = key.to_owned();
        self.take(equals + 1);
        let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.take(blanks);
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            Some('[' | '{') => self.json(),
            _ => unquoted(self.take_line()),
        };
        Ok(Some((key, value)))
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        let end = loop {
            match chars.next() {
                None => return Err(format!("the value's opening {quote} is never closed")),
                Some((at, c)) if c == quote => break at,
                Some((_, '\\')) if quote == '"' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, c @ ('"' | '\\' | '$'))) => value.push(c),
                    Some((_, other)) => value.extend(['\\', other]),
                    None => value.push('\\'),
                },
                Some((_, c)) => value.push(c),
            }
        };
        let behind = &self.rest[end + 1..];
        let tail = behind[..behind.find('\n').unwrap_or(behind.len())].trim();
        if !tail.is_empty() && !tail.starts_with('#') {
            return Err(format!("something follows the closing {quote}"));
        }
        self.take(end + 1);
        self.take_line();
        Ok(value)
    }

    /// Takes everything up to the closing bracket, or this line if none closes.
    fn json(&mut self) -> String {
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for (at, c) in self.rest.char_indices() {
            if at >= self.patience {
                break;
            }
            match c {
                _ if escaped => escaped = false,
                '\\' if in_string => escaped = true,
                '"' => in_string = !in_string,
                '[' | '{' if !in_string => depth += 1,
                ']' | '}' if !in_string => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        let value = self.take(at + c.len_utf8()).to_owned();
                        self.take_line();
                        return value;
                    }
                }
                _ => {}
            }
        }
        self.patience = self.patience.saturating_sub(self.rest.len());
        unquoted(self.take_line())
    }
}

fn is_key(key: &str) -> bool {
    let mut chars = key.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Cuts a trailing comment, which begins with `#` behind white space or at the start.
fn unquoted(text: &str) -> String {
    let mut previous = ' ';
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        if c == '#' && previous.is_whitespace() {
            end = at;
            break;
        }
        previous = c;
    }
    text[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let parsed = parse(text);
        assert_eq!(parsed.problems, Vec::<String>::new(), "{text}");
        let pairs = parsed.assignments.into_iter();
        pairs.map(|one| (one.key, one.value)).collect()
    }

    /// Would take minutes if each line searched the rest of the file.
    #[test]
    fn brackets_that_are_never_closed_take_time_in_proportion_to_the_file() {
        let text = "A=[\n".repeat(200_000);
        let parsed = parse(&text);
        assert_eq!(parsed.assignments.len(), 200_000);
        assert!(parsed.assignments.iter().all(|one| one.value == "["));
    }

    fn value(text: &str) -> String {
        let found = values(text);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].1.clone()
    }

    #[test]
    fn comments_quotes_and_blanks() {
        assert_eq!(value("A=1"), "1");
        assert_eq!(value("\u{feff}A = 1 \r\n"), "1");
        assert_eq!(value("export A=1 # one"), "1");
        assert_eq!(value("A=a#b"), "a#b");
        assert_eq!(value("A=# nothing"), "");
        assert_eq!(value("A="), "");
        assert_eq!(value("A='a # b' # c"), "a # b");
        assert_eq!(value(r#"A="a \"b\" \\ \n c" # d"#), "a \"b\" \\ \n c");
        assert_eq!(value("A='$HOME \\n'"), "$HOME \\n");
        assert_eq!(value("A=\"pa$$word\""), "pa$$word");
        assert_eq!(value("A=x=y"), "x=y");
        assert_eq!(values("# only\n\n   # comments\n"), vec![]);
    }

    #[test]
    fn json_may_span_lines_with_and_without_quotes() {
        let json = "[{\"token\": \"1:a]\",\n  \"chat_id\": \"-100\"}\n]";
        for text in [format!("A='{json}'\nB=2"), format!("A={json} # bots\nB=2")] {
            let found = values(&text);
            assert_eq!(found[0].1, json);
            assert_eq!(found[1], ("B".to_owned(), "2".to_owned()));
        }
        assert_eq!(value("A=[unclosed # c"), "[unclosed");
    }

    #[test]
    fn a_bad_line_is_named_and_hides_no_other() {
        let parsed = parse("A=1\nnonsense secret\nB='open\nC=3\n2X=4\nD=\"x\" y\nE=5");
        let keys: Vec<_> = parsed.assignments.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(keys, ["A", "C", "E"]);
        assert_eq!(parsed.assignments[1].line, 4);
        assert_eq!(parsed.problems.len(), 4);
        assert!(parsed.problems[0].starts_with("line 2: "));
        assert!(parsed.problems[1].contains("never closed"));
        assert!(!format!("{:?}", parsed.problems).contains("secret"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_hang(text in "[A=\\[\\]{}\"'#\\\\\n\r $é]{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn single_quotes_keep_every_byte(value in "[^']{0,40}") {
            let parsed = parse(&format!("A='{value}'\n"));
            prop_assert_eq!(&parsed.assignments[0].value, &value);
        }
    }
}
