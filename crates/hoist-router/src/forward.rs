//! One request, from its host to the answer of a process.
//!
//! A request is counted on a slot before anything is sent to it, and counted until its answer's body ends. Of several
//! processes one is chosen; another is tried only when nothing was sent, or once for what can safely be sent twice.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hoist_core::limits::HOLD_LIMIT;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::headers::{self, Body, RequestId};
use crate::page::{Problem, accept, page};
use crate::reply::{CLIENT_WENT_AWAY, Content, Never, Record, Reply, ReplyBody};
use crate::table::{Endpoint, InFlight, Service, Target};
use crate::tunnel::Tunnel;
use crate::upstream::{Answer, Connection, Download, Failure, Framing, Outgoing, Upload};
use crate::worker::Client;

/// How long a process that refused a connection is passed over.
const EJECTED: Duration = Duration::from_secs(1);

/// Answers one request.
pub(crate) async fn answer(client: Rc<Client>, request: Request<Incoming>) -> Result<Reply, Never> {
    let old = request.version() < Version::HTTP_2;
    let mut reply = forward(&client, request).await;
    if old && client.worker.is_ending() && reply.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Busy clients move to the successor by themselves; idle ones are closed a moment later.
        reply
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(reply)
}

async fn forward(client: &Rc<Client>, request: Request<Incoming>) -> Reply {
    let worker = &client.worker;
    worker.count_request();
    let (parts, body) = request.into_parts();
    let request_id = RequestId::of(&parts.headers, || worker.random());
    let refuse = |problem| page(problem, accept(&parts.headers), &request_id, None);
    let Some(authority) = headers::authority(&parts.uri, &parts.headers) else {
        return refuse(Problem::NoHost);
    };
    if parts.method == Method::CONNECT {
        return refuse(Problem::BadMethod);
    }
    let Some(service) = worker.service(authority.as_bytes()) else {
        return refuse(Problem::UnknownHost);
    };
    let began = Instant::now();
    let record = Box::new(Record {
        worker: worker.clone(),
        sink: service.log.clone(),
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        host: authority.clone(),
        request_id: request_id.clone(),
        began: began.into_std(),
        status: CLIENT_WENT_AWAY,
        bytes: 0,
        in_flight: None,
    });
    let framing = framing(&body);
    let most = if service.body_bytes_max == 0 {
        u64::MAX
    } else {
        service.body_bytes_max
    };
    if matches!(framing, Body::Length(length) if length > most) {
        return page(
            Problem::TooLarge,
            accept(&parts.headers),
            &request_id,
            Some(record),
        );
    }
    let head = headers::request_head(
        &parts,
        &authority,
        &client.peer,
        &worker.port,
        &request_id,
        framing,
    );
    let upload = (framing != Body::None).then(|| Upload::new(body, framing == Body::Chunked, most));
    let course = Course {
        client,
        authority: &authority,
        out: Outgoing::new(head, upload),
        idempotent: is_idempotent(&parts.method),
        asked_upgrade: headers::upgrade(&parts).is_some(),
        tried: Vec::new(),
        replayed: false,
        held_until: began + HOLD_LIMIT.into(),
    };
    course.run(&parts, record).await
}

fn framing(body: &Incoming) -> Body {
    match body.size_hint().exact() {
        _ if body.is_end_stream() => Body::None,
        Some(length) => Body::Length(length),
        None => Body::Chunked,
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

/// A request under way: where it may still go, and what of it has left.
struct Course<'a> {
    client: &'a Rc<Client>,
    authority: &'a HeaderValue,
    out: Outgoing,
    idempotent: bool,
    asked_upgrade: bool,
    tried: Vec<Arc<Endpoint>>,
    /// Whether it was sent a second time already.
    replayed: bool,
    /// When waiting for a held service ends, however often it is held.
    held_until: Instant,
}

/// What the newest table has for a request.
enum Entry {
    /// It is counted on a slot; how long the process may take.
    Counted(InFlight, Duration),
    /// The table changed meanwhile.
    Again,
    /// Its service is being replaced.
    Held(Arc<Service>),
}

/// A process and a connection to it, with the request counted there.
struct Reached {
    connection: Connection,
    in_flight: InFlight,
    timeout: Duration,
}

impl Course<'_> {
    async fn run(mut self, parts: &request::Parts, mut record: Box<Record>) -> Reply {
        let problem = loop {
            let mut reached = match self.reach().await {
                Ok(reached) => reached,
                Err(problem) => break problem,
            };
            match reached
                .connection
                .exchange(&mut self.out, reached.timeout)
                .await
            {
                Ok(answer) => {
                    record.status = answer.status.as_u16();
                    return self.deliver(answer, reached, record);
                }
                Err(failure) => {
                    if let Some(problem) = self.after(failure, &reached) {
                        break problem;
                    }
                }
            }
        };
        let id = record.request_id.clone();
        page(problem, accept(&parts.headers), &id, Some(record))
    }

    /// Finds a process, waiting while its service is held, and connects to it.
    async fn reach(&mut self) -> Result<Reached, Problem> {
        let worker = &self.client.worker;
        loop {
            let (in_flight, timeout) = match self.enter()? {
                Entry::Counted(in_flight, timeout) => (in_flight, timeout),
                Entry::Again => continue,
                Entry::Held(service) => {
                    self.hold(&service).await?;
                    continue;
                }
            };
            let endpoint = in_flight.endpoint();
            // What cannot be sent twice must not go where the other side hung up a moment ago. And what is sent for the
            // second time goes over a new connection: the pool may hold more of the same kind.
            let surely = !self.idempotent || self.out.has_body();
            let pooled = if self.replayed {
                None
            } else {
                worker.pool.take(endpoint, surely)
            };
            if let Some(connection) = pooled {
                return Ok(Reached {
                    connection,
                    in_flight,
                    timeout,
                });
            }
            match Connection::open(endpoint.address).await {
                Ok(connection) => {
                    return Ok(Reached {
                        connection,
                        in_flight,
                        timeout,
                    });
                }
                Err(error) => {
                    tracing::debug!(address = %endpoint.address, %error, "a process refused a connection");
                    endpoint.eject(worker.routes.now() + EJECTED);
                    worker.pool.forget(endpoint);
                    self.tried.push(endpoint.clone());
                }
            }
        }
    }

    /// Counts the request on a slot of the newest table.
    fn enter(&self) -> Result<Entry, Problem> {
        let worker = &self.client.worker;
        let live = worker.live();
        let service = worker
            .service_in(&live, self.authority.as_bytes())
            .ok_or(Problem::UnknownHost)?;
        let endpoints = match &service.target {
            Target::Processes(endpoints) if endpoints.is_empty() => return Err(Problem::NoProcess),
            Target::Processes(endpoints) => endpoints,
            Target::Stopped => return Err(Problem::Stopped),
            Target::Held => return Ok(Entry::Held(service.clone())),
        };
        let now = || worker.routes.now();
        let endpoint = service
            .choose(endpoints, &self.tried, now)
            .ok_or(Problem::Unreachable)?;
        let entered = worker.routes.enter(&live, endpoint);
        Ok(entered.map_or(Entry::Again, |in_flight| {
            Entry::Counted(in_flight, service.timeout)
        }))
    }

    /// Waits until the service is no longer held, within the limit.
    async fn hold(&self, service: &Arc<Service>) -> Result<(), Problem> {
        let worker = &self.client.worker;
        let mut changed = worker.routes.subscribe();
        let is_held = || {
            let newest = worker.service(self.authority.as_bytes());
            newest.is_some_and(|service| matches!(service.target, Target::Held))
        };
        let released = async { while is_held() && changed.changed().await.is_ok() {} };
        tracing::debug!(app = %service.app, service = %service.name, "a request waits");
        tokio::time::timeout_at(self.held_until, released)
            .await
            .map_err(|_| Problem::HeldTooLong)
    }

    /// What follows a failure: none to go on elsewhere.
    fn after(&mut self, failure: Failure, reached: &Reached) -> Option<Problem> {
        let endpoint = reached.in_flight.endpoint();
        let reused = reached.connection.is_reused();
        match failure {
            Failure::Unsent | Failure::NoAnswer => {
                let unsent = matches!(failure, Failure::Unsent);
                let replayable = self.idempotent && !self.out.has_body() && !self.replayed;
                if !unsent && !replayable {
                    return Some(Problem::Unreachable);
                }
                if !unsent {
                    self.out.rewind();
                    self.replayed = true;
                }
                self.client.worker.pool.forget(endpoint);
                if !reused {
                    self.tried.push(endpoint.clone());
                }
                None
            }
            Failure::BadAnswer => Some(Problem::BadAnswer),
            Failure::Late => Some(Problem::Late),
            Failure::ClientLate | Failure::ClientGone => Some(Problem::ClientLate),
            Failure::TooLarge => Some(Problem::TooLarge),
        }
    }

    fn deliver(self, answer: Answer, reached: Reached, mut record: Box<Record>) -> Reply {
        let Answer {
            status,
            headers,
            framing,
            keep,
            upgrade,
        } = answer;
        let Reached {
            mut connection,
            in_flight,
            timeout,
        } = reached;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let Some(protocol) = upgrade.filter(|_| self.asked_upgrade) else {
                let id = record.request_id.clone();
                return page(Problem::BadAnswer, None, &id, Some(record));
            };
            let tunnel = Tunnel::new(connection, &protocol, in_flight.into_tunnel());
            self.client.tunnel.replace(Some(tunnel));
            return switched(headers, protocol, record);
        }
        let pool = &self.client.worker.pool;
        let whole = match framing {
            Framing::None => Some(Content::Empty),
            Framing::Length(length) => connection.take_whole(length).map(Content::Whole),
            Framing::Chunked | Framing::UntilClose => None,
        };
        let content = match whole {
            Some(content) => {
                if keep && self.out.is_done() {
                    pool.put(in_flight.endpoint(), connection);
                }
                content
            }
            None => {
                // Events may be hours apart; of other bodies a silence means that the process is stuck.
                let events = headers
                    .get(header::CONTENT_TYPE)
                    .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
                let home = keep.then(|| (pool.clone(), in_flight.endpoint().clone()));
                let upload = (!self.out.is_done()).then_some(self.out);
                Content::Stream(Box::new(Download::new(
                    connection,
                    framing,
                    upload,
                    home,
                    (!events).then_some(timeout),
                )))
            }
        };
        record.in_flight = Some(in_flight);
        let mut reply = Response::new(ReplyBody::new(content, Some(record)));
        *reply.status_mut() = status;
        *reply.headers_mut() = headers;
        reply
    }
}

/// The answer that turns the client's connection into a tunnel.
fn switched(headers: HeaderMap, protocol: HeaderValue, record: Box<Record>) -> Reply {
    let mut reply = Response::new(ReplyBody::new(Content::Empty, Some(record)));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *reply.headers_mut() = headers;
    reply
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    reply.headers_mut().insert(header::UPGRADE, protocol);
    reply
}
