//! What several commands do in common: make sure of the app, build, promote, and tell what happens meanwhile.

use std::time::Instant;

use hoist_api::ErrorCode;
use hoist_api::client::{CallError, Client};
use hoist_api::endpoints::{
    AppCreate, AppGet, EnvGet, PromotionCreate, PromotionGet, ReleaseDiffGet, ReleaseGet,
    ReleaseList,
};
use hoist_api::types::{
    App, AppCreateRequest, AppPath, Build, BuildStatus, Empty, EnvQuery, IfBusy, IncludedRelease,
    Outcome, PageQuery, PassedOverRelease, Promotion, PromotionCreateRequest, PromotionPath,
    ReleaseDiffQuery, ReleasePath, RevealQuery, Unchanged,
};
use serde::Serialize;

use crate::args::{PromoteArgs, SourceArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::lineage;
use crate::output::{Subject, log_line, not_live, phases, short};
use crate::package::{PackageError, Source};

/// What a source came to.
pub(crate) struct Built {
    pub(crate) build: Build,
    /// The release to promote.
    pub(crate) release: String,
    /// Present when nothing had to be built.
    pub(crate) unchanged: Option<Unchanged>,
    pub(crate) stands_on: StandsOn,
}

/// What a new release stands on, for programs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct StandsOn {
    includes: Vec<IncludedRelease>,
    passed_over: Vec<PassedOverRelease>,
}

/// One command's dealings with one app of one rack.
pub(crate) struct Flow<'f, 'a, 'o> {
    pub(crate) context: &'f mut Context<'a, 'o>,
    pub(crate) client: &'f Client,
    pub(crate) app: String,
    /// Steps end with the time they took.
    pub(crate) timed: bool,
}

impl Flow<'_, '_, '_> {
    pub(crate) fn path(&self) -> AppPath {
        AppPath {
            app: self.app.clone(),
        }
    }

    fn ok(&self, since: Instant) -> String {
        if self.timed {
            format!("OK ({})", short(since.elapsed()))
        } else {
            "OK".to_owned()
        }
    }

    /// The app, created when it is missing and that is wanted. Says so.
    pub(crate) async fn ensure_app(&mut self, no_create: bool) -> Result<App, CliError> {
        match self
            .client
            .call::<AppGet>(&self.path(), &Empty {}, &Empty {})
            .await
        {
            Err(error) if is(&error, ErrorCode::AppNotFound) && !no_create => {}
            found => return Ok(found?),
        }
        self.context
            .out
            .begin(&format!("Creating app {}", self.app))?;
        let body = AppCreateRequest {
            name: self.app.clone(),
        };
        let app = self
            .client
            .call::<AppCreate>(&Empty {}, &Empty {}, &body)
            .await?;
        self.context.out.done("OK")?;
        Ok(app)
    }

    /// Finds what belongs to the source of a directory.
    pub(crate) fn package(&mut self, args: &SourceArgs) -> Result<Source, CliError> {
        let since = Instant::now();
        self.context.out.begin("Packaging source")?;
        let directory = self.context.environment.directory.join(&args.dir);
        let data_dir = self.context.data_dir().ok();
        let source = Source::scan(&directory, args.manifest.as_deref(), data_dir.as_deref());
        let source = source.map_err(package_error)?;
        let ok = self.ok(since);
        self.context.out.done(&ok)?;
        for path in &source.left_out {
            self.context
                .out
                .warn(&format!("{} is left out: it is no file", path.display()))?;
        }
        Ok(source)
    }

    /// Uploads a source, builds it, and shows the build's output. Ends with the release that it made, or with the one that
    /// there is when nothing changed.
    pub(crate) async fn build(
        &mut self,
        args: &SourceArgs,
        source: Source,
    ) -> Result<Built, CliError> {
        let begun = self.begin_build(args, source).await?;
        let mut built = match begun.unchanged {
            Some(unchanged) => {
                self.context.out.chatter(&format!(
                    "nothing changed since {}: no build (`--rebuild` builds anyway)",
                    begun.build.id
                ))?;
                Built {
                    build: begun.build,
                    release: unchanged.release.clone(),
                    unchanged: Some(unchanged),
                    stands_on: StandsOn::default(),
                }
            }
            None => self.see_build_through(&begun.build).await?,
        };
        if !self.context.out.json() {
            self.context.out.label("Build", &built.build.id)?;
            self.context.out.label("Release", &built.release)?;
        }
        // Of what is active there is nothing more to tell.
        if !built.unchanged.as_ref().is_some_and(|found| found.active) {
            built.stands_on = self.tell_what_it_stands_on(&built.release).await?;
        }
        Ok(built)
    }

    /// Says what goes out with a release, and what does not. A rack of before has nothing to say.
    async fn tell_what_it_stands_on(&mut self, release: &str) -> Result<StandsOn, CliError> {
        let path = ReleasePath {
            app: self.app.clone(),
            release: release.to_owned(),
        };
        let query = RevealQuery { reveal: false };
        let asked = self.client.call::<ReleaseGet>(&path, &query, &Empty {});
        let Ok(release) = asked.await else {
            return Ok(StandsOn::default());
        };
        lineage::tell(self.context.out, &release)?;
        Ok(StandsOn {
            includes: release.includes,
            passed_over: release.passed_over,
        })
    }

    /// Follows a build that began; anything but a release is an error.
    async fn see_build_through(&mut self, begun: &Build) -> Result<Built, CliError> {
        let since = Instant::now();
        self.context.out.begin("Starting build")?;
        self.context.out.done("OK")?;
        let (id, app) = (&begun.id, &self.app);
        self.context.goes_on = Some(format!(
            "the build goes on: `hoist builds logs {id} -a {app}`; `hoist builds cancel {id} -a {app}` ends it"
        ));
        let build = self.follow_build(begun).await?;
        self.context.goes_on = None;
        for warning in &build.warnings {
            self.context.out.warn(warning)?;
        }
        let release = build.release.clone();
        let Some(release) = release.filter(|_| build.status == BuildStatus::Complete) else {
            let reason = build.reason.as_deref().unwrap_or("its log says why");
            let how = match build.status {
                BuildStatus::Cancelled => "was",
                _ => "failed:",
            };
            let message = format!(
                "build {} of {} {how} {reason}; nothing changed",
                build.id, self.app
            );
            return Err(CliError::refused(
                message,
                format!("`hoist builds logs {} -a {}`", build.id, self.app),
            ));
        };
        if self.timed {
            self.context
                .out
                .note(&format!("built in {}", short(since.elapsed())))?;
        }
        Ok(Built {
            build,
            release,
            unchanged: None,
            stands_on: StandsOn::default(),
        })
    }

    /// The release that the next one would be made from. Says when there is a newer one.
    pub(crate) async fn next_release(&mut self) -> Result<String, CliError> {
        let newest = self.newest_release().await?;
        let query = EnvQuery::default();
        let env = self
            .client
            .call::<EnvGet>(&self.path(), &query, &Empty {})
            .await?;
        let next = env.release.unwrap_or_else(|| newest.clone());
        if next != newest {
            self.context.out.chatter(&format!(
                "{newest} is newer and was passed over: `hoist releases info {newest} -a {}`",
                self.app
            ))?;
        }
        Ok(next)
    }

    /// The newest release.
    async fn newest_release(&mut self) -> Result<String, CliError> {
        let query = PageQuery {
            limit: Some(1),
            before: None,
        };
        let newest = self
            .client
            .call::<ReleaseList>(&self.path(), &query, &Empty {})
            .await?;
        newest
            .items
            .into_iter()
            .next()
            .map(|release| release.id)
            .ok_or_else(|| {
                CliError::refused(
                    format!("{} has no release yet", self.app),
                    format!("`hoist deploy -a {}` makes one", self.app),
                )
            })
    }

    /// Promotes what a source came to, unless it is active already; a promotion of it that is in flight is followed.
    pub(crate) async fn make_live(
        &mut self,
        built: &Built,
        args: &PromoteArgs,
    ) -> Result<Option<Promotion>, CliError> {
        let in_flight = match &built.unchanged {
            Some(unchanged) if unchanged.active => {
                let text = format!("{} is active already", built.release);
                self.context.out.chatter(&text)?;
                return Ok(None);
            }
            Some(unchanged) if IfBusy::from(args.if_busy) == IfBusy::Wait => {
                unchanged.promotion.clone()
            }
            _ => None,
        };
        let Some(number) = in_flight else {
            let promotion = self.promote(&built.release, args, &Subject::Deploy).await?;
            return Ok(Some(promotion));
        };
        self.context
            .out
            .begin(&format!("Following promotion {number}"))?;
        let path = PromotionPath {
            app: self.app.clone(),
            number,
        };
        let promotion = self
            .client
            .call::<PromotionGet>(&path, &Empty {}, &Empty {})
            .await?;
        self.see_through(promotion, &Subject::Deploy)
            .await
            .map(Some)
    }

    /// Promotes a release and follows it to its end; anything but success is an error.
    pub(crate) async fn promote(
        &mut self,
        release: &str,
        args: &PromoteArgs,
        subject: &Subject,
    ) -> Result<Promotion, CliError> {
        let begun = self.begin_promotion(release, args).await?;
        self.see_through(begun, subject).await
    }

    /// Begins to promote a release, after what it changes was told.
    pub(crate) async fn begin_promotion(
        &mut self,
        release: &str,
        args: &PromoteArgs,
    ) -> Result<Promotion, CliError> {
        self.tell_what_is_waited_for(args).await?;
        self.tell_what_changes(release).await?;
        self.context.out.begin(&format!("Promoting {release}"))?;
        let path = ReleasePath {
            app: self.app.clone(),
            release: release.to_owned(),
        };
        let body = PromotionCreateRequest {
            if_busy: args.if_busy.into(),
            timeout_seconds: args.timeout,
        };
        self.not_known_to_have_begun();
        let promotion = self
            .client
            .call::<PromotionCreate>(&path, &Empty {}, &body)
            .await?;
        Ok(promotion)
    }

    /// Who interrupts from here on, before the rack has answered, learns where to look.
    pub(crate) fn not_known_to_have_begun(&mut self) {
        self.context.goes_on = Some(format!(
            "whether it began shows `hoist promotions -a {}`",
            self.app
        ));
    }

    /// Says how a release differs from the active one. Without one, and to a rack of before, there is nothing to say.
    pub(crate) async fn tell_what_changes(&mut self, release: &str) -> Result<(), CliError> {
        let path = ReleasePath {
            app: self.app.clone(),
            release: release.to_owned(),
        };
        let query = ReleaseDiffQuery::default();
        let asked = self.client.call::<ReleaseDiffGet>(&path, &query, &Empty {});
        let Ok(diff) = asked.await else {
            return Ok(());
        };
        match lineage::changes(&diff).filter(|_| !self.context.out.json()) {
            Some(line) => self.context.out.chatter(&line),
            None => Ok(()),
        }
    }

    /// Leaves a promotion that began to itself.
    pub(crate) fn leave(&mut self, promotion: Promotion) -> Result<Promotion, CliError> {
        self.context.out.note(&goes_on(&promotion))?;
        Ok(promotion)
    }

    /// Says that another promotion comes first, when one is in flight.
    pub(crate) async fn tell_what_is_waited_for(
        &mut self,
        args: &PromoteArgs,
    ) -> Result<(), CliError> {
        if IfBusy::from(args.if_busy) != IfBusy::Wait {
            return Ok(());
        }
        let app = self
            .client
            .call::<AppGet>(&self.path(), &Empty {}, &Empty {})
            .await?;
        match app.promotion {
            None => Ok(()),
            Some(number) => self.context.out.note(&format!(
                "promotion {number} is in flight: waiting for its end (`--if-busy supersede` ends it)"
            )),
        }
    }

    /// Follows a promotion that began and tells how it ended. With `--json` that is left to the caller.
    pub(crate) async fn see_through(
        &mut self,
        promotion: Promotion,
        subject: &Subject,
    ) -> Result<Promotion, CliError> {
        self.context.goes_on = Some(goes_on(&promotion));
        let (ended, told) = self.follow(promotion).await?;
        self.context.goes_on = None;
        if ended.outcome == Some(Outcome::Succeeded) {
            let times = Some(phases(&ended)).filter(|times| self.timed && !times.is_empty());
            let ok = times.map_or_else(|| "OK".to_owned(), |times| format!("OK ({times})"));
            self.context.out.done(&ok)?;
            return Ok(ended);
        }
        self.context.out.done(match ended.outcome {
            Some(Outcome::Cancelled) => "CANCELLED",
            Some(Outcome::Superseded) => "SUPERSEDED",
            _ => "FAILED",
        })?;
        for line in not_live(&ended, subject, &told) {
            self.context.out.chatter(&line)?;
        }
        Ok(ended)
    }
}

/// How to look at a promotion that nobody follows, and how to end it.
fn goes_on(promotion: &Promotion) -> String {
    let Promotion { number, app, .. } = promotion;
    format!(
        "the promotion goes on: `hoist promotions info {number} -a {app}`; `hoist cancel -a {app}` ends it"
    )
}

/// Success, or the error that becomes exit code 4. One that was left to itself is no failure.
pub(crate) fn live(promotion: &Promotion) -> Result<(), CliError> {
    let left = promotion.outcome.is_none() && promotion.ended.is_none();
    if left || promotion.outcome == Some(Outcome::Succeeded) {
        Ok(())
    } else {
        Err(CliError::NotLive)
    }
}

/// Whether the rack refused with this code.
pub(crate) fn is(error: &CallError, code: ErrorCode) -> bool {
    error.refusal().is_some_and(|body| body.code == code)
}

/// A source that cannot be packaged, with what helps.
pub(crate) fn package_error(error: PackageError) -> CliError {
    let hint = match &error {
        PackageError::Empty(_) => Some("look at .gitignore and .dockerignore"),
        PackageError::Changed(_) => {
            Some("try again when nothing writes there, or name it in .gitignore")
        }
        PackageError::NotADirectory(_) => Some("name the directory of the source"),
        PackageError::NoManifest { .. } => {
            Some("the path of --manifest begins at the source directory")
        }
        _ => None,
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    CliError::Refused {
        message,
        hint: hint.map(str::to_owned),
    }
}

/// Lines of a log for people.
pub(crate) fn last_log(promotion: &Promotion) -> impl Iterator<Item = String> {
    promotion.last_log.iter().map(log_line)
}
