//! A gateway inside of another program: it shares the program's runtime and logger, and stops when the program does.
//!
//! `cargo run --example embedded -- conf/tidegate.yaml`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::error::Error;
use tidegate::{Config, Gateway};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Without a logger of the program's, the gateway logs nothing but its access log.
    env_logger::init();
    let file = std::env::args().nth(1).unwrap_or_else(|| "tidegate.yaml".to_owned());
    let gateway = Gateway::from_config(Config::from_file(file)).with_graceful_shutdown(async {
        let _ = tokio::signal::ctrl_c().await;
    });
    let serving = tokio::spawn(gateway.serve());
    println!("the program does other things beside the gateway");
    serving.await??;
    println!("the gateway has stopped, and the program goes on");
    Ok(())
}
