//! The one list of what happens to a request on its way through the filters, in order. It knows nothing of how a filter
//! is built.

use super::Phase;

/// A step on the way of a request. Responses take the way of the filters in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A built-in filter.
    BuiltIn(BuiltIn),
    /// The check of the `Origin` of WebSocket handshakes. The log of a refusal names the user, and no filter behind sees
    /// what is refused.
    OriginCheck,
    /// The filters of the program.
    Program(Phase),
}

/// A built-in filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuiltIn {
    /// Changes headers.
    Headers,
    /// Reads the user id.
    UserId,
    /// Answers preflights, and adds headers of CORS.
    Cors,
    /// Refuses clients by their addresses.
    Clients,
    /// Verifies who sends the request.
    Authentication,
    /// Answers 503.
    Maintenance,
    /// Answers 429.
    RateLimits,
    /// Answers in the place of an upstream.
    Answer,
}

/// The way of a request. A new built-in filter is a line here, and one in the chain that `snapshot` compiles.
pub(crate) static ORDER: [Step; 11] = [
    Step::BuiltIn(BuiltIn::Headers),
    Step::BuiltIn(BuiltIn::Clients),
    Step::BuiltIn(BuiltIn::UserId),
    Step::OriginCheck,
    Step::BuiltIn(BuiltIn::Cors),
    // After CORS: browsers send preflights without credentials.
    Step::BuiltIn(BuiltIn::Authentication),
    Step::BuiltIn(BuiltIn::Maintenance),
    Step::Program(Phase::BeforeLimits),
    Step::BuiltIn(BuiltIn::RateLimits),
    Step::Program(Phase::AfterLimits),
    Step::BuiltIn(BuiltIn::Answer),
];

impl BuiltIn {
    /// The keys of the configuration that set it.
    pub(crate) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Headers => &["headers"],
            Self::UserId => &["identity", "user_id"],
            Self::Cors => &["cors"],
            Self::Clients => &["clients"],
            Self::Authentication => &["authentication", "require"],
            Self::Maintenance => &["maintenance"],
            Self::RateLimits => &["rate_limits", "rate_limit"],
            Self::Answer => &["respond", "redirect", "files"],
        }
    }
}

/// Whether a built-in filter has this name, so that no filter of a program can have it.
pub(crate) fn is_built_in(name: &str) -> bool {
    ORDER.iter().any(|step| match step {
        Step::BuiltIn(filter) => filter.keys().contains(&name),
        Step::OriginCheck | Step::Program(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documentation of [`Phase`] names the steps in their order.
    #[test]
    fn documented_order_of_filters_is_the_one_that_holds() {
        let source = include_str!("mod.rs");
        let (_, documented) = source.split_once("/// The order is: ").unwrap();
        let (mut rest, _) = documented.split_once("#[derive").unwrap();
        for step in ORDER {
            let name = match step {
                Step::BuiltIn(BuiltIn::Headers) => "`headers`",
                Step::BuiltIn(BuiltIn::UserId) => "user id",
                Step::OriginCheck => "`Origin`",
                Step::BuiltIn(BuiltIn::Cors) => "CORS",
                Step::BuiltIn(BuiltIn::Clients) => "`clients`",
                Step::BuiltIn(BuiltIn::Authentication) => "`require`",
                Step::BuiltIn(BuiltIn::Maintenance) => "maintenance",
                Step::Program(Phase::BeforeLimits) => "BeforeLimits",
                Step::BuiltIn(BuiltIn::RateLimits) => "`rate_limits`",
                Step::Program(Phase::AfterLimits) => "AfterLimits",
                Step::BuiltIn(BuiltIn::Answer) => "`respond`, `redirect` or `files`",
            };
            let (_, behind) = rest.split_once(name).unwrap_or_else(|| panic!("{name} in {rest}"));
            rest = behind;
        }
    }
}
