//! The filter `block_agents`: refuses clients by their `User-Agent`.

use tidegate::filter::{self, Filter, Flow, Reply, Request, SettingsError};
use tidegate::http::{StatusCode, header};
use tidegate::{async_trait, schemars};

/// Refuses clients by their `User-Agent`, with 403.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "tidegate::schemars")]
#[serde(deny_unknown_fields)]
pub struct BlockAgents {
    /// Words; a client is refused if its `User-Agent` contains one of them, in upper or lower case.
    words: Vec<String>,
}

pub struct BlockAgentsFilter {
    words: Vec<String>,
}

impl BlockAgentsFilter {
    /// Checks the settings. The gateway reports an error with its line in the file.
    pub fn new(settings: BlockAgents) -> Result<Self, SettingsError> {
        let empty = settings.words.iter().position(|word| word.trim().is_empty());
        if let Some(index) = empty {
            let error = SettingsError::at(format!("words[{index}]"), "the word is empty");
            return Err(error.help("an empty word would refuse every client"));
        }
        Ok(Self { words: settings.words.iter().map(|word| word.to_lowercase()).collect() })
    }
}

#[async_trait]
impl Filter for BlockAgentsFilter {
    /// The line of `tidegate explain`.
    fn describe(&self) -> String {
        format!("refuses {}", self.words.join(", "))
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
        let agent = request.head().headers.get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_lowercase();
        if self.words.iter().any(|word| agent.contains(word)) {
            let reply = Reply::error(
                StatusCode::FORBIDDEN,
                "agent_blocked",
                "this client is not allowed here",
            );
            return Ok(Flow::Respond(reply));
        }
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_testing::request;

    fn filter(words: &[&str]) -> Result<BlockAgentsFilter, SettingsError> {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        BlockAgentsFilter::new(BlockAgents { words })
    }

    #[tokio::test]
    async fn blocked_agent_gets_403() {
        let filter = filter(&["bot"]).expect("a filter");
        let run = request("GET /").header("User-Agent", "ExampleBot/1.0").run(&filter).await;
        assert_eq!(run.status(), 403);
        assert_eq!(run.error_code(), Some("agent_blocked"));
    }

    #[tokio::test]
    async fn other_agent_is_forwarded() {
        let filter = filter(&["bot"]).expect("a filter");
        let run = request("GET /").header("User-Agent", "curl/8.0").run(&filter).await;
        assert_eq!(run.forwarded_header("User-Agent"), Some("curl/8.0"));
    }

    #[test]
    fn empty_word_is_refused_with_its_position() {
        let error = filter(&["bot", " "]).err().expect("an error");
        assert_eq!(error.to_string(), "words[1]: the word is empty");
    }
}
