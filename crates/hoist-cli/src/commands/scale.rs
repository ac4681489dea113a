//! `hoist scale`: sizes of services.

use std::collections::BTreeMap;

use clap::Args;
use hoist_api::endpoints::{ScaleUpdate, ServiceList};
use hoist_api::types::{Empty, List, ScaleRequest, Service};

use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Table;
use crate::wait;

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// SERVICE=COUNT; without any the sizes are shown
    #[arg(value_name = "SERVICE=COUNT", value_parser = service_and_count)]
    sizes: Vec<(String, u16)>,
    #[command(flatten)]
    app: AppArgs,
}

fn service_and_count(text: &str) -> Result<(String, u16), String> {
    let (service, count) = text
        .split_once('=')
        .ok_or("write SERVICE=COUNT, as web=2")?;
    let count = count
        .parse()
        .map_err(|_| format!("`{count}` is not a number of processes"))?;
    Ok((service.to_owned(), count))
}

pub(crate) async fn run(args: Scale, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(&args.app)?;
    let client = context.client()?;
    if args.sizes.is_empty() {
        let services = client
            .call::<ServiceList>(&path, &Empty {}, &Empty {})
            .await?;
        return context.out.list(&services, table);
    }
    let sizes: BTreeMap<_, _> = args.sizes.into_iter().collect();
    let words: Vec<_> = sizes
        .iter()
        .map(|(service, count)| format!("{service} to {count}"))
        .collect();
    context
        .out
        .begin(&format!("Scaling {}", words.join(", ")))?;
    let services = client
        .call::<ScaleUpdate>(
            &path,
            &Empty {},
            &ScaleRequest {
                sizes: sizes.clone(),
            },
        )
        .await?;
    context.goes_on = Some(format!("the change goes on: `hoist scale -a {}`", path.app));
    let mut latest = Some(services);
    let services = wait::until("the new size", async || {
        let services = match latest.take() {
            Some(services) => services,
            None => {
                client
                    .call::<ServiceList>(&path, &Empty {}, &Empty {})
                    .await?
            }
        };
        let goes_on = concerned(&services, &sizes).any(under_way);
        Ok((!goes_on).then_some(services))
    })
    .await?;
    context.goes_on = None;
    let refused: Vec<_> = concerned(&services, &sizes)
        .filter(|service| gave_up(service))
        .collect();
    context
        .out
        .done(if refused.is_empty() { "OK" } else { "FAILED" })?;
    if context.out.json() {
        context.out.print_json(&services)?;
    }
    for service in &refused {
        let reason = service
            .resize
            .as_ref()
            .and_then(|resize| resize.reason.as_deref())
            .unwrap_or_default();
        let text = format!(
            "{} of {} stays at {}: {reason}",
            service.name, path.app, service.desired
        );
        let look = format!("`hoist logs -a {} -s {}`", path.app, service.name);
        context.out.error(&text, Some(&look))?;
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(CliError::NotLive)
    }
}

fn concerned<'s>(
    services: &'s List<Service>,
    sizes: &BTreeMap<String, u16>,
) -> impl Iterator<Item = &'s Service> {
    services
        .items
        .iter()
        .filter(|service| sizes.contains_key(&service.name))
}

fn under_way(service: &Service) -> bool {
    service
        .resize
        .as_ref()
        .is_some_and(|resize| resize.ended.is_none())
}

fn gave_up(service: &Service) -> bool {
    service
        .resize
        .as_ref()
        .is_some_and(|resize| resize.reason.is_some())
}

fn table(services: &[Service]) -> Table {
    let row = |service: &Service| {
        [
            service.name.as_str().into(),
            service.desired.to_string().into(),
            service.running.to_string().into(),
            service.ready.to_string().into(),
            service.url.as_deref().unwrap_or_default().into(),
        ]
    };
    Table::list(
        ["SERVICE", "DESIRED", "RUNNING", "READY", "URL"],
        services.iter().map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(service_and_count("web=2"), Ok(("web".to_owned(), 2)));
        for text in ["web", "web=", "web=-1", "web=two", "web=65536"] {
            assert!(service_and_count(text).is_err(), "{text}");
        }
    }
}
