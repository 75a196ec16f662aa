//! Parses Traefik's rules, ``Host(`a`) && (PathPrefix(`/b`) || Method(`GET`))``, into alternatives. It does not know what
//! a matcher means.

/// One condition with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matcher {
    pub name: String,
    pub arguments: Vec<String>,
    pub is_negated: bool,
}

/// Maximum number of alternatives of a rule.
const MAX_ALTERNATIVES: usize = 100;
/// Maximum depth of parentheses.
const MAX_PARENTHESIS_DEPTH: usize = 32;

/// The alternatives of a rule, each a list of conditions that must all hold; `None` if the rule is invalid.
pub(super) fn alternatives(rule: &str) -> Option<Vec<Vec<Matcher>>> {
    let mut parser = RuleParser { rest: rule.trim(), depth: 0 };
    let parsed = parser.either()?;
    parser.rest.is_empty().then_some(parsed)
}

struct RuleParser<'r> {
    rest: &'r str,
    depth: usize,
}

impl<'r> RuleParser<'r> {
    fn consume(&mut self, symbol: &str) -> bool {
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn either(&mut self) -> Option<Vec<Vec<Matcher>>> {
        let mut all = self.parse_and()?;
        while self.consume("||") {
            all.extend(self.parse_and()?);
        }
        (all.len() <= MAX_ALTERNATIVES).then_some(all)
    }

    fn parse_and(&mut self) -> Option<Vec<Vec<Matcher>>> {
        let mut all = self.factor()?;
        while self.consume("&&") {
            let more = self.factor()?;
            if all.len() * more.len() > MAX_ALTERNATIVES {
                return None;
            }
            let joined = all.iter().flat_map(|one| {
                more.iter().map(move |other| one.iter().chain(other).cloned().collect())
            });
            all = joined.collect();
        }
        Some(all)
    }

    fn factor(&mut self) -> Option<Vec<Vec<Matcher>>> {
        self.depth += 1;
        if self.depth > MAX_PARENTHESIS_DEPTH {
            return None;
        }
        let parsed = if self.consume("!") {
            // !(a || b) is !a && !b; !(a && b) has no conversion.
            let inner = self.factor()?;
            let negated = inner.into_iter().map(|all| match <[Matcher; 1]>::try_from(all) {
                Ok([matcher]) => Some(Matcher { is_negated: !matcher.is_negated, ..matcher }),
                Err(_) => None,
            });
            vec![negated.collect::<Option<Vec<_>>>()?]
        } else if self.consume("(") {
            let inner = self.either()?;
            self.consume(")").then_some(inner)?
        } else {
            vec![vec![self.matcher()?]]
        };
        self.depth -= 1;
        Some(parsed)
    }

    fn matcher(&mut self) -> Option<Matcher> {
        let letters = self.rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let (name, rest) =
            self.rest.split_at_checked(letters).filter(|(name, _)| !name.is_empty())?;
        self.rest = rest.trim_start();
        if !self.consume("(") {
            return None;
        }
        let mut arguments = Vec::new();
        while !self.consume(")") {
            arguments.push(self.quoted()?);
            self.consume(",");
        }
        Some(Matcher { name: name.to_owned(), arguments, is_negated: false })
    }

    fn quoted(&mut self) -> Option<String> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '`' | '"' | '\''))?;
        let (inside, rest) = self.rest.strip_prefix(quote)?.split_once(quote)?;
        self.rest = rest.trim_start();
        // Only backticks keep backslashes.
        Some(if quote == '`' { inside.to_owned() } else { inside.replace("\\\\", "\\") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn display_alternatives(rule: &str) -> Option<String> {
        let show = |matcher: &Matcher| {
            let not = if matcher.is_negated { "!" } else { "" };
            format!("{not}{}({})", matcher.name, matcher.arguments.join(","))
        };
        let all = alternatives(rule)?;
        let all: Vec<String> =
            all.iter().map(|it| it.iter().map(show).collect::<Vec<_>>().join("&")).collect();
        Some(all.join("|"))
    }

    #[test]
    fn rule_is_expanded_into_alternatives() {
        for (rule, wanted) in [
            ("Host(`a.test`)", "Host(a.test)"),
            ("Host(`a`, \"b\") && Path(`/x`)", "Host(a,b)&Path(/x)"),
            ("A(`1`) || B(`2`) && C(`3`)", "A(1)|B(2)&C(3)"),
            ("(A(`1`) || B(`2`)) && C(`3`)", "A(1)&C(3)|B(2)&C(3)"),
            ("!(A(`1`) || B(`2`)) && C(`3`)", "!A(1)&!B(2)&C(3)"),
        ] {
            assert_eq!(display_alternatives(rule).as_deref(), Some(wanted), "{rule}");
        }
        for rule in [
            "",
            "Host(`a`",
            "Host(a)",
            "Host(`a`) &&",
            "Host(`a`) Path(`b`)",
            "!(A(`1`) && B(`2`))",
        ] {
            assert_eq!(display_alternatives(rule), None, "{rule}");
        }
        assert_eq!(display_alternatives(&"(".repeat(100_000)), None);
        let many = vec!["(A(`1`) || B(`2`))"; 20].join(" && ");
        assert_eq!(display_alternatives(&many), None);
    }
}
