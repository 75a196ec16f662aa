//! A gateway with filters of its own and every verb of `tidegate`: `run`, `check`, `explain`, `diff`, `schema` and the others.

mod block_agents;

use block_agents::BlockAgentsFilter;

fn main() -> std::process::ExitCode {
    tidegate::cli::main_with(|gateway| gateway.register("block_agents", BlockAgentsFilter::new))
}
