//! Sources by their contents: the list, what is missing of it, and the build.

use std::io::{self, Read};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::{Buf as _, Bytes};
use hoist_api::endpoints as e;
use hoist_api::types as wire;
use hoist_core::id::AppName;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::call::{Call, JsonCall, drain, json, parse, raw, read_json_of, start, success};
use super::views::build_view;
use crate::build::{Content, Digest, Item, Listing, Mode, SOURCE_BYTES_MAX};
use crate::commands::{BuildRequest, Built, Stands};
use crate::error::RackError;
use crate::rack::Rack;

/// Bytes that the list of a source may have: as many paths as an archive may have entries, of a usual length.
const LIST_BYTES_MAX: usize = 64 << 20;
/// Bytes of archive around each content.
const FRAMING_BYTES_MAX: u64 = 2_048;
/// Pieces of an upload that may wait for the disk.
const PIECES_MAX: usize = 16;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = raw::<e::SourceCreate, _, _>(router, create);
    let router = raw::<e::SourceUpload, _, _>(router, upload);
    json::<e::SourceBuild, _, _>(router, build)
}

async fn create(call: Call<e::SourceCreate>, body: Body) -> Result<Response, RackError> {
    let app = match of_app(&call.rack, &call.path.app) {
        Ok(app) => app,
        Err(error) => {
            drain(body).await;
            return Err(error);
        }
    };
    let list = read_json_of::<e::SourceCreate>(body, LIST_BYTES_MAX).await?;
    let contents = call.rack.contents(&app);
    let source = blocking(move || {
        let items: Result<Vec<_>, _> = list.entries.into_iter().map(item).collect();
        let listing = Listing::new(items?)?;
        let missing = contents.list(&listing)?;
        Ok(source_view(&listing, &missing))
    })
    .await?;
    Ok(success::<e::SourceCreate>(&source, &call.request_id))
}

async fn upload(call: Call<e::SourceUpload>, mut body: Body) -> Result<Response, RackError> {
    match take(&call, &mut body).await {
        Ok(source) => Ok(success::<e::SourceUpload>(&source, &call.request_id)),
        Err(error) => {
            drain(body).await;
            Err(error)
        }
    }
}

/// Hands pieces to the disk as they come, and no faster.
async fn take(call: &Call<e::SourceUpload>, body: &mut Body) -> Result<wire::Source, RackError> {
    let app = of_app(&call.rack, &call.path.app)?;
    let listing = known(&call.rack, &app, &call.path.source).await?;
    let contents = call.rack.contents(&app);
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let count = listing.contents().len() as u64;
    let sizes: u64 = listing.contents().iter().map(|content| content.size).sum();
    let most = sizes + (count + 1) * FRAMING_BYTES_MAX;
    let writing = tokio::task::spawn_blocking(move || {
        let archive = Pieces {
            pieces,
            piece: Bytes::new(),
        };
        contents.receive(&listing, archive)?;
        Ok(source_view(&listing, &contents.missing(&listing)))
    });
    let sent = send(body, &sender, most).await;
    drop(sender);
    let taken = writing.await.map_err(|_| RackError::Stopping)?;
    sent.and(taken)
}

async fn send(
    body: &mut Body,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    most: u64,
) -> Result<(), RackError> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "it ends early");
            let _ = sender.send(Err(cut)).await;
            return Ok(());
        };
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        bytes += piece.len() as u64;
        if bytes > most {
            let limit_bytes = most.min(SOURCE_BYTES_MAX);
            return Err(RackError::TooLarge { limit_bytes });
        }
        if sender.send(Ok(piece)).await.is_err() {
            // The writer refused, and says why; or it saw the end of the archive.
            return Ok(());
        }
    }
    Ok(())
}

/// Reads pieces as they come.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

async fn build(
    JsonCall { call, body }: JsonCall<e::SourceBuild>,
) -> Result<wire::SourceBuilt, RackError> {
    let app = of_app(&call.rack, &call.path.app)?;
    let listing = known(&call.rack, &app, &call.path.source).await?;
    let request = BuildRequest {
        description: body.description,
        git_sha: body.git_sha,
        git_message: body.git_message,
        manifest: body.manifest,
        no_cache: body.no_cache,
        start: start(body.from.as_deref())?,
    };
    let built = call
        .rack
        .build_source(&app, listing, request, body.rebuild, &call.actor)
        .await?;
    Ok(match built {
        Built::Began(build) => wire::SourceBuilt {
            build: build_view(&build),
            unchanged: None,
        },
        Built::Unchanged {
            build,
            release,
            stands,
        } => wire::SourceBuilt {
            build: build_view(&build),
            unchanged: Some(wire::Unchanged {
                release: release.to_string(),
                active: stands == Stands::Active,
                promotion: match stands {
                    Stands::Promoting(number) => Some(number),
                    Stands::Active | Stands::Aside => None,
                },
            }),
        },
    })
}

fn of_app(rack: &Rack, name: &str) -> Result<AppName, RackError> {
    let app: AppName = parse(name)?;
    rack.refuse_deleting(&app)?;
    Ok(app)
}

/// A source that was listed.
async fn known(rack: &Rack, app: &AppName, id: &str) -> Result<Listing, RackError> {
    let unknown = || RackError::NoSource(app.clone());
    let id: Digest = id.parse().map_err(|_| unknown())?;
    let contents = rack.contents(app);
    let listing = blocking(move || contents.listing(&id)).await?;
    listing.ok_or_else(unknown)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RackError> + Send + 'static,
) -> Result<T, RackError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| RackError::Stopping)?
}

fn item(entry: wire::SourceEntry) -> Result<(String, Item), RackError> {
    Ok(match entry {
        wire::SourceEntry::Directory { path } => (path, Item::Directory),
        wire::SourceEntry::Link { path, target } => (path, Item::Link(target)),
        wire::SourceEntry::File {
            path,
            size,
            sha256,
            executable,
        } => {
            let digest = sha256.parse()?;
            let mode = if executable {
                Mode::Executable
            } else {
                Mode::Plain
            };
            (path, Item::File(Content { digest, size }, mode))
        }
    })
}

fn source_view(listing: &Listing, missing: &[Digest]) -> wire::Source {
    wire::Source {
        id: listing.id.to_string(),
        missing: missing.iter().map(ToString::to_string).collect(),
    }
}
