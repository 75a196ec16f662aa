//! Splits Rust source into words and signs, without comments, literals and tests. Knows nothing of modules.

/// One token: a word, a sign or a text; `::` is one sign. A text begins with `"` and is as it is written, without
/// what ends it.
pub(crate) type Token = String;

/// The tokens of `source`; items under `#[cfg(test)]` are left out.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    without_tests(&split(source))
}

fn split(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut index) = (Vec::new(), 0);
    while index < chars.len() {
        let c = at(index);
        if c == '/' && at(index + 1) == '/' {
            while index < chars.len() && at(index) != '\n' {
                index += 1;
            }
        } else if c == '/' && at(index + 1) == '*' {
            let mut depth = 0;
            while index < chars.len() {
                match (at(index), at(index + 1)) {
                    ('/', '*') => (depth, index) = (depth + 1, index + 2),
                    ('*', '/') => (depth, index) = (depth - 1, index + 2),
                    _ => index += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if c == '"' {
            let end = after_string(&chars, index);
            tokens.push(text(&chars, index + 1, end - 1));
            index = end;
        } else if c == '\'' {
            // A character literal, or the tick of a lifetime.
            if at(index + 1) == '\\' {
                index += 3;
                while index < chars.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            } else if at(index + 2) == '\'' {
                index += 3;
            } else {
                index += 1;
            }
        } else if is_word(c) {
            let start = index;
            while is_word(at(index)) {
                index += 1;
            }
            let word: String = chars[start..index].iter().collect();
            let hashes = chars[index..].iter().take_while(|c| **c == '#').count();
            if matches!(&*word, "r" | "br") && at(index + hashes) == '"' {
                let end: String = format!("\"{}", "#".repeat(hashes));
                let rest: String = chars[index + hashes + 1..].iter().collect();
                let length =
                    rest.find(&end).map_or(rest.chars().count(), |at| rest[..at].chars().count());
                let begin = index + hashes + 1;
                tokens.push(text(&chars, begin, begin + length));
                index = begin + length + end.len();
            } else if matches!(&*word, "b" | "c") && at(index) == '"' {
                let end = after_string(&chars, index);
                tokens.push(text(&chars, index + 1, end - 1));
                index = end;
            } else {
                tokens.push(word);
            }
        } else if c == ':' && at(index + 1) == ':' {
            tokens.push("::".to_owned());
            index += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            index += 1;
        }
    }
    tokens
}

fn text(chars: &[char], begin: usize, end: usize) -> Token {
    let content: String = chars.get(begin..end).unwrap_or_default().iter().collect();
    format!("\"{content}")
}

/// The index after the string whose opening quote is at `index`.
fn after_string(chars: &[char], mut index: usize) -> usize {
    index += 1;
    while let Some(c) = chars.get(index) {
        match c {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    index
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let is = |index: usize, words: &[&str]| {
        words
            .iter()
            .enumerate()
            .all(|(n, word)| tokens.get(index + n).is_some_and(|token| token == word))
    };
    let (mut kept, mut index) = (Vec::new(), 0);
    while index < tokens.len() {
        if is(index, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            index = after_item(tokens, index + 7);
        } else {
            kept.push(tokens[index].clone());
            index += 1;
        }
    }
    kept
}

/// The index after the item that begins at `index`, its attributes included.
fn after_item(tokens: &[Token], mut index: usize) -> usize {
    let is_use = tokens[index..].iter().take(6).any(|token| token == "use");
    let mut depth = 0;
    while let Some(token) = tokens.get(index) {
        index += 1;
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && token == "}" && !is_use {
                    break;
                }
            }
            ";" | "," if depth == 0 => break,
            _ => {}
        }
    }
    index
}
