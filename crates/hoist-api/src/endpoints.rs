//! Every operation of the rack, and the one list of them.

use schemars::SchemaGenerator;

use crate::endpoint::{Endpoint, Kind, Method, Scope};
use crate::error::ErrorCode::{self, *};
use crate::openapi::Operation;
use crate::sse::Streamed;
use crate::types::*;

/// Declares operations, and `operations` with all of them: what the OpenAPI writer and the coverage tests go through.
macro_rules! operations {
    ($(
        $(#[$doc:meta])*
        $name:ident($id:literal, $method:ident $path:literal, $scope:ident, $kind:ident, $success:literal) {
            path: $path_type:ty,
            query: $query:ty,
            body: $body:ty,
            reply: $reply:ty,
            errors: [$($error:ident),*],
            summary: $summary:literal,
        }
    )+) => {
        $(
            #[doc = $summary]
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl Endpoint for $name {
                const METHOD: Method = Method::$method;
                const PATH: &'static str = $path;
                const ID: &'static str = $id;
                const SUMMARY: &'static str = $summary;
                const SCOPE: Scope = Scope::$scope;
                const KIND: Kind = Kind::$kind;
                const SUCCESS: u16 = $success;
                const ERRORS: &'static [ErrorCode] = &[$($error),*];
                type Path = $path_type;
                type Query = $query;
                type Body = $body;
                type Reply = $reply;
            }
        )+

        /// All operations, in the order of the document.
        pub fn operations(schemas: &mut SchemaGenerator) -> Vec<Operation> {
            vec![$(Operation::of::<$name>(schemas)),+]
        }

        /// Calls a macro with the type of every operation: `for_each_operation!(mount)` is `mount!(RackGet, …)`.
        #[macro_export]
        macro_rules! for_each_operation {
            ($callback:ident) => { $callback!($($name),+) };
        }
    };
}

operations! {
    RackGet("get_rack", Get "/rack", Read, Json, 200) {
        path: Empty, query: Empty, body: Empty, reply: RackInfo, errors: [],
        summary: "What the rack is.",
    }
    /// Answers before it stops.
    RackStop("stop_rack", Post "/rack/stop", Admin, Json, 202) {
        path: Empty, query: Empty, body: RackStopRequest, reply: RackInfo, errors: [],
        summary: "Stops the rack; apps keep running unless asked otherwise.",
    }
    DoctorGet("get_doctor", Get "/doctor", Read, Json, 200) {
        path: Empty, query: Empty, body: Empty, reply: Doctor, errors: [],
        summary: "What each loop last did and waits for, and what isolation the machine gives.",
    }
    OpenApiGet("get_openapi", Get "/openapi.json", Read, Json, 200) {
        path: Empty, query: Empty, body: Empty, reply: serde_json::Value, errors: [],
        summary: "This document.",
    }
    AppList("list_apps", Get "/apps", Read, Json, 200) {
        path: Empty, query: Empty, body: Empty, reply: List<App>, errors: [],
        summary: "Lists the apps.",
    }
    AppCreate("create_app", Post "/apps", Admin, Json, 201) {
        path: Empty, query: Empty, body: AppCreateRequest, reply: App,
        errors: [AppExists, HostTaken, InvalidName],
        summary: "Creates an app.",
    }
    AppGet("get_app", Get "/apps/{app}", Read, Json, 200) {
        path: AppPath, query: Empty, body: Empty, reply: App, errors: [AppNotFound],
        summary: "An app.",
    }
    AppDelete("delete_app", Delete "/apps/{app}", Admin, Json, 202) {
        path: AppPath, query: DeleteQuery, body: Empty, reply: AppDeleted,
        errors: [AppNotFound, ConfirmationRequired],
        summary: "Begins to delete an app: unroutes, drains, removes, then forgets it; volumes stay unless asked otherwise.",
    }
    AppParamsGet("get_app_params", Get "/apps/{app}/params", Read, Json, 200) {
        path: AppPath, query: Empty, body: Empty, reply: AppParams, errors: [AppNotFound],
        summary: "What is set for an app as a whole: the limit of its promotions, and how many releases are kept.",
    }
    AppParamsUpdate("update_app_params", Patch "/apps/{app}/params", Deploy, Json, 200) {
        path: AppPath, query: Empty, body: AppParamsUpdateRequest, reply: AppParams, errors: [AppNotFound, AppDeleting],
        summary: "Sets parameters of an app, or gives them back; a promotion in flight keeps what it began with.",
    }
    AppRestart("restart_app", Post "/apps/{app}/restart", Deploy, Json, 201) {
        path: AppPath, query: Empty, body: RestartRequest, reply: Promotion,
        errors: [AppNotFound, ServiceNotFound, NothingActive, AppDeleting, PromotionInProgress],
        summary: "Promotes the active release again with new processes.",
    }
    AppStop("stop_app", Post "/apps/{app}/stop", Deploy, Json, 202) {
        path: AppPath, query: Empty, body: Empty, reply: App, errors: [AppNotFound, AppDeleting],
        summary: "Drains and stops an app until it is started again.",
    }
    AppStart("start_app", Post "/apps/{app}/start", Deploy, Json, 201) {
        path: AppPath, query: Empty, body: Empty, reply: Promotion,
        errors: [AppNotFound, NothingActive, AppDeleting, PromotionInProgress],
        summary: "Starts a stopped app by promoting its active release.",
    }
    /// The archive holds the source directory; entries that point outside are refused.
    BuildCreate("create_build", Post "/apps/{app}/builds", Deploy, Upload, 201) {
        path: AppPath, query: BuildQuery, body: Empty, reply: Build,
        errors: [AppNotFound, AppDeleting, ReleaseNotFound, NothingActive, InvalidArchive, InvalidManifest, TooLarge, StorageFull],
        summary: "Starts a build from an uploaded tar archive of the source.",
    }
    /// The answer names the contents that the rack lacks; the others are not sent again.
    SourceCreate("create_source", Post "/apps/{app}/sources", Deploy, Json, 201) {
        path: AppPath, query: Empty, body: SourceCreateRequest, reply: Source,
        errors: [AppNotFound, AppDeleting, InvalidArchive, TooLarge, StorageFull],
        summary: "Lists what belongs to a source, by the contents of its files.",
    }
    /// Each entry of the archive is a regular file named by its SHA-256. What was taken stays, also of an upload that broke off.
    SourceUpload("upload_source", Put "/apps/{app}/sources/{source}", Deploy, Upload, 200) {
        path: SourcePath, query: Empty, body: Empty, reply: Source,
        errors: [AppNotFound, AppDeleting, SourceNotFound, InvalidArchive, TooLarge, StorageFull],
        summary: "Sends contents of a source that the rack lacks, as a tar archive.",
    }
    SourceBuild("build_source", Post "/apps/{app}/sources/{source}/builds", Deploy, Json, 201) {
        path: SourcePath, query: Empty, body: SourceBuildRequest, reply: SourceBuilt,
        errors: [AppNotFound, AppDeleting, ReleaseNotFound, NothingActive, SourceNotFound, SourceIncomplete, InvalidManifest, StorageFull],
        summary: "Builds a source, unless nothing changed since the last build of it.",
    }
    BuildList("list_builds", Get "/apps/{app}/builds", Read, Json, 200) {
        path: AppPath, query: PageQuery, body: Empty, reply: List<Build>, errors: [AppNotFound],
        summary: "Lists the builds of an app, newest first.",
    }
    BuildGet("get_build", Get "/apps/{app}/builds/{build}", Read, Json, 200) {
        path: BuildPath, query: Empty, body: Empty, reply: Build, errors: [AppNotFound, BuildNotFound],
        summary: "A build.",
    }
    /// Answers when its processes are gone.
    BuildCancel("cancel_build", Post "/apps/{app}/builds/{build}/cancel", Deploy, Json, 200) {
        path: BuildPath, query: Empty, body: Empty, reply: Build, errors: [AppNotFound, BuildNotFound, Conflict],
        summary: "Ends a build that runs; it makes no release.",
    }
    BuildLogs("stream_build_logs", Get "/apps/{app}/builds/{build}/logs", Read, EventStream, 200) {
        path: BuildPath, query: Empty, body: Empty, reply: Streamed<LogLine, Build>,
        errors: [AppNotFound, BuildNotFound],
        summary: "Streams a build's output from its start; ends with the build.",
    }
    /// The archive holds the slug, the log and the manifest; no variables.
    BuildExport("export_build", Get "/apps/{app}/builds/{build}/export", Deploy, Download, 200) {
        path: BuildPath, query: Empty, body: Empty, reply: Empty,
        errors: [AppNotFound, BuildNotFound, BuildNotComplete, TooLarge],
        summary: "Takes a build away as an archive, for `import_build`.",
    }
    /// The archive is one of `export_build`. The build has a new id and makes a release, as one of a source does.
    BuildImport("import_build", Post "/apps/{app}/builds/import", Deploy, Upload, 201) {
        path: AppPath, query: Empty, body: Empty, reply: Build,
        errors: [AppNotFound, AppDeleting, InvalidArchive, InvalidManifest, Unsupported, TooLarge, StorageFull],
        summary: "Makes a build of one that was taken from another app or rack.",
    }
    /// The archive holds releases with their builds, sizes, limits and parameters; no history. Variables are sealed by the
    /// passphrase, or left out.
    AppExport("export_app", Post "/apps/{app}/export", Deploy, Download, 200) {
        path: AppPath, query: Empty, body: AppExportRequest, reply: Empty,
        errors: [AppNotFound, AppDeleting, NothingActive, BuildNotComplete, TooLarge],
        summary: "Takes an app away as an archive, for `import_app`.",
    }
    /// The archive is one of `export_app`, before which an entry `passphrase` may come that opens its variables. Ids of
    /// builds and releases are kept where they are free.
    AppImport("import_app", Post "/imports", Admin, Upload, 201) {
        path: Empty, query: AppImportQuery, body: Empty, reply: AppImported,
        errors: [AppExists, HostTaken, InvalidName, InvalidEnv, InvalidArchive, WrongPassphrase, Conflict, Unsupported, TooLarge, StorageFull],
        summary: "Makes an app of one that was taken from another rack; nothing of it runs yet.",
    }
    ReleaseList("list_releases", Get "/apps/{app}/releases", Read, Json, 200) {
        path: AppPath, query: PageQuery, body: Empty, reply: List<Release>, errors: [AppNotFound],
        summary: "Lists the releases of an app, newest first.",
    }
    ReleaseGet("get_release", Get "/apps/{app}/releases/{release}", Read, Json, 200) {
        path: ReleasePath, query: RevealQuery, body: Empty, reply: Release, errors: [AppNotFound, ReleaseNotFound],
        summary: "A release with its manifest and variables.",
    }
    ReleaseCreate("create_release", Post "/apps/{app}/releases", Deploy, Json, 201) {
        path: AppPath, query: Empty, body: ReleaseCreateRequest, reply: Release,
        errors: [AppNotFound, ReleaseNotFound, BuildNotComplete, NothingActive, NoRelease, AppDeleting],
        summary: "Makes a release of one's build and another's environment, which is not promoted.",
    }
    /// What serves, is warm, in flight, staged, a way back, run by a one-off, or among the newest stays, and all that it needs.
    ReleasePrune("prune_releases", Post "/prune", Admin, Json, 200) {
        path: Empty, query: Empty, body: PruneRequest, reply: Pruned, errors: [AppNotFound],
        summary: "Removes releases and builds that nobody needs, of an app or of all, or says what that would be; never a volume.",
    }
    ReleaseDiffGet("diff_release", Get "/apps/{app}/releases/{release}/diff", Read, Json, 200) {
        path: ReleasePath, query: ReleaseDiffQuery, body: Empty, reply: ReleaseDiff,
        errors: [AppNotFound, ReleaseNotFound, NothingActive, NoRelease],
        summary: "How a release differs from the active one, or from another: build, manifest, names of variables.",
    }
    PromotionCreate("promote_release", Post "/apps/{app}/releases/{release}/promotions", Deploy, Json, 201) {
        path: ReleasePath, query: Empty, body: PromotionCreateRequest, reply: Promotion,
        errors: [AppNotFound, ReleaseNotFound, BuildNotComplete, AppDeleting, PromotionInProgress],
        summary: "Promotes a release.",
    }
    RollbackGet("get_rollback", Get "/apps/{app}/rollback", Read, Json, 200) {
        path: AppPath, query: Empty, body: Empty, reply: RollbackTarget, errors: [AppNotFound, NothingActive, NothingToRollBackTo],
        summary: "The release that a rollback would go back to now: the last one that served before.",
    }
    RollbackCreate("create_rollback", Post "/apps/{app}/rollbacks", Deploy, Json, 201) {
        path: AppPath, query: Empty, body: RollbackRequest, reply: Rollback,
        errors: [AppNotFound, ReleaseNotFound, NothingToRollBackTo, AppDeleting, PromotionInProgress],
        summary: "Promotes a copy of an earlier release: the last one that served before, unless named.",
    }
    PromotionList("list_promotions", Get "/apps/{app}/promotions", Read, Json, 200) {
        path: AppPath, query: PageQuery, body: Empty, reply: List<Promotion>, errors: [AppNotFound],
        summary: "Lists the promotions of an app, newest first.",
    }
    PromotionGet("get_promotion", Get "/apps/{app}/promotions/{number}", Read, Json, 200) {
        path: PromotionPath, query: Empty, body: Empty, reply: Promotion, errors: [AppNotFound, PromotionNotFound],
        summary: "A promotion: where it stands and what it waits for, or how it ended and why.",
    }
    PromotionEvents("stream_promotion_events", Get "/apps/{app}/promotions/{number}/events", Read, EventStream, 200) {
        path: PromotionPath, query: Empty, body: Empty, reply: Streamed<PromotionLine, Promotion>,
        errors: [AppNotFound, PromotionNotFound],
        summary: "Streams what happens in a promotion from its start; ends with the promotion.",
    }
    PromotionCancel("cancel_promotion", Post "/apps/{app}/cancel", Deploy, Json, 202) {
        path: AppPath, query: CancelQuery, body: Empty, reply: Promotion, errors: [AppNotFound, NothingInFlight],
        summary: "Ends the promotion in flight, in whatever phase it is, and goes back; one that goes back already does so.",
    }
    EnvGet("get_env", Get "/apps/{app}/env", Read, Json, 200) {
        path: AppPath, query: EnvQuery, body: Empty, reply: Env, errors: [AppNotFound, ReleaseNotFound, NothingActive],
        summary: "The environment that the next release starts from, or that of another one.",
    }
    EnvUpdate("update_env", Patch "/apps/{app}/env", Deploy, Json, 201) {
        path: AppPath, query: Empty, body: EnvUpdateRequest, reply: Release,
        errors: [AppNotFound, AppDeleting, ReleaseNotFound, NothingActive, InvalidEnv, TooLarge, Conflict],
        summary: "Changes the environment: one new release, which is not promoted.",
    }
    EnvMaskGet("get_env_mask", Get "/apps/{app}/env/mask", Read, Json, 200) {
        path: AppPath, query: Empty, body: Empty, reply: EnvMask, errors: [AppNotFound],
        summary: "Names of variables whose values are shown only when asked for.",
    }
    EnvMaskUpdate("update_env_mask", Patch "/apps/{app}/env/mask", Deploy, Json, 200) {
        path: AppPath, query: Empty, body: EnvMaskRequest, reply: EnvMask,
        errors: [AppNotFound, AppDeleting, InvalidEnv],
        summary: "Changes which variables are masked.",
    }
    ServiceList("list_services", Get "/apps/{app}/services", Read, Json, 200) {
        path: AppPath, query: Empty, body: Empty, reply: List<Service>, errors: [AppNotFound],
        summary: "Lists the services of an app with their sizes.",
    }
    ScaleUpdate("update_scale", Put "/apps/{app}/scale", Deploy, Json, 200) {
        path: AppPath, query: Empty, body: ScaleRequest, reply: Scaled,
        errors: [AppNotFound, ServiceNotFound, AppDeleting],
        summary: "Sets sizes and limits of services, or gives them back to the manifest; a size alone touches no process that stays.",
    }
    ProcessList("list_processes", Get "/apps/{app}/processes", Read, Json, 200) {
        path: AppPath, query: Empty, body: Empty, reply: List<Process>, errors: [AppNotFound],
        summary: "Lists the processes of an app.",
    }
    ProcessGet("get_process", Get "/apps/{app}/processes/{process}", Read, Json, 200) {
        path: ProcessPath, query: Empty, body: Empty, reply: Process, errors: [AppNotFound, ProcessNotFound],
        summary: "A process.",
    }
    /// The process leaves the route and finishes its requests first. A one-off is stopped for good.
    ProcessStop("stop_process", Post "/apps/{app}/processes/{process}/stop", Deploy, Json, 202) {
        path: ProcessPath, query: Empty, body: Empty, reply: Process,
        errors: [AppNotFound, ProcessNotFound, AppDeleting, PromotionInProgress, Conflict],
        summary: "Stops a process; its service starts another in its slot, which comes back through the gate.",
    }
    /// It runs with the environment, user, limits and volumes of its service, without `PORT`. Attach to its session with
    /// `attach_session`, or it is stopped; a one-off without one goes on until it ends.
    RunCreate("create_run", Post "/apps/{app}/processes", Deploy, Json, 201) {
        path: AppPath, query: Empty, body: RunRequest, reply: Run,
        errors: [AppNotFound, AppDeleting, ServiceNotFound, ReleaseNotFound, BuildNotComplete, NothingActive,
                 InvalidEnv, Unsupported, TooManySessions],
        summary: "Starts a one-off: a process of a service that runs a command of its own, once.",
    }
    ExecCreate("create_exec", Post "/apps/{app}/processes/{process}/execs", Deploy, Json, 201) {
        path: BesidePath, query: Empty, body: ExecRequest, reply: Exec,
        errors: [AppNotFound, ProcessNotFound, Unsupported, TooManySessions],
        summary: "Runs a command beside a running process, in its namespaces and with its limits and user.",
    }
    /// Binary messages. The first byte says what follows: 0 input, 1 output, 2 standard error; 3 to the rack: no more
    /// input; 4 to the rack: the terminal's size as JSON; 5 to the rack: interrupt; 6 to the client, last: how it ended,
    /// as JSON. A session that closes without it was cut off. When the client goes away, the process is stopped.
    SessionAttach("attach_session", Get "/sessions/{session}", Deploy, Session, 101) {
        path: SessionPath, query: Empty, body: Empty, reply: SessionExit,
        errors: [SessionNotFound],
        summary: "Attaches to the streams of a process, by WebSocket.",
    }
    LogStream("stream_logs", Get "/apps/{app}/logs", Read, EventStream, 200) {
        path: AppPath, query: LogQuery, body: Empty, reply: Streamed<LogLine, Empty>,
        errors: [AppNotFound, ServiceNotFound],
        summary: "Streams log lines of an app, oldest first; without `follow` it ends after what is kept.",
    }
    EventList("list_events", Get "/apps/{app}/events", Read, Json, 200) {
        path: AppPath, query: PageQuery, body: Empty, reply: List<Event>, errors: [AppNotFound],
        summary: "Lists what happened to an app, newest first.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_has_its_own_place_and_name() {
        let all = operations(&mut SchemaGenerator::default());
        let places: BTreeSet<_> = all
            .iter()
            .map(|operation| (operation.path, operation.method))
            .collect();
        let names: BTreeSet<_> = all.iter().map(|operation| operation.id).collect();
        assert_eq!(places.len(), all.len());
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn parameters_in_paths_are_fields() {
        for operation in operations(&mut SchemaGenerator::default()) {
            let in_path: BTreeSet<_> = operation
                .path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            let fields: BTreeSet<_> = operation
                .path_params
                .iter()
                .map(|param| param.name.as_str())
                .collect();
            assert_eq!(in_path, fields, "{}", operation.path);
        }
    }

    #[test]
    fn looking_needs_no_more_than_read() {
        for operation in operations(&mut SchemaGenerator::default()) {
            // A WebSocket begins as a look, and acts; a build that is taken away is an app's whole code.
            let more = matches!(operation.kind, Kind::Session | Kind::Download);
            let looks = operation.method == Method::Get && !more;
            assert_eq!(looks, operation.scope == Scope::Read, "{}", operation.id);
        }
    }
}
