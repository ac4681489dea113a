//! `hoist scale`: sizes and limits of services.

use clap::Args;
use hoist_api::client::Client;
use hoist_api::endpoints::{ScaleUpdate, ServiceList};
use hoist_api::types::{
    AppPath, Empty, List, Owner, ScaleEffect, ScaleLimits, ScaleRequest, Scaled, Service,
};

use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::output::{Subject, Table};
use crate::wait;

/// Most processes of one service, as the rack has it.
const COUNT_MAX: u16 = hoist_core::limits::COUNT_MAX;
const MEGABYTE: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// SERVICE=COUNT, or a SERVICE for the flags; without any the sizes are shown
    #[arg(value_name = "SERVICE[=COUNT]", value_parser = target)]
    targets: Vec<Target>,
    /// How many processes of the one service that is named
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    count: Option<u16>,
    /// CPU limit of each of its processes in thousandths of a core; 0 for none
    #[arg(long, value_name = "MILLICORES", value_parser = millicores, allow_hyphen_values = true)]
    cpu: Option<u32>,
    /// Memory limit of each of its processes in megabytes, or as 512m or 2g; 0 for none
    #[arg(long, value_name = "MB", value_parser = bytes, allow_hyphen_values = true)]
    memory: Option<u64>,
    /// Follow the manifest again, with all services or those that are named
    #[arg(long, conflicts_with_all = ["count", "cpu", "memory"])]
    from_manifest: bool,
    #[command(flatten)]
    app: AppArgs,
}

/// A service, and how many processes of it when that stands with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    service: String,
    count: Option<u16>,
}

fn target(text: &str) -> Result<Target, String> {
    let (service, number) = match text.split_once('=') {
        Some((service, number)) => (service, Some(count(number)?)),
        None => (text, None),
    };
    match service.is_empty() {
        true => Err("write SERVICE=COUNT, as web=2".to_owned()),
        false => Ok(Target {
            service: service.to_owned(),
            count: number,
        }),
    }
}

fn count(text: &str) -> Result<u16, String> {
    let count = text.parse().ok().filter(|count| *count <= COUNT_MAX);
    count.ok_or_else(|| format!("`{text}` is not a number of processes: 0 to {COUNT_MAX}"))
}

fn millicores(text: &str) -> Result<u32, String> {
    let most = hoist_core::limits::CPU_MILLICORES_MAX;
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| {
        format!("`{text}` is not a number of thousandths of a core: 250 is a quarter, 1000 is one")
    })
}

fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = match lower.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => lower.split_at(at),
        None => (lower.as_str(), "m"),
    };
    let unit = match unit {
        "m" | "mb" | "mib" => Some(MEGABYTE),
        "g" | "gb" | "gib" => Some(1 << 30),
        _ => None,
    };
    let number = digits.parse::<u64>().ok();
    let bytes = number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    bytes.ok_or_else(|| format!("`{text}` is not a number of megabytes, as 512, 512m or 2g"))
}

pub(crate) async fn run(args: Scale, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(&args.app)?;
    let client = context.client()?;
    let asks = args.from_manifest || args.count.or(args.cpu.map(|_| 0)).is_some();
    if args.targets.is_empty() && !asks && args.memory.is_none() {
        let services = client
            .call::<ServiceList>(&path, &Empty {}, &Empty {})
            .await?;
        return context.out.list(&services, table);
    }
    let request = request(&args)?;
    context.out.begin(&words(&request))?;
    let scaled = client
        .call::<ScaleUpdate>(&path, &Empty {}, &request)
        .await?;
    if scaled.effect != ScaleEffect::Now {
        return remembered(&scaled, &path, context);
    }
    match scaled.promotion.clone() {
        Some(promotion) => {
            let mut flow = Flow {
                context,
                client: &client,
                app: path.app,
                timed: false,
            };
            let ended = flow.see_through(promotion, &Subject::Release).await?;
            if context.out.json() {
                context.out.print_json(&ended)?;
            }
            live(&ended)
        }
        None => see_through(scaled, &request, &path, &client, context).await,
    }
}

/// What is asked of the rack, when the arguments make sense together.
fn request(args: &Scale) -> Result<ScaleRequest, CliError> {
    let usage = |message: &str, hint: &str| Err(CliError::usage(message, hint));
    let mut request = ScaleRequest::default();
    if args.from_manifest {
        if args.targets.iter().any(|target| target.count.is_some()) {
            return usage(
                "--from-manifest takes services without a number",
                "hoist scale --from-manifest web",
            );
        }
        let services = args.targets.iter().map(|target| target.service.clone());
        request.from_manifest = services.collect();
        request.all_from_manifest = args.targets.is_empty();
        return Ok(request);
    }
    for target in &args.targets {
        let Some(count) = target.count else { continue };
        if request
            .sizes
            .insert(target.service.clone(), count)
            .is_some()
        {
            let message = format!("{} is named twice", target.service);
            return usage(&message, "name each service once");
        }
    }
    let flags = args.count.is_some() || args.cpu.is_some() || args.memory.is_some();
    match args.targets.as_slice() {
        [target] if flags => {
            if target.count.is_some() && args.count.is_some() {
                return usage("the number is there twice", "hoist scale web --count 2");
            }
            if let Some(count) = args.count {
                request.sizes.insert(target.service.clone(), count);
            }
            if args.cpu.is_some() || args.memory.is_some() {
                let limits = ScaleLimits {
                    cpu_millicores: args.cpu,
                    memory_bytes: args.memory,
                };
                request.limits.insert(target.service.clone(), limits);
            }
            Ok(request)
        }
        _ if flags => usage(
            "--count, --cpu and --memory are for one service",
            "hoist scale web --count 2 --cpu 250 --memory 512",
        ),
        targets if targets.iter().any(|target| target.count.is_none()) => usage(
            "a service needs a number",
            "hoist scale web=2, or hoist scale web --count 2",
        ),
        _ => Ok(request),
    }
}

/// One message for all that is asked.
fn words(request: &ScaleRequest) -> String {
    if request.all_from_manifest {
        return "Giving all services back to the manifest".to_owned();
    }
    if !request.from_manifest.is_empty() {
        return format!(
            "Giving {} back to the manifest",
            request.from_manifest.join(", ")
        );
    }
    let limits = |limits: &ScaleLimits| {
        let cpu = limits.cpu_millicores.map(|cpu| match cpu {
            0 => "no limit of CPU".to_owned(),
            cpu => format!("{cpu} millicores"),
        });
        let memory = limits.memory_bytes.map(|bytes| match bytes {
            0 => "no limit of memory".to_owned(),
            bytes => format!("{} MB", bytes / MEGABYTE),
        });
        let both: Vec<_> = cpu.into_iter().chain(memory).collect();
        format!("{} each", both.join(" and "))
    };
    let sizes = request.sizes.iter();
    let mut words: Vec<_> = sizes
        .map(|(service, count)| match request.limits.get(service) {
            Some(own) => format!("{service} to {count} with {}", limits(own)),
            None => format!("{service} to {count}"),
        })
        .collect();
    let alone = request.limits.iter();
    let alone = alone.filter(|(service, _)| !request.sizes.contains_key(*service));
    words.extend(alone.map(|(service, own)| format!("{service} to {}", limits(own))));
    format!("Scaling {}", words.join(", "))
}

/// Nothing runs that could change now.
fn remembered(
    scaled: &Scaled,
    path: &AppPath,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    context.out.done("OK")?;
    let app = &path.app;
    context.out.note(&match scaled.effect {
        ScaleEffect::Start => {
            format!("{app} is stopped, and this changes nothing: `hoist start -a {app}` starts it")
        }
        _ => "nothing is deployed yet: it takes effect with the first deploy".to_owned(),
    })?;
    match context.out.json() {
        true => context.out.print_json(scaled),
        false => Ok(()),
    }
}

/// Waits until every size is reached, or came back.
async fn see_through(
    scaled: Scaled,
    request: &ScaleRequest,
    path: &AppPath,
    client: &Client,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let concerned = Concerned::by(request);
    context.goes_on = Some(format!("the change goes on: `hoist scale -a {}`", path.app));
    let mut latest = Some(List::whole(scaled.items));
    let services = wait::until("the new size", async || {
        let services = match latest.take() {
            Some(services) => services,
            None => {
                client
                    .call::<ServiceList>(path, &Empty {}, &Empty {})
                    .await?
            }
        };
        let goes_on = concerned.of(&services).any(under_way);
        Ok((!goes_on).then_some(services))
    })
    .await?;
    context.goes_on = None;
    let refused: Vec<_> = concerned
        .of(&services)
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

/// The services that a request is about.
struct Concerned {
    all: bool,
    names: Vec<String>,
}

impl Concerned {
    fn by(request: &ScaleRequest) -> Self {
        let names = request.sizes.keys().chain(&request.from_manifest);
        Self {
            all: request.all_from_manifest,
            names: names.cloned().collect(),
        }
    }

    fn of<'s>(&self, services: &'s List<Service>) -> impl Iterator<Item = &'s Service> {
        let items = services.items.iter();
        items.filter(|service| self.all || self.names.contains(&service.name))
    }
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
            limit(u64::from(service.cpu_millicores)).into(),
            limit(service.memory_bytes / MEGABYTE).into(),
            owner(service).into(),
        ]
    };
    Table::list(
        ["SERVICE", "DESIRED", "RUNNING", "CPU", "MEMORY", "OWNER"],
        services.iter().map(row),
    )
}

/// A limit; 0 is none.
fn limit(number: u64) -> String {
    match number {
        0 => "-".to_owned(),
        number => number.to_string(),
    }
}

/// Who says how many, and what an operator says beside: `manifest, operator: memory`.
fn owner(service: &Service) -> String {
    let owned = [("cpu", service.cpu_owner), ("memory", service.memory_owner)];
    let differs = owned.iter().filter(|(_, owner)| *owner != service.owner);
    let differs: Vec<_> = differs.map(|(what, _)| *what).collect();
    match (service.owner, differs.as_slice()) {
        (owner, []) => owner.to_string(),
        (Owner::Operator, [_, _]) => "operator".to_owned(),
        (Owner::Operator, [what]) => format!("operator, manifest: {what}"),
        (_, differs) => format!("manifest, operator: {}", differs.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let web = |count| Target {
            service: "web".to_owned(),
            count,
        };
        assert_eq!(target("web=2"), Ok(web(Some(2))));
        assert_eq!(target("web"), Ok(web(None)));
        for text in ["=2", "web=", "web=-1", "web=two", "web=1001", "web=65536"] {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_in_megabytes_or_has_a_unit() {
        let read = ["0", "512", "512m", "512MB", "2g"].map(|text| bytes(text).map(|b| b >> 20));
        assert_eq!(read, [Ok(0), Ok(512), Ok(512), Ok(512), Ok(2048)]);
        for text in ["", "-1", "much", "1k", "99999999999999999999", "1.5"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    fn asked(targets: &[&str], count: Option<u16>, memory: Option<u64>, back: bool) -> Scale {
        Scale {
            targets: targets
                .iter()
                .map(|text| target(text).expect("a target"))
                .collect(),
            count,
            cpu: memory.map(|_| 250),
            memory,
            from_manifest: back,
            app: AppArgs::default(),
        }
    }

    #[test]
    fn one_message_for_all_that_is_asked() {
        let said = |scale: &Scale| words(&request(scale).expect("it makes sense"));
        let memory = Some(512 * MEGABYTE);
        assert_eq!(
            said(&asked(&["web"], Some(2), memory, false)),
            "Scaling web to 2 with 250 millicores and 512 MB each"
        );
        assert_eq!(
            said(&asked(&["web=2", "worker=0"], None, None, false)),
            "Scaling web to 2, worker to 0"
        );
        assert_eq!(
            said(&asked(&["web"], None, Some(0), false)),
            "Scaling web to 250 millicores and no limit of memory each"
        );
        assert_eq!(
            said(&asked(&["web", "worker"], None, None, true)),
            "Giving web, worker back to the manifest"
        );
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for scale in [
            asked(&["web"], None, None, false),
            asked(&["web=1", "web=2"], None, None, false),
            asked(&["web=1"], Some(2), None, false),
            asked(&["web", "worker"], Some(2), None, false),
            asked(&[], Some(2), None, false),
            asked(&["web=1"], None, None, true),
        ] {
            let refused = request(&scale).expect_err("it makes no sense");
            assert_eq!(refused.exit_code(), 2, "{scale:?}");
        }
    }

    #[test]
    fn who_says_so() {
        let text = r#"{"name": "web", "desired": 2, "running": 2, "ready": 2, "url": null,
            "owner": "operator", "memory_bytes": 536870912, "memory_owner": "operator"}"#;
        let web: Service = serde_json::from_str(text).expect("a service");
        let worker = Service {
            name: "worker".to_owned(),
            owner: Owner::Manifest,
            ..web.clone()
        };
        let plain = Service {
            memory_owner: Owner::Manifest,
            memory_bytes: 0,
            ..worker.clone()
        };
        let expected = "\
SERVICE  DESIRED  RUNNING  CPU  MEMORY  OWNER
web      2        2        -    512     operator, manifest: cpu
worker   2        2        -    512     manifest, operator: memory
worker   2        2        -    -       manifest
";
        assert_eq!(table(&[web, worker, plain]).render(None, false), expected);
    }
}
