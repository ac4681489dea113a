//! The app that end-to-end tests and benches deploy: one file of the standard library alone, compiled on its own, because
//! processes see nothing of the machine but `/usr` and `/etc`, and because it must start within milliseconds.
//!
//! `./app [what it says] [--flag value]...` serves on `$PORT`:
//! `/` says it with release and variables, `/slow?ms=N` takes that long, `/env/NAME`, `/read/FILE`, `/write/FILE/TEXT`,
//! `/live` answers 200 until `/deafen` was asked for, then 500; `/since` tells when it began to listen (microseconds of the wall clock), `/say/TEXT` logs a line, `/crash` ends it with
//! last words, and any WebSocket handshake gets an echo.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Runs it.
pub(crate) fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let app = App::parse(&words).unwrap_or_else(|flag| {
        eprintln!("what is {flag}?");
        exit(2)
    });
    Arc::new(app).run()
}

/// What its command line says.
#[derive(Default)]
struct App {
    text: String,
    /// Answers with this status instead.
    status: Option<u16>,
    /// Listens there instead of on `$PORT`.
    port: Option<u16>,
    /// Takes so long before it listens.
    start_ms: u64,
    /// Ends after so many requests, with code 9.
    exit_after: Option<u64>,
    served: AtomicU64,
    deaf: AtomicBool,
    since: AtomicU64,
}

impl App {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut app = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || {
                words
                    .next()
                    .and_then(|word| word.parse::<u64>().ok())
                    .ok_or_else(|| word.clone())
            };
            match word.as_str() {
                "--status" => app.status = Some(number()? as u16),
                "--port" => app.port = Some(number()? as u16),
                "--start-ms" => app.start_ms = number()?,
                "--exit-after" => app.exit_after = Some(number()?),
                flag if flag.starts_with("--") => return Err(flag.to_owned()),
                text => app.text = text.to_owned(),
            }
        }
        Ok(app)
    }

    fn run(self: Arc<Self>) {
        std::thread::sleep(Duration::from_millis(self.start_ms));
        let port = self
            .port
            .or_else(|| variable("PORT").parse().ok())
            .unwrap_or_else(|| {
                eprintln!("there is no PORT");
                exit(2)
            });
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap_or_else(|error| {
            eprintln!("cannot listen on {port}: {error}");
            exit(1)
        });
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.since.store(now.as_micros() as u64, Ordering::Relaxed);
        say(&format!("{} listens on {port}", self.text));
        for stream in listener.incoming().flatten() {
            let app = Arc::clone(&self);
            std::thread::spawn(move || app.serve(stream));
        }
    }

    /// Answers requests of one connection until it ends.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(request) = Request::read(&mut reader)? {
            if let Some(key) = request.headers.get("sec-websocket-key") {
                return echo(key, reader, writer);
            }
            let (status, body) = self.answer(&request);
            write!(
                writer,
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
            let served = self.served.fetch_add(1, Ordering::Relaxed) + 1;
            if self.exit_after.is_some_and(|limit| served >= limit) {
                exit(9);
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> (u16, String) {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').splitn(3, '/').collect();
        match parts[..] {
            ["slow"] => {
                let wait = query
                    .strip_prefix("ms=")
                    .and_then(|number| number.parse().ok());
                std::thread::sleep(Duration::from_millis(wait.unwrap_or(100)));
            }
            ["since"] => {
                let text = format!("{} {}", self.text, self.since.load(Ordering::Relaxed));
                return (200, text);
            }
            ["deafen"] => self.deaf.store(true, Ordering::Relaxed),
            ["live"] if self.deaf.load(Ordering::Relaxed) => {
                return (500, "deaf\n".to_owned());
            }
            ["env", name] => return (200, variable(name)),
            ["say", text] => say(text),
            ["read", file] => return file_answer(std::fs::read_to_string(format!("/data/{file}"))),
            ["write", file, text] => {
                return file_answer(
                    std::fs::write(format!("/data/{file}"), text).map(|()| "written".to_owned()),
                );
            }
            ["crash"] => {
                eprintln!("these are my last words");
                exit(7)
            }
            _ => {}
        }
        let body = format!(
            "{} of {} takes {} bytes\n",
            self.text,
            variable("RELEASE"),
            request.body.len()
        );
        (self.status.unwrap_or(200), body)
    }
}

fn file_answer(done: io::Result<String>) -> (u16, String) {
    done.map_or_else(|error| (409, error.to_string()), |text| (200, text))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

struct Request {
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// None when the connection ended between requests.
    fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let path = line.split_whitespace().nth(1).unwrap_or("/").to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(Some(Self {
            path,
            headers,
            body,
        }))
    }
}

/// Takes a WebSocket handshake and sends every message back; a close as well, then it ends.
fn echo(key: &str, mut reader: BufReader<TcpStream>, mut writer: TcpStream) -> io::Result<()> {
    let accept = accept_of(key);
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
    )?;
    loop {
        let mut head = [0; 2];
        reader.read_exact(&mut head)?;
        let length = usize::from(head[1] & 0x7f);
        let mut mask = [0; 4];
        reader.read_exact(&mut mask)?;
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        text.iter_mut()
            .zip(mask.iter().cycle())
            .for_each(|(byte, mask)| *byte ^= mask);
        let mut frame = vec![head[0], length as u8];
        frame.extend(text);
        writer.write_all(&frame)?;
        if head[0] & 0x0f == 8 {
            return Ok(());
        }
    }
}

/// What a server answers to a handshake's key.
pub(crate) fn accept_of(key: &str) -> String {
    base64(&sha1(
        format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
    ))
}

fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state = [
        0x6745_2301_u32,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks(4)) {
            *word = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for i in 16..80 {
            words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in words.iter().enumerate() {
            let (mix, constant) = match i / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mix)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, i| {
            word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0))
        });
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}
