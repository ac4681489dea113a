//! How a source gets to the rack: a list of contents first, then those that the rack lacks, then the build.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hoist_api::ErrorCode;
use hoist_api::client::CallError;
use hoist_api::endpoints::{BuildCreate, SourceBuild, SourceCreate, SourceUpload};
use hoist_api::types::{
    BuildQuery, Empty, SourceBuildRequest, SourceBuilt, SourceCreateRequest, SourcePath,
};
use tokio::time::{MissedTickBehavior, interval_at};

use crate::args::SourceArgs;
use crate::error::CliError;
use crate::flow::{Flow, is, package_error};
use crate::output::{bytes, how_far, short};
use crate::package::{Listing, PackageError, Source, commit_of};

/// Times that a source is listed when the rack forgets contents of it meanwhile.
const TRIES: usize = 3;
/// The pause between looks at how far an upload is.
const PROGRESS_PAUSE: Duration = Duration::from_millis(150);

impl Flow<'_, '_, '_> {
    /// Sends what the rack lacks of a source, and starts its build unless nothing changed.
    pub(crate) async fn begin_build(
        &mut self,
        args: &SourceArgs,
        source: Source,
    ) -> Result<SourceBuilt, CliError> {
        let request = describe(args, source.root()).await;
        self.context.out.begin("Uploading source")?;
        for tries_left in (0..TRIES).rev() {
            let since = Instant::now();
            let Some(listing) = list(source.clone()).await? else {
                return self.send_archive(&request, source, since).await;
            };
            match self.send_missing(&request, listing, since).await {
                Err(CliError::Call(error)) if is(&error, ErrorCode::RouteNotFound) => {
                    return self.send_archive(&request, source, since).await;
                }
                Err(CliError::Call(error)) if forgot(&error) && tries_left > 0 => {}
                ended => return ended,
            }
        }
        Err(CliError::refused(
            "the rack forgot contents of the source again and again",
            "deploy again when no other deploy of the app is under way",
        ))
    }

    async fn send_missing(
        &mut self,
        request: &SourceBuildRequest,
        listing: Listing,
        since: Instant,
    ) -> Result<SourceBuilt, CliError> {
        let path = self.path();
        let list = SourceCreateRequest {
            entries: listing.entries.clone(),
        };
        let known = self
            .client
            .call::<SourceCreate>(&path, &Empty {}, &list)
            .await?;
        let path = SourcePath {
            app: path.app,
            source: known.id,
        };
        let parts = listing.parts(&known.missing);
        let (files, total) = (parts.files.len(), parts.bytes());
        if files > 0 {
            let upload = parts.send();
            let sending = self
                .client
                .upload::<SourceUpload>(&path, &Empty {}, upload.pieces);
            self.shown(sending, &upload.sent, Some(total)).await?;
        }
        let mut words = match files {
            0 => vec!["nothing new".to_owned()],
            files if files < listing.len() => {
                let text = format!("{files} of {} files", listing.len());
                vec![text, bytes(total)]
            }
            _ => Vec::new(),
        };
        self.uploaded(&mut words, since)?;
        let built = self
            .client
            .call::<SourceBuild>(&path, &Empty {}, request)
            .await?;
        Ok(built)
    }

    /// A rack of before, or names that are no text: everything at once.
    async fn send_archive(
        &mut self,
        request: &SourceBuildRequest,
        source: Source,
        since: Instant,
    ) -> Result<SourceBuilt, CliError> {
        let request = request.clone();
        let query = BuildQuery {
            description: request.description,
            git_sha: request.git_sha,
            git_message: request.git_message,
            manifest: request.manifest,
            no_cache: request.no_cache,
            from: request.from,
        };
        let path = self.path();
        let upload = source.send();
        let sending = self
            .client
            .upload::<BuildCreate>(&path, &query, upload.pieces);
        let build = self.shown(sending, &upload.sent, None).await?;
        self.uploaded(&mut Vec::new(), since)?;
        Ok(SourceBuilt {
            build,
            unchanged: None,
        })
    }

    fn uploaded(&mut self, words: &mut Vec<String>, since: Instant) -> Result<(), CliError> {
        if self.timed {
            words.push(short(since.elapsed()));
        }
        if words.is_empty() {
            self.context.out.done("OK")
        } else {
            self.context.out.done(&format!("OK ({})", words.join(", ")))
        }
    }

    /// Shows how far an upload is until it ended.
    pub(crate) async fn shown<T>(
        &mut self,
        sending: impl Future<Output = Result<T, CallError>>,
        sent: &Arc<AtomicU64>,
        total: Option<u64>,
    ) -> Result<T, CliError> {
        let mut ticks = interval_at(tokio::time::Instant::now() + PROGRESS_PAUSE, PROGRESS_PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                ended = &mut sending => return Ok(ended?),
                _ = ticks.tick() => {
                    let sent = sent.load(Ordering::Relaxed);
                    let text = total.map_or_else(|| bytes(sent), |total| how_far(sent, total));
                    self.context.out.progress(&text)?;
                }
            }
        }
    }
}

/// Whether the rack collected contents between the list and the build.
fn forgot(error: &CallError) -> bool {
    is(error, ErrorCode::SourceIncomplete) || is(error, ErrorCode::SourceNotFound)
}

async fn list(source: Source) -> Result<Option<Listing>, CliError> {
    let listed = tokio::task::spawn_blocking(move || Listing::of(&source)).await;
    listed
        .unwrap_or(Err(PackageError::Interrupted))
        .map_err(package_error)
}

/// What is said of a source: by the user, and by the commit of a clean working tree.
async fn describe(args: &SourceArgs, root: &Path) -> SourceBuildRequest {
    let root = root.to_owned();
    let commit = tokio::task::spawn_blocking(move || commit_of(&root))
        .await
        .ok()
        .flatten();
    let (git_sha, git_message) = commit.map(|commit| (commit.sha, commit.subject)).unzip();
    SourceBuildRequest {
        description: args.description.clone(),
        git_sha,
        git_message,
        manifest: args.manifest.clone(),
        rebuild: args.rebuild,
        no_cache: args.no_cache,
        from: args.from.from.clone(),
    }
}
