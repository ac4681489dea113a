//! Names that the rack does not know, and the ones that it does know and that were probably meant.

use std::time::Duration;

use hoist_api::ErrorCode;
use hoist_api::client::{CallError, Client};
use hoist_api::endpoints::{AppList, BuildList, ProcessList, ReleaseList, ServiceList};
use hoist_api::types::{AppPath, Empty, PageQuery};

use crate::context::Context;
use crate::error::CliError;

/// How long a refusal waits at most for a better hint.
const LIMIT: Duration = Duration::from_millis(500);
/// How many of a long list are looked at.
const LOOKED_AT: u32 = 200;

/// A refusal because of an unknown name, with the name that is nearest to it. Everything else stays what it is.
pub(crate) async fn suggest(error: CliError, context: &Context<'_, '_>) -> CliError {
    let CliError::Call(CallError::Refused(mut refusal)) = error else {
        return error;
    };
    let (code, message) = (refusal.body.code, refusal.body.message.clone());
    let found = async {
        let known = known(code, context).await?;
        nearest_in(&message, &known).map(str::to_owned)
    };
    if let Ok(Some(name)) = tokio::time::timeout(LIMIT, found).await {
        let meant = format!("did you mean `{name}`?");
        refusal.body.hint = Some(match refusal.body.hint.take() {
            Some(hint) => format!("{meant} otherwise: {hint}"),
            None => meant,
        });
    }
    CliError::Call(CallError::Refused(refusal))
}

/// The names that there are where one was not found.
async fn known(code: ErrorCode, context: &Context<'_, '_>) -> Option<Vec<String>> {
    let client = context.client().ok()?;
    if code == ErrorCode::AppNotFound {
        return apps(&client).await;
    }
    let path = AppPath {
        app: context.asked_app()?,
    };
    match code {
        ErrorCode::ServiceNotFound => services(&client, &path).await,
        ErrorCode::ReleaseNotFound => releases(&client, &path).await,
        ErrorCode::BuildNotFound => builds(&client, &path).await,
        ErrorCode::ProcessNotFound => processes(&client, &path).await,
        _ => None,
    }
}

/// Names of all apps.
pub(crate) async fn apps(client: &Client) -> Option<Vec<String>> {
    let list = client
        .call::<AppList>(&Empty {}, &Empty {}, &Empty {})
        .await;
    Some(list.ok()?.items.into_iter().map(|app| app.name).collect())
}

/// Names of an app's services.
pub(crate) async fn services(client: &Client, path: &AppPath) -> Option<Vec<String>> {
    let list = client.call::<ServiceList>(path, &Empty {}, &Empty {}).await;
    Some(
        list.ok()?
            .items
            .into_iter()
            .map(|service| service.name)
            .collect(),
    )
}

async fn releases(client: &Client, path: &AppPath) -> Option<Vec<String>> {
    let list = client.call::<ReleaseList>(path, &page(), &Empty {}).await;
    Some(
        list.ok()?
            .items
            .into_iter()
            .map(|release| release.id)
            .collect(),
    )
}

async fn builds(client: &Client, path: &AppPath) -> Option<Vec<String>> {
    let list = client.call::<BuildList>(path, &page(), &Empty {}).await;
    Some(list.ok()?.items.into_iter().map(|build| build.id).collect())
}

async fn processes(client: &Client, path: &AppPath) -> Option<Vec<String>> {
    let list = client.call::<ProcessList>(path, &Empty {}, &Empty {}).await;
    Some(
        list.ok()?
            .items
            .into_iter()
            .map(|process| process.id)
            .collect(),
    )
}

/// As much of a list as is looked at.
pub(crate) fn page() -> PageQuery {
    PageQuery {
        limit: Some(LOOKED_AT),
        before: None,
    }
}

/// The known name that is nearest to one that the message names.
fn nearest_in<'k>(message: &str, known: &'k [String]) -> Option<&'k str> {
    // Names are quoted, ids come last.
    let quoted = message.split('`').skip(1).step_by(2);
    let found = quoted
        .chain(message.split(' ').next_back())
        .filter_map(|typed| nearest(typed, known));
    found
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The known name that a typed one is nearest to, if any is near, and how far it is.
pub(crate) fn nearest<'k>(typed: &str, known: &'k [String]) -> Option<(usize, &'k str)> {
    let far = (typed.chars().count() / 3).clamp(1, 3);
    let near = known.iter().map(|name| {
        let whole = strsim::damerau_levenshtein(&typed.to_lowercase(), &name.to_lowercase());
        // The beginning of a name is as good as a misspelt one.
        let begins = typed.len() >= 3 && name.to_lowercase().starts_with(&typed.to_lowercase());
        (if begins { whole.min(1) } else { whole }, name.as_str())
    });
    near.filter(|(distance, _)| (1..=far).contains(distance))
        .min_by_key(|(distance, _)| *distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = [
            "hello".to_owned(),
            "shop".to_owned(),
            "RABCDEFGHIJ".to_owned(),
        ];
        let found = |typed: &str| nearest(typed, &known).map(|(_, name)| name);
        assert_eq!(found("helo"), Some("hello"));
        assert_eq!(
            found("Hello"),
            None,
            "the same but for the case is no other name"
        );
        assert_eq!(found("rabc"), Some("RABCDEFGHIJ"));
        assert_eq!(found("shpo"), Some("shop"));
        assert_eq!(found("api"), None);
        assert_eq!(
            nearest_in("app `hello` has no release RABCDEFGHJ", &known),
            Some("RABCDEFGHIJ")
        );
    }
}
