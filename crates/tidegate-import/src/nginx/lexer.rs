//! Splits an nginx configuration into words, as `ngx_conf_file.c` does. It does not know directives.

use std::iter::Peekable;
use std::str::Chars;

/// A token, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word, without quotes.
    Word(String),
    Semicolon,
    Open,
    Close,
}

/// A quoted word without its end, with its first line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed(pub usize);

/// All tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Unclosed> {
    let mut reader = Reader { rest: text.chars().peekable(), line: 1 };
    let mut tokens = Vec::new();
    while let Some(&next) = reader.rest.peek() {
        let line = reader.line;
        let kind = match next {
            c if c.is_ascii_whitespace() => {
                reader.take();
                continue;
            }
            '#' => {
                while reader.rest.peek().is_some_and(|&c| c != '\n') {
                    reader.take();
                }
                continue;
            }
            ';' => reader.single(Kind::Semicolon),
            '{' => reader.single(Kind::Open),
            '}' => reader.single(Kind::Close),
            quote @ ('"' | '\'') => Kind::Word(reader.quoted(quote).ok_or(Unclosed(line))?),
            _ => Kind::Word(reader.word()),
        };
        tokens.push(Token { kind, line });
    }
    Ok(tokens)
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    line: usize,
}

impl Reader<'_> {
    fn take(&mut self) -> Option<char> {
        let taken = self.rest.next();
        self.line += usize::from(taken == Some('\n'));
        taken
    }

    fn single(&mut self, kind: Kind) -> Kind {
        self.take();
        kind
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        self.take();
        let mut word = String::new();
        loop {
            match self.take()? {
                '\\' => self.escaped(&mut word),
                end if end == quote => return Some(word),
                other => word.push(other),
            }
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(&next) = self.rest.peek() {
            match next {
                // `${name}` is part of its word.
                '{' if word.ends_with('$') => {}
                c if c.is_ascii_whitespace() || matches!(c, ';' | '{') => break,
                _ => {}
            }
            match self.take() {
                Some('\\') => self.escaped(&mut word),
                Some(other) => word.push(other),
                None => break,
            }
        }
        word
    }

    /// The characters after a backslash, which is removed only before some of them.
    fn escaped(&mut self, word: &mut String) {
        match self.take() {
            Some(plain @ ('"' | '\'' | '\\')) => word.push(plain),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(other) => word.extend(['\\', other]),
            None => word.push('\\'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let tokens = tokens(text).expect(text).into_iter();
        tokens
            .map(|token| match token.kind {
                Kind::Word(word) => word,
                Kind::Semicolon => ";".to_owned(),
                Kind::Open => "{".to_owned(),
                Kind::Close => "}".to_owned(),
            })
            .collect()
    }

    #[test]
    fn words_end_where_nginx_ends_them() {
        assert_eq!(words("a b;c{d}"), ["a", "b", ";", "c", "{", "d}"]);
        assert_eq!(words("a{b;}"), ["a", "{", "b", ";", "}"]);
        assert_eq!(words("listen ${port};"), ["listen", "${port}", ";"]);
        assert_eq!(words("# no\na # b\n;"), ["a", ";"]);
        assert_eq!(words("a#b;"), ["a#b", ";"]);
    }

    #[test]
    fn quotes_are_removed_and_backslashes_kept_as_by_nginx() {
        assert_eq!(words(r#""a b;" 'c"d' "e\"f""#), ["a b;", "c\"d", "e\"f"]);
        assert_eq!(words(r"~ \.php$"), ["~", r"\.php$"]);
        assert_eq!(tokens("\n'a"), Err(Unclosed(2)));
    }

    #[test]
    fn tokens_carry_their_line_numbers() {
        let lines: Vec<_> =
            tokens("a\n\"b\nc\"\nd").expect("words").iter().map(|t| t.line).collect();
        assert_eq!(lines, [1, 2, 4]);
    }
}
