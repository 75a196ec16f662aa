//! Splits an nginx configuration into words, as `ngx_conf_file.c` does. It does not know directives.

use std::iter::Peekable;
use std::str::Chars;

/// A token, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A word, without quotes.
    Word(String),
    Semicolon,
    Open,
    Close,
}

/// A quoted word without its end, with its first line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnclosedBlock(pub usize);

/// All tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, UnclosedBlock> {
    let mut reader = Lexer { rest: text.chars().peekable(), line: 1 };
    let mut tokens = Vec::new();
    while let Some(&next) = reader.rest.peek() {
        let line = reader.line;
        let kind = match next {
            c if c.is_ascii_whitespace() => {
                reader.next_char();
                continue;
            }
            '#' => {
                while reader.rest.peek().is_some_and(|&c| c != '\n') {
                    reader.next_char();
                }
                continue;
            }
            ';' => reader.single(TokenKind::Semicolon),
            '{' => reader.single(TokenKind::Open),
            '}' => reader.single(TokenKind::Close),
            quote @ ('"' | '\'') => {
                TokenKind::Word(reader.quoted(quote).ok_or(UnclosedBlock(line))?)
            }
            _ => TokenKind::Word(reader.word()),
        };
        tokens.push(Token { kind, line });
    }
    Ok(tokens)
}

struct Lexer<'t> {
    rest: Peekable<Chars<'t>>,
    line: usize,
}

impl Lexer<'_> {
    fn next_char(&mut self) -> Option<char> {
        let taken = self.rest.next();
        self.line += usize::from(taken == Some('\n'));
        taken
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.next_char();
        kind
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        self.next_char();
        let mut word = String::new();
        loop {
            match self.next_char()? {
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
            match self.next_char() {
                Some('\\') => self.escaped(&mut word),
                Some(other) => word.push(other),
                None => break,
            }
        }
        word
    }

    /// The characters after a backslash, which is removed only before some of them.
    fn escaped(&mut self, word: &mut String) {
        match self.next_char() {
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
                TokenKind::Word(word) => word,
                TokenKind::Semicolon => ";".to_owned(),
                TokenKind::Open => "{".to_owned(),
                TokenKind::Close => "}".to_owned(),
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
        assert_eq!(tokens("\n'a"), Err(UnclosedBlock(2)));
    }

    #[test]
    fn tokens_carry_their_line_numbers() {
        let lines: Vec<_> =
            tokens("a\n\"b\nc\"\nd").expect("words").iter().map(|t| t.line).collect();
        assert_eq!(lines, [1, 2, 4]);
    }
}
