//! `hoist version`: of this program and of the rack.

use hoist_api::endpoints::RackGet;
use hoist_api::types::{Empty, RackInfo};
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;

pub(crate) async fn run(context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let client = env!("CARGO_PKG_VERSION");
    let rack = rack(context).await;
    if context.out.json() {
        let rack = rack.ok().map(|rack| rack.version);
        return context
            .out
            .print_json(&json!({ "client": client, "rack": rack }));
    }
    context.out.label("client", client)?;
    match rack {
        Ok(rack) => context.out.label(
            "rack",
            &format!("{} ({} at {})", rack.version, rack.name, rack.listen),
        ),
        Err(error) => context.out.label("rack", &format!("none ({error})")),
    }
}

async fn rack(context: &Context<'_, '_>) -> Result<RackInfo, CliError> {
    Ok(context
        .client()?
        .call::<RackGet>(&Empty {}, &Empty {}, &Empty {})
        .await?)
}
