//! Runs filters without sockets, for the tests of programs with filters of their own. It knows what a filter sees and
//! may change; it must not know routes, upstreams and connections.
//!
//! ```
//! use tidegate::filter::{self, Filter, Flow, Reply, Request};
//! use tidegate::http::StatusCode;
//! use tidegate::testing::request;
//!
//! /// Lets only requests with a key in, and keeps the key from the upstream.
//! struct RequireKey;
//!
//! #[tidegate::async_trait]
//! impl Filter for RequireKey {
//!     async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
//!         Ok(match request.head_mut().remove_header("x-api-key") {
//!             Some(_) => Flow::Continue,
//!             None => Flow::Respond(Reply::error(StatusCode::UNAUTHORIZED, "no_key", "a key is needed")),
//!         })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let run = request("GET /api").header("x-api-key", "secret").run(&RequireKey).await;
//! assert_eq!(run.status(), 200);
//! assert_eq!(run.forwarded_header("x-api-key"), None);
//!
//! let run = request("GET /api").route("api").run(&RequireKey).await;
//! assert!(run.forwarded().is_none());
//! assert_eq!((run.status().as_u16(), run.error_code()), (401, Some("no_key")));
//! # });
//! ```

mod hooks;
mod message;
mod run;
mod test_request;

pub use run::FilterRun;
pub use test_request::{TestRequest, TestResponse, request, response};
