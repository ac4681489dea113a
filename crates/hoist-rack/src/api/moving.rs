//! Apps and builds as archives: streamed out, and taken in.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use hoist_api::endpoint::ARCHIVE_TYPE;
use hoist_api::endpoints as e;
use hoist_api::export::{PASSPHRASE, PASSPHRASE_BYTES_MAX};
use hoist_api::types as wire;
use hoist_core::id::AppName;
use http::header;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::builds::receive;
use super::call::{Call, drain, parse, raw, read_json_of, success};
use super::views::build_view;
use crate::backup::Passphrase;
use crate::commands::{Imported, Renamed};
use crate::error::RackError;
use crate::moving::{ExportWish, ImportWish, MoveError, Prepared};
use crate::rack::Rack;

/// Bytes that an import may have.
const IMPORT_BYTES_MAX: u64 = 64 << 30;
/// Bytes that the JSON of a request may have.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Bytes in one piece of an archive.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that may wait for a slow reader.
const PIECES_MAX: usize = 4;
/// How long a reader may take nothing before it is given up.
const READER_LIMIT: Duration = Duration::from_secs(60);
/// Tar's unit.
const BLOCK: usize = 512;

pub(super) fn mount(router: Router<Arc<Rack>>) -> Router<Arc<Rack>> {
    let router = raw::<e::BuildExport, _, _>(router, export_build);
    let router = raw::<e::BuildImport, _, _>(router, import_build);
    let router = raw::<e::AppExport, _, _>(router, export_app);
    raw::<e::AppImport, _, _>(router, import_app)
}

async fn export_build(call: Call<e::BuildExport>, _: Body) -> Result<Response, RackError> {
    let (app, build) = (parse(&call.path.app)?, parse(&call.path.build)?);
    let prepared = call.rack.export_build(&app, &build).await?;
    Ok(respond(&call.rack, prepared))
}

async fn export_app(call: Call<e::AppExport>, body: Body) -> Result<Response, RackError> {
    let app: AppName = parse(&call.path.app)?;
    let body = read_json_of::<e::AppExport>(body, REQUEST_BYTES_MAX).await?;
    if let Some(passphrase) = &body.passphrase {
        refuse_unusable(passphrase)?;
    }
    let wish = ExportWish {
        passphrase: body.passphrase.and_then(Passphrase::new),
        active_only: body.active_only,
        with_volumes: body.with_volumes,
    };
    let prepared = call.rack.export_app(&app, wish).await?;
    Ok(respond(&call.rack, prepared))
}

/// One that is empty seals nothing, and one that is too long opens nothing: see [`take_passphrase`].
fn refuse_unusable(passphrase: &str) -> Result<(), RackError> {
    match (1..=PASSPHRASE_BYTES_MAX).contains(&passphrase.len()) {
        true => Ok(()),
        false => Err(unusable()),
    }
}

fn unusable() -> RackError {
    RackError::Invalid(format!(
        "a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes"
    ))
}

async fn import_build(call: Call<e::BuildImport>, mut body: Body) -> Result<Response, RackError> {
    let checked = parse(&call.path.app).and_then(|app: AppName| {
        call.rack.app(&app)?;
        Ok(app)
    });
    let app = match checked {
        Ok(app) => app,
        Err(error) => {
            drain(body).await;
            return Err(error);
        }
    };
    let (file, _) = take_in(&call.rack, &call.request_id, &mut body).await?;
    let build = call.rack.import_build(&app, file, &call.actor).await?;
    let view = build_view(&build);
    Ok(success::<e::BuildImport>(&view, &call.request_id))
}

async fn import_app(call: Call<e::AppImport>, mut body: Body) -> Result<Response, RackError> {
    let name = call.query.app.as_deref().map(parse::<AppName>).transpose();
    let checked =
        name.and_then(
            |name| match name.as_ref().and_then(|name| call.rack.store.app(name)) {
                Some(entry) => Err(RackError::AppExists(entry.app.name.clone())),
                None => Ok(name),
            },
        );
    let app = match checked {
        Ok(app) => app,
        Err(error) => {
            drain(body).await;
            return Err(error);
        }
    };
    let (file, passphrase) = take_in(&call.rack, &call.request_id, &mut body).await?;
    let wish = ImportWish {
        app,
        passphrase,
        without_env: call.query.without_env,
    };
    let imported = call.rack.import_app(file, wish, &call.actor).await?;
    let view = imported_view(&imported);
    Ok(success::<e::AppImport>(&view, &call.request_id))
}

fn imported_view(imported: &Imported) -> wire::AppImported {
    fn ids<T: ToString>(renamed: &[Renamed<T>]) -> Vec<wire::ImportedId> {
        let id = |renamed: &Renamed<T>| wire::ImportedId {
            id: renamed.id.to_string(),
            was: renamed.was.to_string(),
        };
        renamed.iter().map(id).collect()
    }
    wire::AppImported {
        app: imported.app.to_string(),
        builds: ids(&imported.builds),
        releases: ids(&imported.releases),
        release: imported.active.as_ref().map(ToString::to_string),
        env: imported.env,
        volumes: imported.volumes.clone(),
    }
}

/// Keeps an upload in a file of its own, without the passphrase that may come before it.
async fn take_in(
    rack: &Rack,
    request_id: &str,
    body: &mut Body,
) -> Result<(PathBuf, Option<Passphrase>), RackError> {
    let file = rack.layout.scratch().join(format!("{request_id}.tar"));
    let taken = async {
        let (passphrase, front) = take_passphrase(body).await?;
        receive(front, body, &file, IMPORT_BYTES_MAX).await?;
        Ok(passphrase)
    };
    match taken.await {
        Ok(passphrase) => Ok((file, passphrase)),
        Err(error) => {
            let _ = std::fs::remove_file(&file);
            drain(std::mem::take(body)).await;
            Err(error)
        }
    }
}

/// Reads the front of an upload: the passphrase, if that is its first entry, and what was read beyond it.
async fn take_passphrase(body: &mut Body) -> Result<(Option<Passphrase>, Bytes), RackError> {
    let mut front = read_up_to(body, Vec::new(), BLOCK).await?;
    let Some(size) = passphrase_size(&front)? else {
        return Ok((None, front.into()));
    };
    let end = BLOCK + size.next_multiple_of(BLOCK);
    front = read_up_to(body, front, end).await?;
    let text = front.get(BLOCK..BLOCK + size);
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or_else(|| RackError::Invalid("the passphrase is not text".to_owned()))?;
    let passphrase = Passphrase::new(text);
    let rest = front.get(end..).unwrap_or_default();
    Ok((passphrase, Bytes::copy_from_slice(rest)))
}

/// The size of the passphrase, when a front begins with its head.
fn passphrase_size(front: &[u8]) -> Result<Option<usize>, RackError> {
    let Some(block) = front.first_chunk::<BLOCK>() else {
        return Ok(None);
    };
    let header = tar::Header::from_byte_slice(block);
    if *header.path_bytes() != *PASSPHRASE.as_bytes() {
        return Ok(None);
    }
    let size = header.entry_size().ok();
    let size = size.and_then(|size| usize::try_from(size).ok());
    match size.filter(|size| (1..=PASSPHRASE_BYTES_MAX).contains(size)) {
        Some(size) => Ok(Some(size)),
        None => Err(unusable()),
    }
}

async fn read_up_to(
    body: &mut Body,
    mut front: Vec<u8>,
    bytes: usize,
) -> Result<Vec<u8>, RackError> {
    while front.len() < bytes
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| RackError::from(MoveError::CutShort))?;
        if let Ok(piece) = frame.into_data() {
            front.extend_from_slice(&piece);
        }
    }
    Ok(front)
}

/// Answers an archive as it is written. The writer ends when the reader goes away or takes nothing for too long; a reader
/// that has no end of the archive has no archive.
fn respond(rack: &Rack, prepared: Prepared) -> Response {
    let (pieces, mut written) = mpsc::channel::<Bytes>(PIECES_MAX);
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES_MAX);
    let writer = rack.tasks.spawn_blocking(move || {
        let mut to = Pieces::new(pieces);
        prepared.write(&mut to)
    });
    rack.tasks.spawn(async move {
        while let Some(piece) = written.recv().await {
            let sent = tokio::time::timeout(READER_LIMIT, sender.send(Ok(piece))).await;
            if !matches!(sent, Ok(Ok(()))) {
                // Without its reader the writer ends as well.
                return;
            }
        }
        let ended = writer
            .await
            .unwrap_or_else(|_| Err(io::Error::other("interrupted")));
        if let Err(error) = ended {
            tracing::warn!(%error, "an export broke off");
            let _ = tokio::time::timeout(READER_LIMIT, sender.send(Err(error))).await;
        }
    });
    let body = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    let headers = [
        (header::CONTENT_TYPE, ARCHIVE_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// Gathers writes into pieces and hands them on, no faster than they are taken.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Pieces {
    fn new(sender: mpsc::Sender<Bytes>) -> Self {
        Self {
            sender,
            piece: Vec::with_capacity(PIECE_BYTES),
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.piece.len();
        let taken = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let sent = self.sender.blocking_send(Bytes::from(piece));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
