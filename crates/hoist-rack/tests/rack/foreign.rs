//! Ring 2: ids that name nothing, or something of another app, in every operation that takes one. They are refused with a
//! hint, and nothing changes.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::net::TcpStream;

use hoist_api::ErrorCode;
use hoist_api::endpoint::{Endpoint, Kind, Method};
use hoist_core::id::AppName;
use hoist_core::model::{Cancel, Standing};
use hoist_rack::RackError;
use hoist_rack::commands::IfBusy;
use hoist_rack::store::PromotionRecord;
use serde_json::{Value, json};

use super::world::{World, actor, request, web};

/// An operation, as far as it is needed to call it.
#[derive(Clone, Copy)]
struct Operation {
    id: &'static str,
    method: Method,
    path: &'static str,
    kind: Kind,
}

fn operations() -> Vec<Operation> {
    fn of<E: Endpoint>() -> Operation {
        Operation {
            id: E::ID,
            method: E::METHOD,
            path: E::PATH,
            kind: E::KIND,
        }
    }
    macro_rules! all {
        ($($name:ident),+) => { vec![$(of::<hoist_api::endpoints::$name>()),+] };
    }
    hoist_api::for_each_operation!(all)
}

/// A body that the operation takes, so that its ids are what is refused.
fn body(operation: &str) -> Value {
    match operation {
        "create_source" => json!({ "entries": [] }),
        "update_app_params" => json!({ "keep_releases": 3 }),
        "create_run" => json!({ "service": "web", "command": ["idle"] }),
        "create_exec" => json!({ "command": ["idle"] }),
        "create_release" => json!({
            "build_from": "RZZZZZZZZZZ", "env_from": "active",
        }),
        "export_app" => json!({ "with_env": false }),
        _ => json!({}),
    }
}

/// The rack's API on a port, with a token.
struct Api {
    address: SocketAddr,
    token: String,
    server: tokio::task::JoinHandle<()>,
}

impl Api {
    async fn of(world: &World) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let rack = world.rack().clone();
        let token = std::fs::read_to_string(world.dir.path().join("data/token"));
        Self {
            address,
            token: token.expect("a token").trim().to_owned(),
            server: tokio::spawn(hoist_rack::api::serve(rack, listener)),
        }
    }

    /// The status and the JSON of an answer.
    async fn ask(&self, method: &str, path: &str, kind: Kind, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let upgrade = match kind {
            Kind::Session => {
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: upgrade, close\r\n"
            }
            _ => "Connection: close\r\n",
        };
        let request = format!(
            "{method} /v1{path} HTTP/1.1\r\nHost: rack\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{upgrade}\r\n{body}",
            self.token,
            body.len()
        );
        let address = self.address;
        let ask = move || {
            let mut stream = TcpStream::connect(address).expect("the rack");
            stream.write_all(request.as_bytes()).expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("read");
            answer
        };
        let answer = tokio::task::spawn_blocking(ask).await.expect("asked");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let text = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let json = text.find('{').zip(text.rfind('}'));
        let json = json.and_then(|(from, to)| serde_json::from_str(&text[from..=to]).ok());
        (status.expect("a status"), json.unwrap_or(Value::Null))
    }

    /// All that is kept of an app.
    async fn state(&self, app: &AppName) -> Vec<Value> {
        let mut state = Vec::new();
        for what in [
            "",
            "/builds",
            "/releases",
            "/promotions",
            "/events",
            "/env",
            "/params",
            "/services",
        ] {
            let path = format!("/apps/{app}{what}");
            let (status, json) = self.ask("GET", &path, Kind::Json, &json!({})).await;
            assert_eq!(status, 200, "{path}");
            state.push(json);
        }
        state
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An app that serves, with ids of its own.
async fn serving(world: &World, name: &str) -> (AppName, PromotionRecord) {
    let app: AppName = name.parse().expect("a name");
    world.rack().create(&app, &actor()).await.expect("created");
    let release = world.build(&app, &web("serve")).await;
    let record = world.promote(&app, &release).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"));
    (app, record)
}

/// Wrong values of a parameter, each with the code that it is refused with.
fn wrong(parameter: &str, foreign: &dyn Fn(&str) -> String) -> Vec<(String, ErrorCode)> {
    let own = |unknown: &str, code, broken: &str, broken_code| {
        let theirs = foreign(parameter);
        vec![
            (unknown.to_owned(), code),
            (theirs, code),
            (broken.to_owned(), broken_code),
        ]
    };
    let (name, request) = (ErrorCode::InvalidName, ErrorCode::InvalidRequest);
    match parameter {
        "app" => vec![
            ("nobody".to_owned(), ErrorCode::AppNotFound),
            ("No_Name".to_owned(), name),
        ],
        "build" => own("BZZZZZZZZZZ", ErrorCode::BuildNotFound, "B1", name),
        "release" => own("RZZZZZZZZZZ", ErrorCode::ReleaseNotFound, "R1", name),
        "number" => own("9.9", ErrorCode::PromotionNotFound, "nine", request),
        "process" => {
            let code = ErrorCode::ProcessNotFound;
            own("ffffffffffff", code, "No.Process", code)
        }
        "source" => {
            let code = ErrorCode::SourceNotFound;
            own(&"0".repeat(64), code, "nothing", code)
        }
        "session" => vec![("0".repeat(32), ErrorCode::SessionNotFound)],
        other => panic!("say what wrong values of `{other}` are"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_refuses_ids_that_are_not_the_apps() {
    let world = World::new().await;
    let (app, own) = serving(&world, "shop").await;
    let (other, theirs) = serving(&world, "blog").await;
    let api = Api::of(&world).await;
    let before = (api.state(&app).await, api.state(&other).await);
    let id = |of: &AppName, record: &PromotionRecord, parameter: &str| -> String {
        let entry = world.rack().app(of).expect("the app");
        match parameter {
            "app" => of.to_string(),
            "release" => record.release.to_string(),
            "number" => record.number.to_string(),
            "build" => {
                let releases = entry.app.releases.values();
                let builds: Vec<String> = releases.map(|found| found.build.to_string()).collect();
                builds[0].clone()
            }
            _ => "0".repeat(64),
        }
    };
    let processes = world.rack().processes(&other).await.expect("processes");
    let process = processes[0].process.id.to_string();
    let foreign = |parameter: &str| match parameter {
        "process" => process.clone(),
        parameter => id(&other, &theirs, parameter),
    };
    let mut wrongs = Vec::new();
    for operation in operations() {
        let parameters = operation.path.split('/').filter_map(|part| {
            let part = part.strip_prefix('{')?;
            part.strip_suffix('}')
        });
        for parameter in parameters {
            for (value, code) in wrong(parameter, &foreign) {
                let part = |part: &str| match part.strip_prefix('{') {
                    None => part.to_owned(),
                    Some(name) if name.trim_end_matches('}') == parameter => value.clone(),
                    Some(name) => id(&app, &own, name.trim_end_matches('}')),
                };
                let path: Vec<String> = operation.path.split('/').map(part).collect();
                let path = match operation.id {
                    "delete_app" => format!("{}?confirm={value}", path.join("/")),
                    _ => path.join("/"),
                };
                let (method, kind) = (operation.method.as_str(), operation.kind);
                let (_, json) = api.ask(method, &path, kind, &body(operation.id)).await;
                let hint = json["hint"].as_str().unwrap_or_default();
                if json["code"] != code.as_str() || hint.is_empty() {
                    let id = operation.id;
                    wrongs.push(format!("{id} {path}: not {code} with a hint: {json}"));
                }
            }
        }
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
    let after = (api.state(&app).await, api.state(&other).await);
    assert_eq!(before, after, "nothing changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_refuses_releases_in_its_body_that_are_not_the_apps() {
    let world = World::new().await;
    let (app, _) = serving(&world, "shop").await;
    let (_, theirs) = serving(&world, "blog").await;
    let api = Api::of(&world).await;
    let before = api.state(&app).await;
    let theirs = theirs.release.to_string();
    for (value, code) in [
        ("RZZZZZZZZZZ", ErrorCode::ReleaseNotFound),
        (theirs.as_str(), ErrorCode::ReleaseNotFound),
        ("R1", ErrorCode::InvalidName),
    ] {
        let cases = [
            (
                "PATCH",
                "env",
                json!({ "from": value, "set": { "A": "1" } }),
            ),
            ("POST", "rollbacks", json!({ "release": value })),
            (
                "POST",
                "releases",
                json!({ "build_from": value, "env_from": "active" }),
            ),
            (
                "POST",
                "releases",
                json!({ "build_from": "active", "env_from": value }),
            ),
            (
                "POST",
                "processes",
                json!({ "service": "web", "command": ["idle"], "release": value }),
            ),
        ];
        for (method, path, body) in cases {
            let path = format!("/apps/{app}/{path}");
            let (_, json) = api.ask(method, &path, Kind::Json, &body).await;
            let hint = json["hint"].as_str().unwrap_or_default();
            // What is no id at all may be a malformed request.
            let coded = json["code"] == code.as_str()
                || code == ErrorCode::InvalidName && json["code"] == "invalid_request";
            assert!(coded && !hint.is_empty(), "{path} {body}: {json}");
        }
    }
    assert_eq!(before, api.state(&app).await, "nothing changed");
}

/// Operations that do their work, or say that there is none, while an app is being deleted.
const WHILE_DELETING: &[&str] = &["delete_app", "cancel_promotion", "export_build"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_being_deleted_takes_nothing_new() {
    let world = World::new().await;
    let (app, own) = serving(&world, "shop").await;
    let stubborn = "services:\n  web:\n    command: [\"stubborn; serve\"]\n    port: 3000\n    termination: { grace: 600 }\n";
    let release = world.build(&app, stubborn).await;
    world.promote(&app, &release).await;
    let api = Api::of(&world).await;
    let rack = world.rack();
    rack.delete(&app, app.as_str(), false, &actor())
        .await
        .expect("deleting");
    let entry = rack.app(&app).expect("it goes on being there");
    assert!(matches!(entry.app.standing, Standing::Deleting { .. }));
    let build = &entry.app.releases[&own.release].build;
    let mut wrongs = Vec::new();
    for operation in operations() {
        let changes = operation.method != Method::Get && operation.kind == Kind::Json;
        let of_app = operation.path.starts_with("/apps/{app}");
        if !changes || !of_app || WHILE_DELETING.contains(&operation.id) {
            continue;
        }
        let path = operation
            .path
            .replace("{app}", app.as_str())
            .replace("{release}", own.release.as_str())
            .replace("{build}", build.as_str())
            .replace("{source}", &"0".repeat(64))
            .replace("{process}", "ffffffffffff");
        let method = operation.method.as_str();
        let (_, json) = api
            .ask(method, &path, Kind::Json, &body(operation.id))
            .await;
        let code = json["code"].as_str().unwrap_or_default();
        // What would be changed may be gone or have ended already.
        let refused = matches!(
            code,
            "app_deleting" | "process_not_found" | "conflict" | "release_not_found"
        );
        if !refused {
            wrongs.push(format!("{} {path}: {json}", operation.id));
        }
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_promotes_that_refuse_when_busy_one_is_refused() {
    let world = World::new().await;
    let (app, _) = serving(&world, "shop").await;
    let rack = world.rack();
    let slow = world.build(&app, &web("wait 600000")).await;
    let (one, other) = (actor(), actor());
    let (one, other) = tokio::join!(
        rack.promote(&app, request(&slow, IfBusy::Refuse), &one),
        rack.promote(&app, request(&slow, IfBusy::Refuse), &other)
    );
    let (begun, refused) = match (one, other) {
        (Ok(begun), Err(refused)) | (Err(refused), Ok(begun)) => (begun, refused),
        both => panic!("one begins and one is refused: {both:?}"),
    };
    assert_eq!(refused.code(), ErrorCode::PromotionInProgress);
    assert!(matches!(refused, RackError::Command(_)));
    assert!(
        refused
            .hint()
            .is_some_and(|hint| hint.contains("--if-busy"))
    );
    rack.cancel(&app, Cancel::ByUser, None, &actor())
        .await
        .expect("cancelled");
    world.ended(&app, begun).await;
}
