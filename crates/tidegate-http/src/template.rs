//! Texts with variables of a request, `https://{host}{path}`, in the simplest form of RFC 6570. Fills in no value.

use crate::stable_hash::{StableHash, StableHasher};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A text with variables, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    parts: Box<[TemplatePart]>,
}

crate::stable_hash!(Template { parts });

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TemplatePart {
    /// Literal text.
    Literal(Box<str>),
    /// The value of a variable.
    Variable(Variable),
}

impl StableHash for TemplatePart {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Literal(text) => (0_u8, text).feed(hasher),
            Self::Variable(variable) => (1_u8, variable).feed(hasher),
        }
    }
}

/// What precedes the name of a claim in `{claim.NAME}`.
const CLAIM_PREFIX: &str = "claim.";

/// A variable, whose value comes from the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Variable {
    /// The client's address.
    ClientAddress,
    /// The request's id.
    RequestId,
    /// The user id.
    UserId,
    /// A claim of the verified identity, by its name.
    Claim(Box<str>),
    /// The name of the route.
    Route,
    /// The method.
    Method,
    /// `http` or `https`.
    Scheme,
    /// The host, without its port.
    Host,
    /// The host with its port.
    Authority,
    /// The path, in its normal form.
    Path,
    /// The query, without its `?`.
    Query,
    /// The path and, if there is one, `?` and the query (RFC 9112, section 3.2).
    Target,
}

impl StableHash for Variable {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::ClientAddress => hasher.number(0),
            Self::RequestId => hasher.number(1),
            Self::UserId => hasher.number(2),
            Self::Route => hasher.number(3),
            Self::Method => hasher.number(4),
            Self::Scheme => hasher.number(5),
            Self::Host => hasher.number(6),
            Self::Authority => hasher.number(7),
            Self::Path => hasher.number(8),
            Self::Query => hasher.number(9),
            Self::Target => hasher.number(10),
            Self::Claim(name) => (11_u8, name).feed(hasher),
        }
    }
}

impl Variable {
    /// All variables, except claims.
    pub const ALL: [Self; 11] = [
        Self::ClientAddress,
        Self::RequestId,
        Self::UserId,
        Self::Route,
        Self::Method,
        Self::Scheme,
        Self::Host,
        Self::Authority,
        Self::Path,
        Self::Query,
        Self::Target,
    ];

    /// The name between the braces.
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::ClientAddress => "client.address",
            Self::RequestId => "request.id",
            Self::UserId => "user.id",
            Self::Claim(name) => return Cow::Owned(format!("{CLAIM_PREFIX}{name}")),
            Self::Route => "route",
            Self::Method => "method",
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Authority => "authority",
            Self::Path => "path",
            Self::Query => "query",
            Self::Target => "target",
        })
    }

    /// The variable of this name.
    fn from_name(name: &str) -> Option<Self> {
        match name.strip_prefix(CLAIM_PREFIX) {
            Some(claim) => (!claim.is_empty()).then(|| Self::Claim(claim.into())),
            None => Self::ALL.into_iter().find(|one| one.name() == name),
        }
    }
}

/// Why a text is not a valid template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// No variable has this name.
    Unknown(String),
    /// A `{` without its `}`, or the other way round.
    Unbalanced,
}

impl fmt::Display for Template {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            TemplatePart::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            TemplatePart::Variable(variable) => write!(f, "{{{}}}", variable.name()),
        })
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "unknown variable `{{{name}}}`"),
            Self::Unbalanced => {
                f.write_str("unbalanced brace; write `{{` or `}}` for a literal brace")
            }
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(written: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = written;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            literal.push_str(before);
            if let Some(behind) = from_brace.strip_prefix("{{") {
                literal.push('{');
                rest = behind;
            } else if let Some(behind) = from_brace.strip_prefix("}}") {
                literal.push('}');
                rest = behind;
            } else {
                let inside = from_brace.strip_prefix('{').ok_or(TemplateError::Unbalanced)?;
                let (name, behind) = inside.split_once('}').ok_or(TemplateError::Unbalanced)?;
                let variable = Variable::from_name(name)
                    .ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
                if !literal.is_empty() {
                    parts.push(TemplatePart::Literal(std::mem::take(&mut literal).into()));
                }
                parts.push(TemplatePart::Variable(variable));
                rest = behind;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal.into()));
        }
        Ok(Self { parts: parts.into() })
    }
}

impl Template {
    /// The parts; no two literals are adjacent.
    pub fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }

    /// The whole text, when no variable is in it.
    pub fn literal(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [TemplatePart::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text, each variable written by `push`.
    pub fn render(&self, mut push: impl FnMut(&mut String, &Variable)) -> String {
        let mut text = String::with_capacity(64);
        for part in &self.parts {
            match part {
                TemplatePart::Literal(literal) => text.push_str(literal),
                TemplatePart::Variable(variable) => push(&mut text, variable),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(written: &str) -> Result<String, TemplateError> {
        let template: Template = written.parse()?;
        Ok(template.render(|text, variable| *text += &format!("<{}>", variable.name())))
    }

    #[test]
    fn template_variables_are_filled_in_and_other_text_is_kept() {
        assert_eq!(filled("").as_deref(), Ok(""));
        assert_eq!(filled("https://{host}{target}#a").as_deref(), Ok("https://<host><target>#a"));
        assert_eq!(filled("{{path}} {path}").as_deref(), Ok("{path} <path>"));
        for variable in Variable::ALL {
            let name = variable.name();
            assert_eq!(filled(&format!("{{{name}}}")), Ok(format!("<{name}>")));
        }
        assert_eq!(filled("{claim.sub}{claim.a.b}").as_deref(), Ok("<claim.sub><claim.a.b>"));
    }

    #[test]
    fn template_with_unknown_variable_or_stray_brace_is_refused() {
        assert_eq!(filled("{hots}"), Err(TemplateError::Unknown("hots".to_owned())));
        assert_eq!(filled("{}"), Err(TemplateError::Unknown(String::new())));
        assert_eq!(filled("{claim.}"), Err(TemplateError::Unknown("claim.".to_owned())));
        for written in ["{path", "path}", "{{path}", "{path}}"] {
            assert_eq!(filled(written), Err(TemplateError::Unbalanced), "{written}");
        }
    }

    #[test]
    fn template_without_variables_is_literal() {
        let literal =
            |written: &str| written.parse::<Template>().ok()?.literal().map(str::to_owned);
        assert_eq!(literal("").as_deref(), Some(""));
        assert_eq!(literal("a {{b}}").as_deref(), Some("a {b}"));
        assert_eq!(literal("{path}"), None);
    }
}
